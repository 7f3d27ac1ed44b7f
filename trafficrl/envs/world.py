"""Traffic: SUMO, the scripted and human drivers, and the states of all vehicles.

Vehicles are numbered from the front to the back, so that vehicle i follows
vehicle i - 1; on a loop vehicle 0 follows the last. B replicas lie side by side
in one simulation.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np

from trafficrl.config.arrangement import group_of_place
from trafficrl.config.scenario import RingNetwork, ScenarioConfig
from trafficrl.controllers import Controller, make_controller
from trafficrl.envs.order import distance_ahead, fixed_order, neighbours_by_lane
from trafficrl.envs.starts import start_positions
from trafficrl.errors import ScenarioError, SimulationError
from trafficrl.simulation.networks import build_network
from trafficrl.simulation.sumo import SumoSimulation
from trafficrl.types import LEARNED, VEHICLE_LENGTH, BoolArray, FloatArray, IntArray, VehicleStates

OVERRIDE_TOLERANCE = 1e-6  # m/s
WARMUP_TRIES = 10


class TrafficWorld:
    """All vehicles of B replicas, driven one simulation step at a time.

    ``agents`` (N,) are the columns, among the M vehicles, of the learning ones.
    """

    def __init__(self, config: ScenarioConfig, *, replicas: int = 1) -> None:
        self.config = config
        self.replicas = replicas
        self.step_length = config.simulation.step_s
        self.n_vehicles = config.n_vehicles
        self._groups = group_of_place(config)
        learned = np.array([group.controller == LEARNED for group in config.vehicles])
        self.agents: IntArray = np.flatnonzero(learned[self._groups])
        self._drivers = self._make_drivers()
        self._speed_limit = np.full(self.n_vehicles, config.simulation.max_speed_mps)
        for driver, columns in self._drivers:
            if driver.target_speed(0.0) is not None:  # a script, which knows its own speeds
                self._speed_limit[columns] = np.inf
        self.crossing_collisions = True  # whether contacts of vehicles that cross count
        self._simulation = SumoSimulation(config.simulation, vehicle_length=VEHICLE_LENGTH)
        self._directory = tempfile.TemporaryDirectory(prefix="trafficrl-")
        self._network = build_network(config.network, replicas)
        self._loaded = False
        self._closed = self._network.courses[0].closed
        self._path_length: FloatArray = np.full(replicas, np.inf)
        self._lanes = np.tile(np.arange(self.n_vehicles) % config.network.lanes, replicas)
        self._order = fixed_order(self.n_vehicles, self._closed, replicas)
        self._frozen: BoolArray = np.zeros(replicas, dtype=bool)
        nothing = np.zeros((replicas, self.n_vehicles))
        self._start = nothing  # m along the course at insertion
        self._driven_before = nothing  # m, in the warm-up
        self.states: VehicleStates  # from the first reset on

    def reset(self, rng: np.random.Generator) -> VehicleStates:
        """Put all vehicles at their start, warm up, and return their states."""
        for _ in range(WARMUP_TRIES):
            self._place(rng)
            if self._warm_up(rng):
                break
        else:
            raise SimulationError(
                f"warmup: vehicles collided in each of {WARMUP_TRIES} tries "
                "(less noise or fewer vehicles are needed)"
            )
        for driver, _ in self._drivers:
            driver.reset(self.states, rng)
        self._aim(self.states)
        return self.states

    def drive(self, acceleration: FloatArray) -> VehicleStates:
        """One step with the agents' accelerations (B, N) in m/s2."""
        full = np.zeros((self.replicas, self.n_vehicles))
        full[:, self.agents] = acceleration
        for driver, columns in self._drivers:
            full[:, columns] = driver.acceleration(self.states, self.step_length)[:, columns]
        return self._advance(full)

    def freeze(self, replicas: BoolArray) -> None:
        """Hold the states of these replicas (B,) as they are until the next reset."""
        self._frozen |= replicas

    def coordinates(self) -> FloatArray:
        """x and y of all front bumpers, (B, M, 2) in m."""
        return self._simulation.coordinates().reshape(self.replicas, self.n_vehicles, 2)

    @property
    def crossings(self) -> tuple[tuple[float, float], ...]:
        """Where the course crosses itself: m along it at the first pass and at the second."""
        return tuple(combinations(self._network.courses[0].crossings, 2))

    def close(self) -> None:
        """End the simulation; the next reset starts another."""
        self._simulation.close()
        self._loaded = False
        self._directory.cleanup()

    # ------------------------------------------------------------------

    def _advance(self, acceleration: FloatArray) -> VehicleStates:
        before = self.states
        wanted = before.speed + acceleration * self.step_length
        command = np.clip(wanted, 0.0, self._speed_limit)
        if self._frozen.any():
            command[self._frozen] = 0.0
        self._simulation.step(command.ravel())
        after = self._observe(before.time + self.step_length, command, acceleration)
        after.acceleration = (after.speed - before.speed) / self.step_length
        after.overridden = np.abs(after.speed - command) > OVERRIDE_TOLERANCE
        self._aim(after)
        if self._frozen.any():
            after = after.with_replicas_of(before, self._frozen)
        self.states = after
        return after

    def _observe(self, time: float, command: FloatArray, acceleration: FloatArray) -> VehicleStates:
        shape = (self.replicas, self.n_vehicles)
        flat_speed, flat_distance = self._simulation.read()
        speed, odometer = flat_speed.reshape(shape), flat_distance.reshape(shape)
        position = self._start + odometer
        if self._closed:
            position = np.mod(position, self._path_length[:, None])
        if self.config.network.lanes > 1:
            leader, follower, headway = neighbours_by_lane(*self._simulation.leaders(), shape)
        else:
            leader, follower = self._order
            ahead = distance_ahead(position, leader, self._path_length)
            headway = ahead - VEHICLE_LENGTH
        collided = headway < self.config.episode.collision_headway_m
        collided.ravel()[self._touched(position)] = True
        return VehicleStates(
            time=time,
            position=position,
            distance=odometer - self._driven_before,
            speed=speed,
            acceleration=np.zeros(shape),
            headway=headway,
            leader=leader,
            follower=follower,
            commanded_acceleration=acceleration,
            commanded_speed=command,
            overridden=np.zeros(shape, dtype=bool),
            collided=collided,
            target_speed=np.full(shape, np.nan),
            target_acceleration=np.full(shape, np.nan),
            path_length=self._path_length,
            crossings=self.crossings,
        )

    def _touched(self, position: FloatArray) -> list[int]:
        """Vehicles of contacts that count, as places among all replicas' vehicles."""
        along = position.ravel()

        def in_line(one: int, other: int) -> bool:
            """One behind the other, and not on two arms of a crossing."""
            apart = abs(along[one] - along[other])
            lap = self._path_length[one // self.n_vehicles]
            return bool(min(apart, lap - apart) < 2 * VEHICLE_LENGTH)

        return [
            index
            for one, other, inside_junction in self._simulation.contacts()
            for index in (one, other)
            if self.crossing_collisions or not inside_junction or in_line(one, other)
        ]

    def _place(self, rng: np.random.Generator) -> None:
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
        self._driven_before = np.zeros_like(positions)
        self._frozen[:] = False
        self._simulation.place(
            self._ids(),
            self._start.ravel(),
            speeds.ravel(),
            np.repeat(np.arange(self.replicas), self.n_vehicles),
            self._lanes,
        )
        self.states = self._observe(0.0, speeds, np.zeros_like(speeds))
        if (self.states.headway < 0).any():
            raise ScenarioError(
                f"vehicles: {self.n_vehicles} do not fit network and start of "
                f"'{self.config.name}', as they would stand inside each other "
                "(fewer vehicles, less jitter or a longer road are needed)"
            )

    def _warm_up(self, rng: np.random.Generator) -> bool:
        """Drive the warm-up, if there is one; whether it went without a collision."""
        warmup = self.config.warmup
        if warmup is None:
            return True
        driver = make_controller(warmup.controller, warmup.parameters)
        driver.reset(self.states, rng)
        for _ in range(round(warmup.duration_s / self.step_length)):
            states = self._advance(driver.acceleration(self.states, self.step_length))
            if states.collided.any():
                return False
        self._driven_before = self.states.distance
        self.states = replace(self.states, time=0.0, distance=np.zeros_like(self._driven_before))
        return True

    def _load_network(self, rng: np.random.Generator) -> None:
        network = self.config.network
        if isinstance(network, RingNetwork) and network.length_range_m is not None:
            low, high = network.length_range_m
            lengths = rng.integers(math.ceil(low), math.floor(high) + 1, self.replicas)
            self._network = build_network(
                network,
                self.replicas,
                lengths=lengths.astype(float).tolist(),
                directory=Path(self._directory.name),
            )
        elif self._loaded:
            return
        self._simulation.load(self._network)
        self._loaded = True

    def _make_drivers(self) -> list[tuple[Controller, IntArray]]:
        return [
            (
                make_controller(group.controller, group.parameters),
                np.flatnonzero(self._groups == index),
            )
            for index, group in enumerate(self.config.vehicles)
            if group.controller != LEARNED
        ]

    def _aim(self, states: VehicleStates) -> None:
        """Fill in v* and what it is going to change by in the coming step."""
        states.target_speed = self._target_speed(states.time)
        following = self._target_speed(states.time + self.step_length)
        states.target_acceleration = (following - states.target_speed) / self.step_length

    def _target_speed(self, time: float) -> FloatArray:
        """v* (B, M): the profile of the first scripted driver, NaN without one."""
        for driver, columns in self._drivers:
            profile = driver.target_speed(time)
            if profile is not None:
                return np.broadcast_to(profile[:, columns[:1]], self._start.shape)
        return np.full(self._start.shape, np.nan)

    def _ids(self) -> list[str]:
        """SUMO ids: 'cav_3' for an agent, 'veh_3' for others; 'r1_cav_3' in replica 1 of many."""
        number = 0
        names = []
        agents = set(self.agents.tolist())
        for column in range(self.n_vehicles):
            if column in agents:
                names.append(f"cav_{number}")
                number += 1
            else:
                names.append(f"veh_{column}")
        if self.replicas == 1:
            return names
        return [f"r{replica}_{name}" for replica in range(self.replicas) for name in names]
