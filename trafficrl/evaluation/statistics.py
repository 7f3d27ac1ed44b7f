"""Intervals for means of few numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

RESAMPLES = 10_000


def bootstrap_interval(values: ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap of the mean (Efron and Tibshirani, 1993): low and high.

    The resampling is seeded: the same values give the same interval.
    """
    data = np.asarray(values, dtype=np.float64)
    if len(data) == 1:
        return float(data[0]), float(data[0])
    rng = np.random.default_rng(0)
    means = data[rng.integers(0, len(data), (RESAMPLES, len(data)))].mean(axis=1)
    tail = 50.0 * (1.0 - confidence)
    low, high = np.percentile(means, [tail, 100.0 - tail])
    return float(low), float(high)
