"""Time-space diagrams: where every vehicle is at every time, and how fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trafficrl.errors import TrafficRLError
from trafficrl.evaluation.trajectory import Trajectory
from trafficrl.plots.routes import Route, follow_one_course, measure_route, most_driven
from trafficrl.plots.style import CATEGORIES, VALUES, new_figure, picture
from trafficrl.types import FloatArray, IntArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure

PANELS_A_ROW = 3
JUMP = 10.0  # m by which a position goes elsewhere than the vehicle drove: a new lap, another place
THIN, THICK = 0.7, 1.6  # pt


def find_route(
    trajectories: Sequence[Trajectory], edges: Sequence[str] | None = None
) -> Route | None:
    """The route over ``edges``, or where none are given over those that are driven most.

    None where positions are along one course anyway, and no edges are given.
    """
    if edges is None:
        if all(map(follow_one_course, trajectories)):
            return None
        edges = most_driven(trajectories)
    return measure_route(trajectories, edges)


@picture
def time_space(
    trajectories: Sequence[Trajectory], labels: Sequence[str], route: Route | None = None
) -> Figure:
    """Position over time, one line a vehicle, coloured by speed; a panel for each trajectory.

    Positions are those along the course, or along ``route`` (``find_route``); where
    there is neither, the route that is driven most. Where some vehicles learn and some do
    not, the fewer are thicker; crosses are collisions.
    """
    if not trajectories:
        raise TrafficRLError("no trajectory to draw")
    route = route or find_route(trajectories)
    columns = min(len(trajectories), PANELS_A_ROW)
    rows = -(-len(trajectories) // columns)
    figure = new_figure(1.3 + 2.7 * columns, 0.5 + 2.6 * rows, wspace=0.05)
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    fastest = max((_largest(one.speed) for one in trajectories), default=0.0)
    limits = 0.0, fastest or 1.0
    drawn = [
        _draw(axes, one, label, route, limits)
        for axes, one, label in zip(panels, trajectories, labels, strict=False)
    ]
    for axes in panels[len(trajectories) :]:
        axes.set_visible(False)
    for place, axes in enumerate(panels[: len(trajectories)]):
        below = place + columns < len(trajectories)
        axes.tick_params(labelbottom=not below, labelleft=place % columns == 0)
        axes.set_xlabel("" if below else "time (s)")
    what = "position" if route is None else f"along {_shown(route)}"
    for axes in panels[::columns]:
        axes.set_ylabel(f"{what} (m)")
    bar = figure.colorbar(drawn[0], ax=panels.tolist(), aspect=30, pad=0.02)
    bar.set_label("speed (m/s)")
    _explain_widths(figure, trajectories)
    return figure


def segments(
    trajectory: Trajectory, position: FloatArray
) -> tuple[FloatArray, FloatArray, IntArray]:
    """Lines from step to step, ends (S, 2, 2) in s and m, with speeds (S,) and columns (S,).

    None where a vehicle is not there, has just entered, or goes elsewhere than it drove.
    """
    times = np.broadcast_to(trajectory.times[:, None], position.shape)
    points = np.stack([times, position], axis=-1)
    moved, driven = np.diff(position, axis=0), np.diff(trajectory.distance, axis=0)
    with np.errstate(invalid="ignore"):
        joined = (np.abs(moved - driven) < JUMP) & ~trajectory.entered[1:]
    t, column = np.nonzero(joined)
    speed = (trajectory.speed[t, column] + trajectory.speed[t + 1, column]) / 2
    return np.stack([points[t, column], points[t + 1, column]], axis=1), speed, column


def _draw(
    axes: Axes, trajectory: Trajectory, label: str, route: Route | None, limits: tuple[float, float]
) -> LineCollection:
    from matplotlib.collections import LineCollection

    position = trajectory.position if route is None else route.positions(trajectory)
    lines, speed, column = segments(trajectory, position)
    few = np.isin(column, _the_fewer(trajectory)[1])
    order = np.argsort(few, kind="stable")  # the thick ones on top
    collection = LineCollection(
        lines[order],  # type: ignore[arg-type]
        array=speed[order],
        cmap=VALUES,
        linewidths=np.where(few[order], THICK, THIN),
        capstyle="round",
        rasterized=True,  # tens of thousands of lines; all else stays as it is in PDF and SVG
    )
    collection.set_clim(*limits)
    axes.add_collection(collection)
    _mark_collisions(axes, trajectory, position)
    axes.set_title(label)
    axes.set_xlim(0.0, trajectory.times[-1])
    if route is None and trajectory.closed:
        axes.set_ylim(0.0, trajectory.path_length)
    else:
        axes.autoscale_view(scalex=False)
    return collection


def _the_fewer(trajectory: Trajectory) -> tuple[str, IntArray]:
    """Learning vehicles or the others, whichever are fewer: their name and their columns."""
    others = np.setdiff1d(np.arange(len(trajectory.vehicles)), trajectory.agents)
    if len(trajectory.agents) <= len(others):
        return "learning vehicles", trajectory.agents
    return "other vehicles", others


def _explain_widths(figure: Figure, trajectories: Sequence[Trajectory]) -> None:
    from matplotlib.lines import Line2D

    names = dict.fromkeys(name for name, few in map(_the_fewer, trajectories) if len(few))
    if names:
        handles = [Line2D([], [], color="black", lw=THICK, label=" or ".join(names))]
        figure.legend(handles=handles, loc="outside lower center")


def _mark_collisions(axes: Axes, trajectory: Trajectory, position: FloatArray) -> None:
    begun = trajectory.collided & ~np.vstack(
        [np.zeros_like(trajectory.collided[:1]), trajectory.collided[:-1]]
    )
    t, vehicle = np.nonzero(begun & np.isfinite(position))
    if len(t):
        axes.plot(
            trajectory.times[t],
            position[t, vehicle],
            marker="x",
            linestyle="",
            color=CATEGORIES[1],
            label="collision",
            clip_on=False,
        )
        axes.legend(loc="upper left", frameon=True, framealpha=0.8, edgecolor="none")


def _shown(route: Route) -> str:
    first, last = route.edges[0], route.edges[-1]
    return first if first == last else f"{first} ... {last}"


def _largest(values: NDArray[Any]) -> float:
    return float(np.nanmax(values)) if np.isfinite(values).any() else 0.0
