"""Where vehicles are along one course, or along a sequence of edges that some of them drive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import numpy as np

from trafficrl.errors import TrafficRLError
from trafficrl.evaluation.trajectory import Places, Trajectory
from trafficrl.types import BoolArray, FloatArray, IntArray

SAME_PLACE = 1.0  # m
LEAST_SHARE = 0.5  # of the most driven link's vehicles, where a route goes on by itself


@dataclass(frozen=True)
class Route:
    """A sequence of edges; ``starts`` are m along it at which each begins."""

    edges: tuple[str, ...]
    starts: tuple[float, ...]

    def positions(self, trajectory: Trajectory) -> FloatArray:
        """m along the route of each vehicle (T, M), NaN where it is not on it.

        Inside a junction by what it has driven since the last edge, if it goes on along the route.
        """
        track = Track.of(trajectory)
        order = np.array(
            [self.edges.index(edge) if edge in self.edges else -1 for edge in track.edges] + [-1]
        )
        place = order[track.edge]  # (T, M) among the route's edges, -1 off it
        start = np.append(self.starts, np.nan)[place]
        position = start + track.lane_position
        before, after = track.around()
        columns = np.arange(place.shape[1])
        crossing = (track.edge < 0) & track.unbroken(before, after)
        crossing &= (place[before, columns] >= 0) & (
            place[after, columns] == place[before, columns] + 1
        )
        driven = trajectory.distance - trajectory.distance[before, columns]
        return np.asarray(np.where(crossing, position[before, columns] + driven, position))


@dataclass(frozen=True)
class Track:
    """On which edge vehicles are, (T, M): a place among ``edges``, -1 inside junctions or absent.

    ``breaks`` counts how often a slot was empty or taken anew up to each step.
    """

    edges: list[str]
    edge: IntArray
    lane_position: FloatArray
    breaks: IntArray

    @classmethod
    def of(cls, trajectory: Trajectory) -> Track:
        """The track of a trajectory that was recorded with places."""
        places = _places(trajectory)
        lanes, code = np.unique(places.lane.astype(str), return_inverse=True)
        names = [lane.rpartition("_")[0] for lane in lanes]
        edges = sorted({name for name in names if name and not name.startswith(":")})
        number = {edge: place for place, edge in enumerate(edges)}
        edge = np.array([number.get(name, -1) for name in names])[code.reshape(places.lane.shape)]
        edge[~trajectory.present] = -1
        away = ~trajectory.present | trajectory.entered
        breaks = np.cumsum(away, axis=0, dtype=np.int64)
        return cls(edges, edge, places.lane_position, breaks)

    def around(self) -> tuple[IntArray, IntArray]:
        """The steps at which a vehicle was last and will next be on an edge, (T, M) each.

        Now, where it is on one; the first and the last step where there is none.
        """
        steps = len(self.edge)
        at = np.where(self.edge >= 0, np.arange(steps)[:, None], -1)
        before = np.maximum.accumulate(at, axis=0)
        ahead = np.where(at >= 0, at, steps)[::-1]
        after = np.minimum.accumulate(ahead, axis=0)[::-1]
        return np.maximum(before, 0), np.minimum(after, steps - 1)

    def unbroken(self, before: IntArray, after: IntArray) -> BoolArray:
        """Whether the same vehicle was there all the time between two steps, (T, M)."""
        columns = np.arange(self.edge.shape[1])
        return np.asarray(self.breaks[before, columns] == self.breaks[after, columns])


def follow_one_course(trajectory: Trajectory) -> bool:
    """Whether positions are of one course, so that a place on an edge always has the same one.

    On streets everybody counts from where he began. Raises ``TrafficRLError`` on an open
    road without places, of which it cannot be told.
    """
    if trajectory.closed:
        return True
    track = Track.of(trajectory)
    offset = trajectory.position - track.lane_position
    for edge in range(len(track.edges)):
        on_edge = offset[track.edge == edge]
        if len(on_edge) and np.ptp(on_edge) > SAME_PLACE:
            return False
    return True


def most_driven(trajectories: Sequence[Trajectory]) -> tuple[str, ...]:
    """The edges of the most driven link, and where most go on to and come from, no edge twice.

    It ends where less than half of that link's vehicles go on.
    """
    counts = Counter({link: len(gaps) for link, gaps in _links(trajectories).items()})
    if not counts:
        tracks = [Track.of(one) for one in trajectories]
        steps = Counter(
            track.edges[edge] for track in tracks for edge in track.edge[track.edge >= 0].tolist()
        )
        return tuple(sorted(steps, key=lambda edge: (-steps[edge], edge))[:1])
    ranked = sorted(counts, key=lambda link: (-counts[link], link))
    ranked = [link for link in ranked if counts[link] >= LEAST_SHARE * counts[ranked[0]]]
    route = list(ranked[0])
    while onward := [to for at, to in ranked if at == route[-1] and to not in route]:
        route.append(onward[0])
    while back := [at for at, to in ranked if to == route[0] and at not in route]:
        route.insert(0, back[0])
    return tuple(route)


def measure_route(trajectories: Sequence[Trajectory], edges: Sequence[str]) -> Route:
    """The route over ``edges``, as long from edge to edge as the vehicles had to drive.

    Raises ``TrafficRLError`` where nobody drives on an edge, or from one to the next.
    """
    driven = sorted({edge for one in trajectories for edge in Track.of(one).edges})
    if len(set(edges)) < len(edges) or not edges:
        raise TrafficRLError(f"route '{' '.join(edges)}': needs edges, and none of them twice")
    for edge in edges:
        if edge not in driven:
            raise TrafficRLError(
                f"route: nobody drives on an edge '{edge}' (driven are: {', '.join(driven)})"
            )
    links = _links(trajectories)
    for link in pairwise(edges):
        if link not in links:
            onward = ", ".join(to for at, to in links if at == link[0]) or "nowhere"
            raise TrafficRLError(
                f"route: nobody drives from '{link[0]}' to '{link[1]}' (they drive on to: {onward})"
            )
    gaps = (float(np.median(links[link])) for link in pairwise(edges))
    return Route(tuple(edges), tuple(accumulate(gaps, initial=0.0)))


def _links(trajectories: Sequence[Trajectory]) -> dict[tuple[str, str], list[float]]:
    """m from the beginning of an edge to that of the next, for each time that a vehicle went on."""
    links: dict[tuple[str, str], list[float]] = {}
    for trajectory in trajectories:
        track = Track.of(trajectory)
        before = track.around()[0][:-1]  # of the steps 0 to T - 2
        columns = np.arange(track.edge.shape[1])
        later = np.broadcast_to(np.arange(1, len(track.edge))[:, None], before.shape)
        came_from = track.edge[before, columns]
        arrived = (track.edge[1:] >= 0) & (came_from >= 0) & (track.edge[1:] != came_from)
        arrived &= track.unbroken(before, later)
        begun = track.lane_position - trajectory.distance
        gap = begun[before, columns] - begun[later, columns]
        for t, vehicle in np.argwhere(arrived).tolist():
            link = track.edges[came_from[t, vehicle]], track.edges[track.edge[t + 1, vehicle]]
            links.setdefault(link, []).append(float(gap[t, vehicle]))
    return links


def _places(trajectory: Trajectory) -> Places:
    if trajectory.places is None:
        raise TrafficRLError("the trajectory has no lanes (record it with places=True)")
    return trajectory.places
