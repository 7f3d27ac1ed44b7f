"""Traffic: SUMO, the scripted and human drivers, and the states of all vehicles.

B replicas lie side by side in one simulation. What a network is, where vehicles
start and how they find their way is left to each kind of world.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trafficrl.config.arrangement import group_of_place
from trafficrl.config.scenario import ScenarioConfig
from trafficrl.controllers import Controller, make_controller
from trafficrl.envs.watching import note_commands
from trafficrl.errors import SimulationError
from trafficrl.simulation.course import BuiltNetwork
from trafficrl.simulation.sumo import SumoSimulation
from trafficrl.simulation.sumo_warnings import Context, Tally
from trafficrl.simulation.view import View
from trafficrl.types import (
    LEARNED,
    VEHICLE_LENGTH,
    BoolArray,
    FloatArray,
    IntArray,
    VehicleStates,
    VehicleType,
    constant,
)

WARMUP_TRIES = 10


class World:
    """All vehicles of B replicas, driven one simulation step at a time.

    ``agents`` (N,) are the columns, among the M vehicles, of the learning ones.
    """

    _network: BuiltNetwork
    # Where a course crosses itself: m along it at the first pass and at the second.
    crossings: tuple[tuple[float, float], ...] = ()

    def __init__(self, config: ScenarioConfig, *, replicas: int = 1) -> None:
        self.config = config
        self.replicas = replicas
        self.step_length = config.simulation.step_s
        self.n_vehicles = config.n_vehicles
        self.shape = (replicas, self.n_vehicles)
        self._groups = group_of_place(config)
        learned = np.array([group.controller == LEARNED for group in config.vehicles])
        self.agents: IntArray = np.flatnonzero(learned[self._groups])
        self._drivers = self._make_drivers()
        self._speed_limit = np.full(self.n_vehicles, config.simulation.max_speed_mps)
        scripts = [
            (driver, columns)
            for driver, columns in self._drivers
            if driver.target_speed(0.0) is not None
        ]
        self._script = scripts[0] if scripts else None
        for _, columns in scripts:  # which know their own speeds
            self._speed_limit[columns] = np.inf
        self.crossing_collisions = True  # whether contacts of vehicles that cross count
        self._simulation = SumoSimulation(config.simulation, vehicle_length=VEHICLE_LENGTH)
        self._loaded = False  # whether SUMO has the network and every vType
        # Of the M vehicles, where SUMO drives them by a model of its own.
        self._vehicle_types: list[VehicleType | None] = [None] * self.n_vehicles
        warmup = config.warmup
        self._warmup_driver = (
            None if warmup is None else make_controller(warmup.controller, warmup.parameters)
        )
        others = [] if self._warmup_driver is None else [self._warmup_driver]
        for controller in [*others, *(driver for driver, _ in self._drivers)]:
            self.admit(controller)
        self._frozen: BoolArray = np.zeros(replicas, dtype=bool)
        self._any_frozen = False
        self._driven_before: FloatArray = np.zeros(self.shape)  # m, in the warm-up
        # Of this episode: vehicles that found no slot, which SUMO drives, and all that have left.
        self.without_slot: IntArray = np.zeros(replicas, dtype=np.int64)
        self.left: IntArray = np.zeros(replicas, dtype=np.int64)
        self.states: VehicleStates  # from the first reset on

    def reset(self, rng: np.random.Generator) -> VehicleStates:
        """Put all vehicles at their start, warm up, and return their states."""
        self._simulation.episode(begun=False)
        for _ in range(WARMUP_TRIES):
            self._driven_before = np.zeros(self.shape)
            self._frozen[:] = self._any_frozen = False
            self._vehicle_types = [None] * self.n_vehicles
            self.states = self._place(rng)
            if self._warm_up(rng):
                break
        else:
            raise SimulationError(
                f"warmup: vehicles collided in each of {WARMUP_TRIES} tries "
                "(less noise or fewer vehicles are needed)"
            )
        for driver, columns in self._drivers:
            driver.reset(self.states, rng)
            self.hand_over(driver, columns)
        self._aim(self.states)
        self._simulation.episode(begun=True)
        return self.states

    def warnings_belong_to(self, context: Context | None) -> None:
        """From now on SUMO's warnings come of this; None leaves them out."""
        self._simulation.warnings_belong_to(context)

    def take_warnings(self) -> Tally:
        """SUMO's warnings since the last time, also when it has ended."""
        return self._simulation.take_warnings()

    def admit(self, controller: Controller) -> None:
        """Make ready, before a reset, for a controller that ``hand_over`` will name after it."""
        if controller.vehicle_type is not None:
            self._simulation.admit(controller.vehicle_type)
            self._loaded = False

    def hand_over(self, controller: Controller, columns: IntArray) -> None:
        """Until the next reset ``controller`` has these of the M vehicles, in every replica."""
        vehicle_type, vehicles = controller.vehicle_type, self._vehicles_of(columns)
        for column in columns.tolist():
            self._vehicle_types[column] = vehicle_type
        if vehicle_type is None:
            self._simulation.take_back(vehicles)
        else:
            self._simulation.release(vehicles, vehicle_type)

    def drive(self, acceleration: FloatArray) -> VehicleStates:
        """One step with the agents' accelerations (B, N) in m/s2."""
        if acceleration.shape == self.shape:  # all learn
            return self._advance(acceleration)
        full = np.zeros(self.shape)
        full[:, self.agents] = acceleration
        for driver, columns in self._drivers:
            full[:, columns] = driver.acceleration(self.states, self.step_length)[:, columns]
        return self._advance(full)

    def freeze(self, replicas: BoolArray) -> None:
        """Hold the states of these replicas (B,) as they are until the next reset."""
        self._frozen |= replicas
        self._any_frozen = bool(self._frozen.any())

    @property
    def net_file(self) -> Path:
        """SUMO's file of the network that vehicles drive in now."""
        return self._network.net_file

    def coordinates(self) -> FloatArray:
        """x and y of all front bumpers, (B, M, 2) in m; NaN of who is not there."""
        raise NotImplementedError

    def lanes(self) -> tuple[NDArray[np.object_], FloatArray]:
        """Names of lanes and vTypes, and places on lanes, as ``SumoSimulation.lanes`` has them.

        (B, M, 2) and (B, M, 3); None and NaN of who is not there.
        """
        raise NotImplementedError

    def emissions(self) -> FloatArray:
        """Fuel, CO2 and NOx in the last step, (B, M, 3) in mg/s; NaN of who is not there."""
        raise NotImplementedError

    def teleported(self) -> BoolArray:
        """Vehicles (B, M) that SUMO began to teleport in the last step."""
        raise NotImplementedError

    def show(self, view: View) -> None:
        """Drive in sumo-gui from the next reset that starts SUMO; its window shows ``view``."""
        self._simulation.show(view)

    def sumo_ids(self) -> list[str | None]:
        """What SUMO calls the M vehicles of the first replica; None of who is not there."""
        raise NotImplementedError

    def close(self) -> None:
        """End the simulation; the next reset starts another."""
        self._simulation.close()

    # What kinds of worlds differ in ------------------------------------------

    def _vehicles_of(self, columns: IntArray) -> list[str]:
        """SUMO ids of these of the M vehicles, in every replica, as far as they are there."""
        raise NotImplementedError

    def _place(self, rng: np.random.Generator) -> VehicleStates:
        """Begin an episode: the network, and who is on it from the start."""
        raise NotImplementedError

    def _simulate(self, command: FloatArray) -> None:
        """One step of SUMO with commanded speeds (B, M) in m/s."""
        raise NotImplementedError

    def _observe(self, time: float, command: FloatArray, acceleration: FloatArray) -> VehicleStates:
        """What SUMO shows now; who was driven how is not in it yet."""
        raise NotImplementedError

    # --------------------------------------------------------------------------

    def _advance(self, acceleration: FloatArray) -> VehicleStates:
        before = self.states
        command = before.speed + acceleration * self.step_length
        np.maximum(command, 0.0, out=command)
        np.minimum(command, self._speed_limit, out=command)
        if self._any_frozen:
            command[self._frozen] = 0.0
        self._simulate(command)
        after = self._observe(before.time + self.step_length, command, acceleration)
        note_commands(after, before.speed, command, acceleration, self.step_length)
        self._aim(after)
        if self._any_frozen:
            after = after.with_replicas_of(before, self._frozen)
        self.states = after
        return after

    def _warm_up(self, rng: np.random.Generator) -> bool:
        """Drive the warm-up, if there is one; whether it went without a collision."""
        warmup, driver = self.config.warmup, self._warmup_driver
        if warmup is None or driver is None:
            return True
        driver.reset(self.states, rng)
        self.hand_over(driver, np.arange(self.n_vehicles))
        for _ in range(round(warmup.duration_s / self.step_length)):
            states = self._advance(driver.acceleration(self.states, self.step_length))
            if states.collided.any():
                return False
        self._simulation.take_back(self._vehicles_of(np.arange(self.n_vehicles)))
        self._vehicle_types = [None] * self.n_vehicles
        self._driven_before = self.states.distance
        self.without_slot[:] = self.left[:] = 0
        self.states = replace(self.states, time=0.0, distance=np.zeros(self.shape))
        return True

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
        """Fill in v*, how it is going to change in the coming step, and what it comes to."""
        if self._script is None:
            none = constant(self.shape, np.nan)
            states.target_speed = states.target_acceleration = states.final_target_speed = none
            return
        states.target_speed = self._target_speed(states.time)
        following = self._target_speed(states.time + self.step_length)
        states.target_acceleration = (following - states.target_speed) / self.step_length
        states.final_target_speed = self._target_speed(math.inf)

    def _target_speed(self, time: float) -> FloatArray:
        """v* (B, M): the profile of the first scripted driver."""
        assert self._script is not None
        driver, columns = self._script
        profile = driver.target_speed(time)
        assert profile is not None
        speed = np.empty(self.shape)
        speed[:] = profile[:, columns[:1]]
        return speed

    @property
    def vehicle_names(self) -> list[str]:
        """'cav_3' for the agent in slot 3, 'veh_3' for another vehicle in column 3."""
        names = [f"veh_{column}" for column in range(self.n_vehicles)]
        for slot, column in enumerate(self.agents.tolist()):
            names[column] = f"cav_{slot}"
        return names

    def _ids(self) -> list[str]:
        """SUMO ids: the vehicles' names; 'r1_cav_3' in replica 1 of many."""
        names = self.vehicle_names
        if self.replicas == 1:
            return names
        return [f"r{replica}_{name}" for replica in range(self.replicas) for name in names]
