"""Vehicles that circulate on streets: where they start, and routes that never end."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trafficrl.errors import ScenarioError
from trafficrl.simulation.streets import Streets
from trafficrl.simulation.sumo import SumoSimulation
from trafficrl.types import FloatArray, VehicleStates

# A vehicle brakes for the end of its route, and sees no leader beyond it.
LEAST_AHEAD = 500.0  # m, a route is made longer before less than this is left
WANTED_AHEAD = 1500.0  # m, it is made this long
AT_REST = 0.1  # m/s
AT_THE_END = 10.0  # m, of a lane: too late to change it


class Circulation:
    """Random walks of M vehicles, each drawn from a stream of its own.

    So routes depend on the episode's generator alone, and not on how it is driven,
    but for turns that are missed, which have other streams.
    """

    def __init__(
        self, simulation: SumoSimulation, streets: Streets, ids: Sequence[str], gap: float
    ) -> None:
        """For vehicles ``ids``; ``ScenarioError`` unless all fit with ``gap`` m before each."""
        room = int(streets.room(gap).sum())
        if len(ids) > room:
            raise ScenarioError(
                f"vehicles: {len(ids)} do not fit {streets.name} (at most {room}, {gap:g} m apart)"
            )
        self._simulation = simulation
        self._streets = streets
        self._ids = list(ids)
        self._gap = gap
        self._streams: list[np.random.Generator] = []
        self._missed: list[np.random.Generator] = []  # streams for missed turns
        self._known: FloatArray = np.zeros(len(self._ids))  # m, odometer to which a route lasts

    def place(self, speed: float, rng: np.random.Generator) -> None:
        """Spread the vehicles over all streets, at ``speed`` m/s."""
        count = len(self._ids)
        lanes, positions = self._streets.spread(count, self._gap, rng)
        self._streams = [np.random.default_rng(seed) for seed in rng.integers(2**63, size=count)]
        self._missed = [stream.spawn(1)[0] for stream in self._streams]
        routes = [
            self._begin(lane, stream) for lane, stream in zip(lanes, self._streams, strict=True)
        ]
        self._known = np.array([self._length(route) for route in routes]) - positions
        self._simulation.place_on_routes(
            self._ids, routes, [lane for _, lane in lanes], positions, speed
        )

    def go_on(self, states: VehicleStates) -> None:
        """Make the routes longer that are about to end."""
        here, odometer = states.present[0], states.position[0]
        if self._streets.has_lanes:
            for index in np.flatnonzero(here & (states.speed[0] < AT_REST)).tolist():
                self._miss_turn(index, float(odometer[index]))
        for index in np.flatnonzero(here & (self._known - odometer < LEAST_AHEAD)).tolist():
            self._extend(index, float(odometer[index]))

    def _extend(self, index: int, odometer: float) -> None:
        route = self._simulation.route_ahead(self._ids[index])
        if route is None:
            return  # inside a junction: in one of the next steps
        # The edge that it is on may be nearly over, so it does not count.
        ahead = self._length(route[1:])
        more = self._streets.walk(route[-1], WANTED_AHEAD - ahead, self._streams[index])
        self._set_route(index, [*route, *more], odometer)

    def _miss_turn(self, index: int, odometer: float) -> None:
        """Go where the lane leads if the route does not, and it is too late to change lanes.

        Else the vehicle would wait there for a gap, and all others behind it.
        """
        vehicle = self._ids[index]
        edge, lane, left = self._simulation.lane_ahead(vehicle)
        ways = self._streets.lanes.get((edge, lane))
        if ways is None or left > AT_THE_END:
            return
        route = self._simulation.route_ahead(vehicle)
        if route is not None and not {*route[1:2]} <= {*ways}:
            self._set_route(index, self._begin((edge, lane), self._missed[index]), odometer)

    def _set_route(self, index: int, route: Sequence[str], odometer: float) -> None:
        self._simulation.set_route(self._ids[index], route)
        self._known[index] = odometer + self._length(route[1:])

    def _begin(self, lane: tuple[str, int], stream: np.random.Generator) -> list[str]:
        """A route that the lane itself leads into: there may be no time to change it."""
        ways = self._streets.lanes[lane]
        second = ways[stream.integers(len(ways))]
        return [lane[0], second, *self._streets.walk(second, WANTED_AHEAD, stream)]

    def _length(self, edges: Sequence[str]) -> float:
        return sum(self._streets.lengths[edge] for edge in edges)
