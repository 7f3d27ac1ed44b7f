"""Vehicles on one course: a ring, a figure eight or a straight road.

They are numbered from the front to the back, so that vehicle i follows vehicle
i - 1; on a loop vehicle 0 follows the last. Nobody comes or goes.
"""

from __future__ import annotations

import math
import tempfile
from copy import deepcopy
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trafficrl.config.networks import CourseNetwork, RingNetwork
from trafficrl.config.scenario import ScenarioConfig
from trafficrl.envs.order import distance_ahead, fixed_order, neighbours_by_lane, too_close
from trafficrl.envs.starts import start_positions
from trafficrl.envs.world import World
from trafficrl.errors import ScenarioError
from trafficrl.simulation.networks import build_network
from trafficrl.types import (
    VEHICLE_LENGTH,
    BoolArray,
    FloatArray,
    IntArray,
    VehicleStates,
    constant,
)


class CourseWorld(World):
    """M vehicles in line on each replica's course."""

    def __init__(
        self, config: ScenarioConfig, network: CourseNetwork, *, replicas: int = 1
    ) -> None:
        super().__init__(config, replicas=replicas)
        self._course = network
        self._directory = tempfile.TemporaryDirectory(prefix="trafficrl-")
        self._network = build_network(network, replicas)
        self.crossings = tuple(combinations(self._network.courses[0].crossings, 2))
        self._changes_lanes = network.lanes > 1 and config.simulation.lane_change_mode != 0
        self._closed = self._network.courses[0].closed
        self._path_length: FloatArray = np.full(replicas, np.inf)
        self._lanes = np.tile(np.arange(self.n_vehicles) % network.lanes, replicas)
        self._order = fixed_order(self.n_vehicles, self._closed, replicas)
        self._start: FloatArray = np.zeros(self.shape)  # m along the course at insertion
        undefined = constant(self.shape, np.nan)
        self._always: dict[str, Any] = {  # in the states, until somebody knows better
            "acceleration": constant(self.shape, 0.0),
            "overridden": constant(self.shape, False),
            "target_speed": undefined,
            "target_acceleration": undefined,
            "final_target_speed": undefined,
            "crossings": self.crossings,
            "present": constant(self.shape, True),
            "entered": constant(self.shape, False),
            "outside_leader_speed": undefined,
        }

    def coordinates(self) -> FloatArray:
        return self._simulation.coordinates().reshape(*self.shape, 2)

    def lanes(self) -> tuple[NDArray[np.object_], FloatArray]:
        names, where = self._simulation.lanes()
        return names.reshape(*self.shape, 2), where.reshape(*self.shape, 3)

    def emissions(self) -> FloatArray:
        return self._simulation.emissions().reshape(*self.shape, 3)

    def teleported(self) -> BoolArray:
        begun = np.zeros(self.shape, dtype=bool)
        begun.ravel()[self._simulation.teleported()] = True
        return begun

    def sumo_ids(self) -> list[str | None]:
        return [*self._ids()[: self.n_vehicles]]

    def close(self) -> None:
        super().close()
        self._loaded = False
        self._directory.cleanup()

    # ------------------------------------------------------------------

    def _vehicles_of(self, columns: IntArray) -> list[str]:
        ids = np.array(self._ids(), dtype=object).reshape(self.shape)
        return ids[:, columns].ravel().tolist()

    def _simulate(self, command: FloatArray) -> None:
        self._simulation.step(command.ravel())

    def _observe(self, time: float, command: FloatArray, acceleration: FloatArray) -> VehicleStates:
        shape = self.shape
        flat_speed, flat_distance = self._simulation.read()
        speed, odometer = flat_speed.reshape(shape), flat_distance.reshape(shape)
        position = self._start + odometer
        if self._closed:
            position %= self._path_length[:, None]
        if self._course.lanes > 1:
            leader, follower, headway = neighbours_by_lane(*self._simulation.leaders()[:2], shape)
        else:
            leader, follower = self._order
            length = self._path_length if self._closed else None
            headway = distance_ahead(position, length)
            headway -= VEHICLE_LENGTH
        collided = too_close(
            headway, self.config.episode.collision_headway_m, in_line=self._course.lanes == 1
        )
        if touched := self._touched(position):
            collided.ravel()[touched] = True
        return VehicleStates(
            time=time,
            position=position,
            distance=odometer - self._driven_before,
            speed=speed,
            headway=headway,
            leader=leader,
            follower=follower,
            commanded_acceleration=acceleration,
            commanded_speed=command,
            collided=collided,
            path_length=self._path_length,
            **self._always,
        )

    def _touched(self, position: FloatArray) -> list[int]:
        """Vehicles of contacts that count, as places among all replicas' vehicles."""
        contacts = self._simulation.contacts()
        if not contacts:
            return []
        along = position.ravel()

        def in_line(one: int, other: int) -> bool:
            """One behind the other, and not on two arms of a crossing."""
            apart = abs(along[one] - along[other])
            lap = self._path_length[one // self.n_vehicles]
            return bool(min(apart, lap - apart) < 2 * VEHICLE_LENGTH)

        return [
            index
            for one, other, inside_junction in contacts
            for index in (one, other)
            if self.crossing_collisions or not inside_junction or in_line(one, other)
        ]

    def _place(self, rng: np.random.Generator) -> VehicleStates:
        self._load_network(rng)
        courses = self._network.courses
        lengths = np.array([course.length for course in courses])
        if self._closed:
            self._path_length = lengths
        positions, speeds = start_positions(self.config.start, lengths, self.n_vehicles, rng)
        # A vehicle cannot be inserted inside a junction: it starts at the nearer end.
        self._start = np.array(
            [
                [course.drivable(position) for position in row]
                for course, row in zip(courses, positions.tolist(), strict=True)
            ]
        )
        self._simulation.place(
            self._ids(),
            self._start.ravel(),
            speeds.ravel(),
            np.repeat(np.arange(self.replicas), self.n_vehicles),
            self._lanes,
        )
        states = self._observe(0.0, speeds, np.zeros_like(speeds))
        if (states.headway < 0).any():
            raise ScenarioError(
                f"vehicles: {self.n_vehicles} do not fit network and start of "
                f"'{self.config.name}', as they would stand inside each other "
                "(fewer vehicles, less jitter or a longer road are needed)"
            )
        return states

    def _load_network(self, rng: np.random.Generator) -> None:
        network = self._course
        if isinstance(network, RingNetwork) and network.length_range_m is not None:
            low, high = network.length_range_m
            lengths = rng.integers(math.ceil(low), math.floor(high) + 1, self.replicas)
            self._network = build_network(
                network,
                self.replicas,
                lengths=lengths.astype(float).tolist(),
                directory=Path(self._directory.name),
            )
        elif self._loaded and not self._draws():
            return
        # SUMO's own randomness begins anew only by loading. Its seed is looked up, not drawn:
        # whoever drives, episodes begin alike.
        seed = int(deepcopy(rng).integers(2**31)) if self._draws() else 0
        self._simulation.load(self._network, seed=seed)
        self._loaded = True

    def _draws(self) -> bool:
        """Whether SUMO's own randomness, or what its models remember, has a part in episodes."""
        return self._changes_lanes or self._simulation.has_own_models
