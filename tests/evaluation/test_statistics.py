"""Intervals and comparisons against distributions that are known."""

from __future__ import annotations

import numpy as np
import pytest

from trafficrl.evaluation.statistics import (
    estimate,
    interquartile_mean,
    probability_of_improvement,
)

# Interquartile mean -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ([8, 1, 3, 2, 100, 5, 4, -50], (2 + 3 + 4 + 5) / 4),
        ([1, 2, 3, 4, 100], 3.0),
        ([1, 2, 30], 11.0),
        ([7], 7.0),
    ],
)
def test_interquartile_mean_leaves_a_quarter_out_at_each_end(
    scores: list[float], expected: float
) -> None:
    assert interquartile_mean(np.array(scores, float)) == pytest.approx(expected)
    rows = np.array([scores, np.multiply(2, scores)], float)
    assert interquartile_mean(rows) == pytest.approx([expected, 2 * expected])


def test_the_estimate_of_an_interquartile_mean_is_over_all_scores() -> None:
    scores = [[1.0, 2.0, 3.0, 100.0], [0.0, 2.0, 4.0, -90.0]]
    found = estimate(scores, interquartile_mean)
    assert found.value == pytest.approx((1 + 2 + 2 + 3) / 4)
    # Both seeds drawn, or the first twice (2, 3, 2, 3), or the second twice (0, 0, 2, 2).
    assert (found.low, found.high) == pytest.approx((1.0, 2.5))


# Seeds and episodes -------------------------------------------------------------------


def test_episodes_of_a_single_run_are_resampled() -> None:
    """The mean of 100 flips resampled: 2.5 % of B(100, 0.5) lies below 40 and above 60."""
    assert estimate([0.0, 1.0] * 50) == (0.5, 0.40, 0.60)
    assert estimate([[0.0, 1.0] * 50]) == (0.5, 0.40, 0.60)


def test_several_seeds_are_resampled_whole() -> None:
    """One of four seeds always succeeds: successes of a resample follow B(4, 1/4)."""
    scores = np.zeros((4, 50))
    scores[2] = 1.0
    # P(0) = 0.32, P(4) = 0.004 and P(3 or 4) = 0.051.
    assert estimate(scores) == (0.25, 0.0, 0.75)


def test_differences_between_episodes_do_not_widen_an_interval_over_seeds() -> None:
    episodes = np.array([1.0, 100.0, -40.0])
    assert estimate([episodes, episodes]) == pytest.approx((61 / 3,) * 3)
    assert estimate(episodes).high > 90


@pytest.mark.parametrize("seeds", [[1.0, 5.0], [1.0, 2.0, 5.0]])
def test_of_two_or_three_seeds_the_interval_is_their_range(seeds: list[float]) -> None:
    found = estimate(np.array(seeds)[:, None])
    assert found == pytest.approx((np.mean(seeds), 1.0, 5.0))


def test_episodes_in_which_nothing_is_defined_are_left_out() -> None:
    nan = np.nan
    assert estimate([1.0, nan, 3.0]).value == 2.0
    assert estimate([[1.0, 2.0, nan], [3.0, nan, 7.0]]) == estimate([[1.0], [3.0]])
    assert np.isnan(estimate([nan, nan])).all()
    assert np.isnan(estimate([[1.0, nan], [nan, 2.0]])).all()


def test_intervals_repeat_and_narrow_with_less_confidence() -> None:
    scores = [1.0, 2.0, 4.0, 8.0]
    assert estimate(scores) == estimate(scores)
    wide, narrow = estimate(scores), estimate(scores, confidence=0.5)
    assert wide.low < narrow.low < np.mean(scores) < narrow.high < wide.high


@pytest.mark.parametrize("scores", [[3.0], [3.0, 3.0, 3.0], [[3.0], [3.0]]])
def test_equal_scores_have_no_interval(scores: list[float]) -> None:
    assert estimate(scores) == (3.0, 3.0, 3.0)


def test_a_large_sample_has_the_normal_interval_in_any_number_of_parts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores = np.random.default_rng(0).normal(10.0, 2.0, 400)
    found = estimate(scores)
    error = scores.std() / 20.0
    assert found.low == pytest.approx(scores.mean() - 1.96 * error, abs=0.1 * error)
    assert found.high == pytest.approx(scores.mean() + 1.96 * error, abs=0.1 * error)
    monkeypatch.setattr("trafficrl.evaluation.statistics.AT_ONCE", 10**9)
    assert estimate(scores) == pytest.approx(found)


@pytest.mark.parametrize(("seeds", "low", "high"), [(5, 0.77, 0.89), (10, 0.85, 0.95)])
def test_how_often_an_interval_over_seeds_holds_the_truth(
    seeds: int, low: float, high: float
) -> None:
    """Nominally 95 %: percentile intervals of few seeds are too narrow, as documented.

    A seed's quality and its episodes are normal around 0. To resample the episodes
    as if each were evidence of its own would be overconfident by far.
    """
    rng = np.random.default_rng(1)
    held = np.zeros(2)
    for _ in range(300):
        scores = rng.normal(size=(seeds, 1)) + 0.5 * rng.normal(size=(seeds, 4))
        for kind, data in enumerate((scores, scores.ravel())):
            found = estimate(data)
            held[kind] += found.low <= 0.0 <= found.high
    share = held / 300
    assert low < share[0] < high
    assert share[1] < 0.75


# Probability of improvement -----------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "y", "expected"),
    [
        ([2.0], [1.0], 1.0),
        ([1.0], [1.0], 0.5),
        ([1.0, 2.0, 3.0], [1.0, 3.0, 1.0], (0.5 + 0.0 + 1.0) / 3),
        ([[1.0, 5.0], [3.0, 3.0]], [2.0, 4.0], (0 + 1 + 1 + 0) / 4),
        ([[1.0, 5.0], [3.0, 4.0]], [[2.0, 4.0], [0.0, 9.0]], (0 + 1 + 1 + 0.5 + 1 + 1) / 8),
    ],
)
def test_the_share_of_pairs_that_are_better_ties_half(x, y, expected: float) -> None:
    found = probability_of_improvement(x, y)
    assert found.value == pytest.approx(expected)
    assert found.low <= found.value <= found.high
    assert probability_of_improvement(y, x).value == pytest.approx(1.0 - expected)
    lower = probability_of_improvement(x, y, lower_is_better=True)
    assert lower.value == pytest.approx(1.0 - expected)


def test_single_runs_are_compared_over_episodes() -> None:
    """Better in every other of 100 episodes: the interval of 100 coin flips."""
    found = probability_of_improvement([0.0, 1.0] * 50, [0.5] * 100)
    assert found == (0.5, 0.40, 0.60)


def test_several_seeds_are_compared_over_seeds() -> None:
    """Two of four seeds beat the controller in all episodes: B(4, 1/2) / 4."""
    scores = np.repeat([[0.0], [0.0], [1.0], [1.0]], 30, axis=1)
    found = probability_of_improvement(scores, np.full(30, 0.5))
    assert found == (0.5, 0.0, 1.0)  # P(0) = P(4) = 6 %
    against_itself = probability_of_improvement(scores, scores)
    assert against_itself.value == 0.5 and against_itself.low < 0.2


def test_episodes_are_resampled_within_their_scenarios() -> None:
    """Always better in one scenario, never in the other: nothing is uncertain."""
    x, y = np.repeat([1.0, 0.0], 20), np.full(40, 0.5)
    strata = np.repeat([0, 1], 20)
    assert probability_of_improvement(x, y, strata=strata) == (0.5, 0.5, 0.5)
    mixed = probability_of_improvement(x, y)
    assert mixed.low < 0.4 and mixed.high > 0.6


def test_episodes_that_either_lacks_are_not_compared() -> None:
    nan = np.nan
    assert probability_of_improvement([nan, 1.0, 5.0], [9.0, nan, 4.0]) == (1.0, 1.0, 1.0)
    strata = probability_of_improvement([nan, 1.0, 5.0], [9.0, 2.0, 4.0], strata=[0, 0, 1])
    assert strata.value == 0.5
    assert np.isnan(probability_of_improvement([nan], [1.0])).all()
