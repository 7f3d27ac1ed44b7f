"""Intervals and comparisons of few numbers, with training seeds and episodes kept apart.

Scores are (S, E): S training seeds of one algorithm, each evaluated on the same
E episodes. Episodes of one seed have its policy in common and say nothing of
other seeds: where there are several seeds they are resampled whole, with the
episodes as fixed strata. A single run, or a controller that is not trained, has
only its episodes to resample. After Agarwal et al., "Deep reinforcement learning
at the edge of the statistical precipice" (NeurIPS 2021). All resampling is
seeded: the same scores give the same interval.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trafficrl.types import FloatArray, IntArray

RESAMPLES = 10_000
CONFIDENCE = 0.95
AT_ONCE = 2_000_000  # numbers resampled at a time, for the sake of memory

Statistic = Callable[[FloatArray], FloatArray]
"""Of the last axis."""


class Estimate(NamedTuple):
    """A value with its interval."""

    value: float
    low: float
    high: float


UNDEFINED = Estimate(np.nan, np.nan, np.nan)


def mean(scores: FloatArray) -> FloatArray:
    """Mean of the last axis."""
    return np.asarray(scores.mean(axis=-1))


def interquartile_mean(scores: FloatArray) -> FloatArray:
    """Mean of the last axis without the lowest and the highest quarter (rounded down)."""
    count = scores.shape[-1]
    cut = count // 4
    if cut == 0:
        return mean(scores)
    ordered = np.partition(scores, (cut, count - cut - 1), axis=-1)
    return mean(ordered[..., cut : count - cut])


def estimate(
    scores: ArrayLike, statistic: Statistic = mean, *, confidence: float = CONFIDENCE
) -> Estimate:
    """``statistic`` of scores (S, E), or (E,) of a single run, with its percentile bootstrap.

    Episodes in which a score is NaN (not defined) for any seed are left out.
    """
    data = _defined(np.atleast_2d(np.asarray(scores, dtype=np.float64)))
    if data.size == 0:
        return UNDEFINED
    seeds = len(data)
    rng = np.random.default_rng(0)
    units = data if seeds > 1 else data.T  # what is resampled, (U, ...)
    draws = np.array_split(_draws(rng, len(units)), -(-RESAMPLES * data.size // AT_ONCE))
    resampled = [statistic(units[some].reshape(len(some), -1)) for some in draws]
    return _with_interval(float(statistic(data.ravel())), np.concatenate(resampled), confidence)


def probability_of_improvement(
    x: ArrayLike,
    y: ArrayLike,
    *,
    strata: ArrayLike | None = None,
    lower_is_better: bool = False,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """P(X better than Y) of scores (S, E) and (R, E) on the same episodes, ties counting half.

    Over pairs of seeds, episode by episode (Mann and Whitney's U within each
    episode). If either has several seeds, those are resampled whole, of each
    independently; else the episodes, which both have in common, are resampled
    within their ``strata`` (E,), such as scenarios.
    """
    first, second = (np.atleast_2d(np.asarray(one, dtype=np.float64)) for one in (x, y))
    known = ~np.isnan(np.concatenate([first, second])).any(axis=0)
    if not known.any():
        return UNDEFINED
    if lower_is_better:
        first, second = -first, -second
    ahead = first[:, None, known] - second[None, :, known]
    wins = np.where(ahead == 0.0, 0.5, ahead > 0.0)  # (S, R, E)
    rng = np.random.default_rng(0)
    seeds, rivals, _ = wins.shape
    if seeds == rivals == 1:
        labels = np.zeros(known.shape) if strata is None else np.asarray(strata)
        resampled = wins[0, 0][_draws_within(rng, labels[known])].mean(axis=1)
    else:
        of_pairs = wins.mean(axis=2)
        own, other = (_shares(_draws(rng, count), count) for count in (seeds, rivals))
        resampled = np.einsum("is,sr,ir->i", own, of_pairs, other)
    return _with_interval(float(wins.mean()), resampled, confidence)


def _defined(scores: FloatArray) -> FloatArray:
    return scores[:, ~np.isnan(scores).any(axis=0)]


def _draws(rng: np.random.Generator, count: int) -> IntArray:
    return rng.integers(0, count, (RESAMPLES, count))


def _draws_within(rng: np.random.Generator, strata: NDArray[Any]) -> IntArray:
    """Draws of as many places within each stratum as it has, (RESAMPLES, E)."""
    members = [np.flatnonzero(strata == label) for label in np.unique(strata)]
    return np.concatenate([own[_draws(rng, len(own))] for own in members], axis=1)


def _shares(draws: IntArray, count: int) -> FloatArray:
    """How much of each resample every seed makes up, (RESAMPLES, count)."""
    return np.asarray((draws[:, :, None] == np.arange(count)).mean(axis=1))


def _with_interval(value: float, resampled: FloatArray, confidence: float) -> Estimate:
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(resampled, [tail, 100.0 - tail])
    return Estimate(value, float(low), float(high))
