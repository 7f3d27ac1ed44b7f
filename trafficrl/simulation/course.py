"""Where vehicles drive: one position along a course instead of edges and lanes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

import sumolib.net

from trafficrl.errors import ScenarioError


@dataclass(frozen=True)
class Course:
    """One replica's course: the edges a vehicle drives, in order.

    Positions are in metres along lane 0 from the start of the first edge, over
    internal lanes too, and belong to a vehicle's front bumper.
    """

    edges: tuple[str, ...]  # drivable edges in order of travel
    edge_starts: tuple[float, ...]  # m along the course at which each edge begins
    edge_lengths: tuple[float, ...]  # m; what is left up to the next start is internal
    length: float  # m, of one lap with internal lanes, or of the road
    closed: bool
    crossings: tuple[float, ...] = ()  # m, where the course crosses itself: once for each pass

    def drivable(self, position_m: float) -> float:
        """The position nearest to ``position_m`` at which a vehicle can be inserted, m.

        That is ``position_m`` itself (modulo the length of a closed course)
        except on an internal lane, where it is the nearer end of that lane.
        Raises ``ScenarioError`` beyond the ends of an open road.
        """
        index, offset = self._find(position_m)
        start, length = self.edge_starts[index], self.edge_lengths[index]
        following = (*self.edge_starts, self.length)[index + 1]
        if offset > length and offset - length > following - start - offset:
            return following % self.length
        return start + min(offset, length)

    def locate(self, position_m: float) -> tuple[str, float]:
        """Edge and position on its lanes, m, of ``drivable(position_m)``."""
        index, offset = self._find(self.drivable(position_m))
        return self.edges[index], min(offset, self.edge_lengths[index])

    def position(self, edge: str, lane_position_m: float) -> float:
        """Position along the course, m, of a place on a drivable edge."""
        return self.edge_starts[self.edges.index(edge)] + lane_position_m

    def route_from(self, edge: str) -> tuple[str, ...]:
        """The edges from ``edge`` on: one lap of a closed course, else to the end."""
        first = self.edges.index(edge)
        return self.edges[first:] + (self.edges[:first] if self.closed else ())

    def _find(self, position_m: float) -> tuple[int, float]:
        """Index of the last edge that begins at or before the position, and m since then."""
        if self.closed:
            position_m %= self.length
        elif not 0 <= position_m <= self.length:
            raise ScenarioError(
                f"position {position_m:g} m is not on the road (0 to {self.length:g} m)"
            )
        index = bisect_right(self.edge_starts, position_m) - 1
        return index, position_m - self.edge_starts[index]


@dataclass(frozen=True)
class BuiltNetwork:
    """A network on disk, with the courses of its replicas or the routes of its vehicles."""

    net_file: Path
    additional_file: Path | None  # rerouters that keep vehicles on a closed course for ever
    courses: tuple[Course, ...]  # one per replica
    route_files: tuple[Path, ...] = ()  # of vehicles that come and go


def read_courses(
    net_file: Path, edges: Sequence[Sequence[str]], closed: bool
) -> tuple[Course, ...]:
    """Measure the courses over the ``edges`` of each replica as SUMO will, along lane 0."""
    net = sumolib.net.readNet(str(net_file), withInternal=True)
    return tuple(_measure(net, course, closed) for course in edges)


def _measure(net: sumolib.net.Net, edges: Sequence[str], closed: bool) -> Course:
    lengths = tuple(float(net.getEdge(edge).getLane(0).getLength()) for edge in edges)
    links = list(pairwise([*edges, edges[0]] if closed else edges))
    gaps = [_internal_length(net, *link) for link in links]
    steps = [length + gap for length, gap in zip(lengths, [*gaps, 0.0], strict=False)]
    ends = tuple(accumulate(steps))
    junctions = [net.getEdge(source).getToNode().getID() for source, _ in links]
    crossings = tuple(
        end - gap / 2
        for end, gap, junction in zip(ends, gaps, junctions, strict=False)
        if junctions.count(junction) > 1
    )
    return Course(tuple(edges), (0.0, *ends[:-1]), lengths, ends[-1], closed, crossings)


def _connection(net: sumolib.net.Net, source: str, target: str) -> sumolib.net.Connection:
    return net.getEdge(source).getOutgoing()[net.getEdge(target)][0]


def _internal_length(net: sumolib.net.Net, source: str, target: str) -> float:
    """m between two edges: all internal lanes on the way (one crossing may have several)."""
    total, via = 0.0, _connection(net, source, target).getViaLaneID()
    while via:
        lane = net.getLane(via)
        total += float(lane.getLength())
        via = lane.getOutgoing()[0].getViaLaneID()
    return total
