"""Speed, headway and acceleration of each vehicle over time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from trafficrl.errors import TrafficRLError
from trafficrl.plots.style import CATEGORIES, GREY, LINES, VALUES, new_figure, picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from trafficrl.evaluation.trajectory import Trajectory

NAMED = 6  # vehicles of a kind that get a name each; more than these are one entry
LEAST_RANGE = 0.1  # m/s, m or m/s2
PANELS = {
    "speed": "speed (m/s)",
    "headway": "headway (m)",
    "acceleration": "acceleration (m/s$^2$)",
}


@picture
def vehicle_series(trajectory: Trajectory, vehicles: Sequence[str] | None = None) -> Figure:
    """Speed, headway and realised acceleration over time, of all vehicles or of those named.

    Learning vehicles have colours: one each, or where there are many a scale from the
    front to the back. All others, human drivers and scripted leads, are dashed behind them.
    ``TrafficRLError`` for an unknown name.
    """
    columns = _columns(trajectory, vehicles)
    learning = np.isin(columns, trajectory.agents)
    others, learners = columns[~learning], columns[learning]
    styles = {**_of_others(others), **_of_learners(learners)}
    figure = new_figure(6.8, 5.0)
    panels = figure.subplots(len(PANELS), 1, sharex=True)
    for axes, (name, label) in zip(panels, PANELS.items(), strict=True):
        values = np.where(np.isfinite(getattr(trajectory, name)), getattr(trajectory, name), np.nan)
        # A slot that another car takes begins a new line.
        values[trajectory.entered] = np.nan
        for column in (*others, *learners):
            axes.plot(trajectory.times, values[:, column], **styles[column])
        axes.set_ylabel(label)
        axes.grid(True)
        _widen(axes)
    panels[-1].set_xlabel("time (s)")
    panels[-1].set_xlim(0.0, trajectory.times[-1])
    _legend(figure, panels, trajectory, others, learners, styles)
    return figure


def _widen(axes: Axes) -> None:
    """Rounding errors of what does not change fill no panel."""
    low, high = axes.get_ylim()
    if high - low < LEAST_RANGE:
        middle = (low + high) / 2
        axes.set_ylim(middle - LEAST_RANGE / 2, middle + LEAST_RANGE / 2)


def _columns(trajectory: Trajectory, vehicles: Sequence[str] | None) -> Any:
    """The columns of the named vehicles, of all that are ever there without names."""
    if vehicles is None:
        return np.flatnonzero(trajectory.present.any(axis=0))
    for name in vehicles:
        if name not in trajectory.vehicles:
            known = ", ".join(trajectory.vehicles)
            raise TrafficRLError(f"no vehicle is called '{name}' (there are: {known})")
    return np.array([trajectory.vehicles.index(name) for name in dict.fromkeys(vehicles)])


def _of_learners(columns: Any) -> dict[int, dict[str, Any]]:
    if len(columns) <= NAMED:
        return {
            column: {"color": CATEGORIES[place], "linestyle": LINES[place % len(LINES)], "lw": 1.1}
            for place, column in enumerate(columns)
        }
    import matplotlib

    shades = matplotlib.colormaps[VALUES](np.linspace(0.0, 1.0, len(columns)))
    return {
        column: {"color": tuple(shade), "lw": 0.8}
        for column, shade in zip(columns, shades, strict=True)
    }


def _of_others(columns: Any) -> dict[int, dict[str, Any]]:
    """One that is alone, such as a lead, stands out more than many do."""
    alone = len(columns) == 1
    style = {"color": "black" if alone else GREY, "linestyle": "--", "lw": 1.1 if alone else 0.5}
    return dict.fromkeys(columns, style)


def _legend(
    figure: Figure,
    panels: Sequence[Axes],
    trajectory: Trajectory,
    others: Any,
    learners: Any,
    styles: dict[int, dict[str, Any]],
) -> None:
    from matplotlib.lines import Line2D

    names = trajectory.vehicles
    entries = []
    if len(others):
        label = names[others[0]] if len(others) == 1 else f"{len(others)} other vehicles"
        entries.append(Line2D([], [], **styles[others[0]], label=label))
    if len(learners) <= NAMED:
        entries += [Line2D([], [], **styles[one], label=names[one]) for one in learners]
    else:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        scale = ScalarMappable(Normalize(0, len(learners) - 1), VALUES)
        bar = figure.colorbar(scale, ax=list(panels), aspect=40, pad=0.02)
        ends = 0, len(learners) - 1
        bar.set_ticks(ends, labels=[names[learners[end]] for end in ends])
        bar.set_label(f"{len(learners)} controlled vehicles", labelpad=-10)
    if entries:
        figure.legend(handles=entries, loc="outside lower center", ncols=min(len(entries), 7))
