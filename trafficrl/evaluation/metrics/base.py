"""The list of metrics, and what several of them need."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from trafficrl.evaluation.trajectory import Trajectory
from trafficrl.types import FloatArray

Group = Literal["task", "speed", "safety", "comfort", "energy", "control"]
GROUPS: tuple[Group, ...] = ("task", "speed", "safety", "comfort", "energy", "control")
Function = Callable[[Trajectory], float]

PER_HOUR = 3600.0
PER_KM = 1000.0


@dataclass(frozen=True)
class Metric:
    """A figure of one episode; NaN where it is not defined."""

    name: str  # ends in its unit where it has one
    of: Function
    group: Group
    unit: str
    about: str  # one line
    better: Literal["higher", "lower"] | None  # which values are better, if either
    main: bool  # among the figures that are printed
    per_vehicle: bool  # makes sense of a single vehicle too


METRICS: dict[str, Metric] = {}


def metric(
    name: str,
    group: Group,
    unit: str,
    about: str,
    *,
    better: Literal["higher", "lower"] | None = None,
    main: bool = True,
    per_vehicle: bool = True,
) -> Callable[[Function], Function]:
    """Decorator that adds a metric to the list."""

    def add(function: Function) -> Function:
        if name in METRICS:
            raise ValueError(f"metric '{name}' is registered twice")
        METRICS[name] = Metric(name, function, group, unit, about, better, main, per_vehicle)
        return function

    return add


def last_third(values: FloatArray) -> FloatArray:
    """The last third of the T steps of ``values`` (T, ...), one step at least."""
    return values[-max(1, len(values) // 3) :]


def mean(values: FloatArray) -> float:
    """Mean of what is not NaN; NaN of nothing."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else np.nan


def root_mean_square(values: FloatArray) -> float:
    """Root of the mean square of what is not NaN."""
    return float(np.sqrt(mean(np.square(values))))


def percentile(values: FloatArray, percent: float) -> float:
    """Percentile of what is not NaN; NaN of nothing."""
    known = values[~np.isnan(values)]
    return float(np.percentile(known, percent)) if known.size else np.nan


def headways(trajectory: Trajectory) -> FloatArray:
    """Headways (T, M) in m, NaN without a leader.

    Nor is there one to follow where lanes merge and two vehicles are level beside
    each other: a headway below 0 counts in a collision alone.
    """
    headway = trajectory.headway
    known = np.isfinite(headway) & ((headway >= 0.0) | trajectory.collided)
    return np.where(known, headway, np.nan)
