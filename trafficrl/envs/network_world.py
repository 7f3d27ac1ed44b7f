"""Vehicles on any network of streets, where they circulate for ever or come and go.

The M vehicles are slots. Without route files a vehicle stays in each of them for
the whole episode. With route files a vehicle that departs takes the slot that has
been free for longest and one that arrives frees it; who finds no free slot, or is
no car, is driven by SUMO's own model and counted.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trafficrl.config.networks import StreetNetwork
from trafficrl.config.scenario import ScenarioConfig, SpreadStart
from trafficrl.envs.circulation import Circulation
from trafficrl.envs.watching import T, by_slot, collided, watched_states
from trafficrl.envs.world import World
from trafficrl.errors import ScenarioError
from trafficrl.simulation.net_files import build_streets
from trafficrl.simulation.streets import read_streets
from trafficrl.types import BoolArray, FloatArray, IntArray, VehicleStates


class NetworkWorld(World):
    """M slots for the vehicles of one network; there is one replica."""

    def __init__(
        self, config: ScenarioConfig, network: StreetNetwork, *, replicas: int = 1
    ) -> None:
        if replicas != 1:
            raise ScenarioError(
                f"replicas: {replicas} copies of streets cannot lie side by side (should be 1)"
            )
        super().__init__(config, replicas=replicas)
        self._network = build_streets(network)
        self._circulation: Circulation | None = None
        if isinstance(config.start, SpreadStart):
            streets = read_streets(self._network.net_file, network.source)
            self._circulation = Circulation(
                self._simulation, streets, self._ids(), config.simulation.min_gap_m
            )
        self._slots: dict[str, int] = {}  # of the vehicles that are driven, by SUMO id
        self._free: deque[int] = deque()  # slots, first the one that is free for longest
        self._others: set[str] = set()  # vehicles that SUMO drives
        self._entered: BoolArray = np.zeros(self.shape, dtype=bool)

    def coordinates(self) -> FloatArray:
        return self._by_slot(self._simulation.coordinates(), np.nan)

    def lanes(self) -> tuple[NDArray[np.object_], FloatArray]:
        names, where = self._simulation.lanes()
        return self._by_slot(names, None), self._by_slot(where, np.nan)

    def emissions(self) -> FloatArray:
        return self._by_slot(self._simulation.emissions(), np.nan)

    def teleported(self) -> BoolArray:
        begun = np.zeros(self.shape, dtype=bool)
        begun[0, self._taken()[self._simulation.teleported()]] = True
        return begun

    def sumo_ids(self) -> list[str | None]:
        ids: list[str | None] = [None] * self.n_vehicles
        for vehicle, slot in self._slots.items():
            ids[slot] = vehicle
        return ids

    # ------------------------------------------------------------------

    def _place(self, rng: np.random.Generator) -> VehicleStates:
        # Loaded anew: traffic lights, flows and SUMO's randomness begin as they did.
        self._simulation.load(self._network, seed=int(rng.integers(2**31)))
        start = self.config.start
        self._slots, self._others = {}, set()
        self._free = deque(range(self.n_vehicles))
        self.without_slot[:] = self.left[:] = 0
        if self._circulation is not None and isinstance(start, SpreadStart):
            self._circulation.place(start.speed_mps, rng)
            self._slots = {vehicle: slot for slot, vehicle in enumerate(self._ids())}
            self._free.clear()
        else:
            self._simulation.step(np.zeros(0))  # the first vehicles depart
            self._come_and_go()
        self._entered[:] = False  # they are where the episode begins
        return self._observe(0.0, np.zeros(self.shape), np.zeros(self.shape))

    def _vehicles_of(self, columns: IntArray) -> list[str]:
        wanted = set(columns.tolist())
        return [vehicle for vehicle, slot in self._slots.items() if slot in wanted]

    def _simulate(self, command: FloatArray) -> None:
        if self._circulation is not None:
            self._circulation.go_on(self.states)
        self._simulation.step(command[0, self._taken()])
        self._come_and_go()

    def _come_and_go(self) -> None:
        """Free the slots of who has gone, and give slots to who has departed."""
        road = self._simulation.on_the_road()
        here = set(road)
        self._entered = np.zeros(self.shape, dtype=bool)
        gone = [one for one in self._slots if one not in here]
        for vehicle in gone:
            self._free.append(self._slots.pop(vehicle))
        self.left += len(gone) + len(self._others - here)
        self._others &= here
        for vehicle in road:
            if vehicle in self._slots or vehicle in self._others:
                continue
            if self._free and self._simulation.is_car(vehicle):
                self._simulation.take_over(vehicle)
                self._slots[vehicle] = slot = self._free.popleft()
                self._entered[0, slot] = True
                vehicle_type = self._vehicle_types[slot]
                if vehicle_type is not None:
                    self._simulation.release([vehicle], vehicle_type)
            else:
                self._others.add(vehicle)
                self.without_slot += 1
        self._driven_before[self._entered] = 0.0
        self._simulation.watch(list(self._slots))

    def _observe(self, time: float, command: FloatArray, acceleration: FloatArray) -> VehicleStates:
        taken = self._taken()
        states = watched_states(self._simulation, taken, self.n_vehicles, time)
        states.distance = states.position - self._driven_before * states.present
        states.commanded_speed, states.commanded_acceleration = command, acceleration
        states.entered = self._entered
        states.collided = collided(
            self._simulation,
            taken,
            states.headway,
            least=self.config.episode.collision_headway_m,
            crossing_counts=self.crossing_collisions,
        )
        return states

    def _taken(self) -> IntArray:
        """The slots (V,) of the vehicles that are driven."""
        return np.fromiter(self._slots.values(), dtype=np.int64, count=len(self._slots))

    def _by_slot(self, values: NDArray[T], missing: Any) -> NDArray[T]:
        """``values`` (V, ...) of the vehicles that are driven as (1, M, ...)."""
        return by_slot(values, self._taken(), self.n_vehicles, missing)
