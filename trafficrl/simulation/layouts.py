"""Plain geometry of the networks, and netconvert's input files made of it.

Lengths are in metres, angles in radians. Every layout is drawn about its own
origin; replicas are shifted along y so that they do not touch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from itertools import accumulate
from math import cos, inf, pi, sin

from trafficrl.config.networks import CourseNetwork, FigureEightNetwork, RingNetwork, RoadNetwork
from trafficrl.errors import ScenarioError
from trafficrl.simulation import xmlfiles

Point = tuple[float, float]
_Attributes = dict[str, str | float]

_LANE_WIDTH = 3.2  # m, SUMO's default
_GAP = 20.0  # m between replicas
_ARC_SEGMENTS = 64  # of a half circle or of three eighths of one
_SHORTEST_RING = 20.0  # m
_FOR_EVER = 1e9  # s


@dataclass(frozen=True)
class Edge:
    """A directed edge between two named nodes along ``shape``, end points included."""

    source: str
    target: str
    shape: tuple[Point, ...]
    length: float | None = None  # m; None leaves it to the geometry
    priority: int = 1  # the higher goes first at a crossing


@dataclass(frozen=True)
class Layout:
    """One replica: its edges in order of travel, its height in m."""

    edges: tuple[Edge, ...]
    height: float
    closed: bool
    internal_lanes: bool = False  # inside junctions: a crossing needs them, a ring is lengthened


def make_layouts(
    config: CourseNetwork, replicas: int, lengths: Sequence[float] | None
) -> list[Layout]:
    """One layout per replica; raises ``ScenarioError`` for what cannot be drawn."""
    if replicas < 1:
        raise ScenarioError(f"replicas: {replicas} is not a number of copies (1 or more)")
    if lengths is None:
        return [draw(config)] * replicas
    if not isinstance(config, RingNetwork):
        raise ScenarioError(f"network: lengths are drawn for a ring only, not for {config.title}")
    if len(lengths) != replicas:
        raise ScenarioError(
            f"network: {len(lengths)} lengths given (one for each of {replicas} replicas)"
        )
    return [draw(config.model_copy(update={"length_m": length})) for length in lengths]


@singledispatch
def draw(config: CourseNetwork) -> Layout:
    """The layout of one replica; each kind of course registers its own."""
    raise NotImplementedError(type(config))


def edge_ids(layouts: Sequence[Layout]) -> list[list[str]]:
    """The ids of every replica's edges, in order of travel."""
    return [
        [f"{prefix}e{index}" for index in range(len(layout.edges))]
        for prefix, layout in zip(_prefixes(layouts), layouts, strict=True)
    ]


def plain_xml(layouts: Sequence[Layout], lanes: int, speed_mps: float) -> dict[str, str]:
    """netconvert's inputs, by the option that takes each."""
    nodes, edges, connections = map(xmlfiles.Element, ("nodes", "edges", "connections"))
    shifts = accumulate((layout.height + _GAP for layout in layouts), initial=0.0)
    for prefix, ids, layout, shift in zip(
        _prefixes(layouts), edge_ids(layouts), layouts, shifts, strict=False
    ):
        places = {edge.source: edge.shape[0] for edge in layout.edges}
        places |= {edge.target: edge.shape[-1] for edge in layout.edges}
        for name, (x, y) in places.items():
            node: _Attributes = {"id": prefix + name, "x": x, "y": y + shift, "type": "priority"}
            xmlfiles.add(nodes, "node", node)
        for identity, edge in zip(ids, layout.edges, strict=True):
            ends: _Attributes = {"from": prefix + edge.source, "to": prefix + edge.target}
            road: _Attributes = {"numLanes": lanes, "speed": speed_mps, "priority": edge.priority}
            xmlfiles.add(edges, "edge", {"id": identity, **ends, **road, **_geometry(edge, shift)})
        followers = [*ids[1:], ids[0]] if layout.closed else ids[1:]
        for source, target in zip(ids, followers, strict=False):
            for lane in range(lanes):
                link: _Attributes = {"from": source, "to": target}
                link |= {"fromLane": lane, "toLane": lane}
                xmlfiles.add(connections, "connection", link)
    return {
        "node-files": xmlfiles.text(nodes),
        "edge-files": xmlfiles.text(edges),
        "connection-files": xmlfiles.text(connections),
    }


def _geometry(edge: Edge, shift: float) -> _Attributes:
    points = ((xmlfiles.number(x), xmlfiles.number(y + shift)) for x, y in edge.shape)
    shape: _Attributes = {
        "spreadType": "center",
        "shape": " ".join(f"{x},{y}" for x, y in points),
    }
    return shape if edge.length is None else {**shape, "length": edge.length}


def rerouters_xml(layouts: Sequence[Layout]) -> str | None:
    """An additional file that gives vehicles a new destination twice a lap.

    None for open roads. Each of two edges sends vehicles on to the other, so
    the destination is always ahead and no vehicle arrives.
    """
    if not layouts[0].closed:
        return None
    root = xmlfiles.Element("additional")
    for ids in edge_ids(layouts):
        ends = ids[0], ids[len(ids) // 2]
        for here, there in zip(ends, ends[::-1], strict=True):
            rerouter = xmlfiles.add(root, "rerouter", {"id": f"on_{here}", "edges": here})
            interval = xmlfiles.add(rerouter, "interval", {"begin": 0, "end": _FOR_EVER})
            xmlfiles.add(interval, "destProbReroute", {"id": there})
    return xmlfiles.text(root)


@draw.register
def _ring(config: RingNetwork) -> Layout:
    length, width = config.length_m, config.lanes * _LANE_WIDTH
    if not _SHORTEST_RING <= length < inf:
        raise ScenarioError(
            f"network: a ring of {length:g} m cannot be built (at least {_SHORTEST_RING:g} m)"
        )
    # Of the polygon's perimeter, so that the drawn length is the true one as well.
    radius = length / (4 * _ARC_SEGMENTS * sin(pi / (2 * _ARC_SEGMENTS)))
    _check_width(width, 2 * radius, f"a ring of {length:g} m")
    half = round(length / 2, 6)
    east, west = (_arc((0.0, 0.0), radius, turn, turn + pi) for turn in (0.0, pi))
    # Both arcs end where the other begins, not a rounding error beside it.
    edges = (
        Edge("east", "west", (*east[:-1], west[0]), half),
        Edge("west", "east", (*west[:-1], east[0]), length - half),
    )
    return Layout(edges, 2 * radius + width, closed=True)


@draw.register
def _figure_eight(config: FigureEightNetwork) -> Layout:
    """The circles lie north-east and south-west of the crossing, a radius away from its arms."""
    radius, width = config.radius_m, config.lanes * _LANE_WIDTH
    _check_width(width, radius, f"a figure eight of radius {radius:g} m")
    centre = (0.0, 0.0)
    north_east, south_west = (radius, radius), (-radius, -radius)
    eighth = pi / 4
    upper_out = _arc(north_east, radius, -2 * eighth, eighth)
    upper_back = _arc(north_east, radius, eighth, 4 * eighth)
    lower_out = _arc(south_west, radius, 0.0, -3 * eighth)
    lower_back = _arc(south_west, radius, -3 * eighth, -6 * eighth)
    edges = (
        Edge("centre", "upper", (centre, *upper_out), priority=2),
        Edge("upper", "centre", (*upper_back, centre), priority=1),
        Edge("centre", "lower", (centre, *lower_out), priority=1),
        Edge("lower", "centre", (*lower_back, centre), priority=2),
    )
    return Layout(edges, 4 * radius + width, closed=True, internal_lanes=True)


@draw.register
def _road(config: RoadNetwork) -> Layout:
    edge = Edge("start", "end", ((0.0, 0.0), (config.length_m, 0.0)), config.length_m)
    return Layout((edge,), config.lanes * _LANE_WIDTH, closed=False)


def _arc(centre: Point, radius: float, begin: float, end: float) -> tuple[Point, ...]:
    angles = [begin + (end - begin) * i / _ARC_SEGMENTS for i in range(_ARC_SEGMENTS + 1)]
    return tuple((centre[0] + radius * cos(a), centre[1] + radius * sin(a)) for a in angles)


def _check_width(width: float, limit: float, what: str) -> None:
    if width >= limit:
        raise ScenarioError(
            f"network.lanes: {width / _LANE_WIDTH:.0f} lanes are too wide for {what} "
            f"(at most {int(limit / _LANE_WIDTH - 1e-9)})"
        )


def _prefixes(layouts: Sequence[Layout]) -> list[str]:
    return [f"r{i}_" for i in range(len(layouts))] if len(layouts) > 1 else [""]
