"""The vehicle graph on its road, with whom one vehicle hears of (Figures 1 and 4 of the paper)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trafficrl.errors import TrafficRLError
from trafficrl.plots.style import CATEGORIES, GREY, new_figure, picture
from trafficrl.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from trafficrl.evaluation.snapshot import Snapshot
    from trafficrl.simulation.geometry import LaneShape

WIDTH = 5.0  # inches
MARGIN = 12.0, 0.05  # around what is shown: m, and share of its extent, whichever is more
CLOSE_UP = 1 / 3  # of the road's extent, below which only where vehicles are is shown
BEND = 0.25  # of links, so that on a straight road they do not hide each other
ROAD = "0.88"
MARKERS = "*oDs^vPX"  # of the vehicle itself, and by hops
SHADES = "viridis"


@picture
def vehicle_graph(snapshot: Snapshot, vehicle: str | None = None, hops: int = 2) -> Figure:
    """Links between the vehicles that can talk to each other, drawn on the road.

    The closed ``hops``-hop set of ``vehicle`` (the first one that is there without a name)
    is filled by graph distance, its links are darker. ``TrafficRLError`` for a vehicle
    that does not learn, or is not there.
    """
    graph = snapshot.graph
    chosen = _find(snapshot, vehicle)
    distance = graph.hops(hops)[chosen]  # hops + 1 where further
    xy = snapshot.xy[graph.agents]
    box = _view(snapshot)
    figure = new_figure(WIDTH, float(np.clip(WIDTH * box[3] / box[2], 0.5, 6.0)) + 0.8)
    axes = figure.add_subplot()
    _draw_road(axes, snapshot.lanes)
    for one, other in graph.graph.edges:
        _link(axes, xy[one], xy[other], inside=max(distance[one], distance[other]) <= hops)
    others = np.setdiff1d(np.arange(len(snapshot.vehicles)), graph.agents)
    _dots(axes, snapshot.xy[others], "other vehicles", marker="s", color=GREY, s=14)
    further = graph.present & (distance > hops)
    far = f"further than {hops}"
    _dots(axes, xy[further], far, marker="o", facecolor="white", edgecolor="black", s=26)
    shades = _shades(hops)
    for hop in range(hops, -1, -1):
        label = graph.names[chosen] if hop == 0 else f"{hop} hop{'s' if hop > 1 else ''}"
        marker = MARKERS[min(hop, len(MARKERS) - 1)]
        size = 110 if hop == 0 else 34
        style = {"facecolor": shades[hop], "edgecolor": "black", "marker": marker, "s": size}
        _dots(axes, xy[graph.present & (distance == hop)], label, **style)
    axes.set_xlim(box[0], box[0] + box[2])
    axes.set_ylim(box[1], box[1] + box[3])
    axes.set_aspect("equal")
    axes.set_axis_off()
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside lower center", ncols=3)
    _scale_bar(axes, box)
    return figure


def _find(snapshot: Snapshot, vehicle: str | None) -> int:
    """The vehicle's place among the agents."""
    names, present = snapshot.graph.names, snapshot.graph.present
    there = [name for name, here in zip(names, present, strict=True) if here]
    if not there:
        raise TrafficRLError(f"no learning vehicle is there after {snapshot.time:g} s")
    if vehicle is not None and vehicle not in there:
        raise TrafficRLError(
            f"no learning vehicle '{vehicle}' is there after {snapshot.time:g} s "
            f"(there are: {', '.join(there)})"
        )
    return names.index(vehicle or there[0])


def _view(snapshot: Snapshot) -> tuple[float, float, float, float]:
    """x, y, width and height of what is shown, m: the road, or of a long one where vehicles are."""
    road = np.concatenate([lane.points for lane in snapshot.lanes])
    cars = snapshot.xy[np.isfinite(snapshot.xy[:, 0])]
    shown = cars if np.ptp(cars, axis=0).max() < CLOSE_UP * np.ptp(road, axis=0).max() else road
    margin = max(MARGIN[0], MARGIN[1] * float(np.ptp(shown, axis=0).max()))
    low, high = shown.min(axis=0) - margin, shown.max(axis=0) + margin
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])


def _draw_road(axes: Axes, lanes: list[LaneShape]) -> None:
    from matplotlib.collections import PolyCollection

    outlines = [_outline(lane) for lane in lanes if len(lane.points) > 1]
    axes.add_collection(PolyCollection(outlines, facecolor=ROAD, edgecolor=ROAD, lw=0.4))


def _outline(lane: LaneShape) -> FloatArray:
    """The lane's edges as a polygon, (2 P, 2)."""
    along = np.gradient(lane.points, axis=0)
    length = np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    aside = along[:, ::-1] * (-1.0, 1.0) / length * lane.width / 2
    return np.concatenate([lane.points + aside, (lane.points - aside)[::-1]])


def _link(axes: Axes, here: FloatArray, there: FloatArray, *, inside: bool) -> None:
    from matplotlib.patches import FancyArrowPatch

    axes.add_patch(
        FancyArrowPatch(
            tuple(here),
            tuple(there),
            arrowstyle="-",
            connectionstyle=f"arc3,rad={BEND}",
            shrinkA=0.0,
            shrinkB=0.0,
            color=CATEGORIES[1] if inside else GREY,
            lw=1.4 if inside else 0.7,
        )
    )


def _dots(axes: Axes, xy: FloatArray, label: str, **style: Any) -> None:
    """Vehicles, if there are any, with an entry in the legend that counts them."""
    there = xy[np.isfinite(xy[:, 0])]
    if len(there):
        count = "" if label.startswith("cav") else f" ({len(there)})"
        axes.scatter(*there.T, label=f"{label}{count}", lw=0.6, zorder=3, **style)


def _shades(hops: int) -> Any:
    """A colour for each number of hops, the nearest brightest."""
    import matplotlib

    return matplotlib.colormaps[SHADES](np.linspace(0.95, 0.15, hops + 1))


def _scale_bar(axes: Axes, box: tuple[float, float, float, float]) -> None:
    """A length that can be read off, about a fifth of the width."""
    fifth = box[2] / 5
    magnitude = 10 ** np.floor(np.log10(fifth))
    length = max(step * magnitude for step in (1, 2, 5) if step * magnitude <= fifth)
    x, y = box[0], box[1]
    axes.plot([x, x + length], [y, y], color="black", lw=1.0, solid_capstyle="butt", clip_on=False)
    axes.annotate(f"{length:g} m", (x + length, y), (4, 0), textcoords="offset points", va="center")
