"""What was logged over training, seeds of one algorithm as one curve with an interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trafficrl.errors import TrafficRLError
from trafficrl.evaluation.groups import RunGroup, group_runs
from trafficrl.evaluation.statistics import estimate
from trafficrl.plots.style import look
from trafficrl.training.run_directory import RunDirectory
from trafficrl.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Log = tuple[FloatArray, FloatArray]
"""Simulation steps (P,) and what was logged then (P,)."""


@dataclass(frozen=True)
class Curve:
    """Mean over seeds with its 95 % interval, as far as all seeds have been trained; (P,) each.

    ``tails`` is what single seeds did after that.
    """

    steps: FloatArray
    mean: FloatArray
    low: FloatArray
    high: FloatArray
    tails: list[Log]


@dataclass(frozen=True)
class Labelled:
    """A group of runs as pictures show it: by ``label``, in the place ``look(place)``."""

    group: RunGroup
    label: str
    place: int

    def curve(self, column: str) -> Curve | None:
        """What was logged as ``column``, None where nothing was."""
        logs = [read_log(run.metrics(), column) for run in self.group.runs]
        return curve_over_seeds([log for log in logs if len(log[0])])


def read_log(rows: Sequence[dict[str, float]], column: str) -> Log:
    """The finite values of a column of ``metrics.jsonl``."""
    found = [(row["sim_steps"], row[column]) for row in rows if column in row]
    steps, values = np.array(found, dtype=np.float64).reshape(-1, 2).T
    known = np.isfinite(values)
    return steps[known], values[known]


def curve_over_seeds(logs: Sequence[Log]) -> Curve | None:
    """One curve of several seeds, at the steps of the first, between which others are interpolated.

    Intervals are those of ``statistics.estimate`` over seeds; of a single one there is none.
    """
    if not logs:
        return None
    begin, end = max(steps[0] for steps, _ in logs), min(steps[-1] for steps, _ in logs)
    grid = logs[0][0]
    grid = grid[(grid >= begin) & (grid <= end)]
    scores = np.array([np.interp(grid, *log) for log in logs])  # (S, P)
    if len(logs) > 1:
        mean, low, high = np.array([estimate(at[:, None]) for at in scores.T]).reshape(-1, 3).T
    else:
        mean = low = high = scores[0]
    tails = [
        (steps[steps >= end], values[steps >= end]) for steps, values in logs if (steps > end).any()
    ]
    return Curve(grid, mean, low, high, tails)


def labelled(runs: Sequence[RunDirectory]) -> dict[str, list[Labelled]]:
    """Groups of the runs by scenario; in each the label is the algorithm, if that says which.

    ``TrafficRLError`` without a run.
    """
    if not runs:
        raise TrafficRLError("no run to draw (name one or more run directories)")
    groups, _ = group_runs(runs)
    found: dict[str, list[RunGroup]] = {}
    for group in groups:
        found.setdefault(group.trained_on.name, []).append(group)
    return {name: _labels(members) for name, members in found.items()}


def _labels(groups: list[RunGroup]) -> list[Labelled]:
    algorithms = [group.trained_on.training.algorithm for group in groups]
    result = []
    for place, (group, algorithm) in enumerate(zip(groups, algorithms, strict=True)):
        label = algorithm if algorithms.count(algorithm) == 1 else group.name
        count = len(group.seeds)
        seeds = f"{count} seeds" if count > 1 else f"seed {group.seeds[0]}"
        result.append(Labelled(group, f"{label}, {seeds}", place))
    return result


def that_log(runs: Sequence[RunDirectory], column: str) -> list[RunDirectory]:
    """Those of the runs that have logged ``column``; ``TrafficRLError`` if none has."""
    logged = {
        run.path: dict.fromkeys(name for row in run.metrics() for name in row) for run in runs
    }
    found = [run for run in runs if column in logged[run.path]]
    if runs and not found:
        names = dict.fromkeys(name for names in logged.values() for name in names)
        known = ", ".join(name for name in names if name not in ("iteration", "sim_steps"))
        raise TrafficRLError(
            f"{', '.join(map(str, logged))}: nothing is logged as '{column}' (there are: {known})"
        )
    return found


def draw_curve(axes: Axes, one: Labelled, column: str) -> None:
    """The mean as a line, its interval as a band."""
    style = look(one.place)
    curve = one.curve(column)
    if curve is None:
        return
    marked = len(curve.steps) <= 12
    every = max(1, len(curve.steps) // 8)
    axes.plot(
        curve.steps,
        curve.mean,
        label=one.label,
        markevery=1 if marked else (one.place % every, every),
        **style,
    )
    axes.fill_between(curve.steps, curve.low, curve.high, color=style["color"], alpha=0.2, lw=0)
    for steps, values in curve.tails:
        axes.plot(steps, values, color=style["color"], lw=0.5)
