"""What SUMO shows of its vehicles, asked by the same calls of libsumo or of traci."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trafficrl.errors import ConnectionLost, SimulationError, TrafficRLError
from trafficrl.simulation.streets import CAR
from trafficrl.types import FloatArray, IntArray

LEADER_LOOK_AHEAD = 200.0  # m, where SUMO is asked for leaders
INSIDE_JUNCTION = "junction"  # SUMO's name for a contact there, of whatever two vehicles


class Leaders(NamedTuple):
    """Whom each vehicle follows, all (V,)."""

    leader: IntArray  # among the vehicles, -1 for none of them
    gap: FloatArray  # m to the rear bumper, inf without a leader
    outside_speed: FloatArray  # m/s of a leader that is none of them, NaN without such a one


class Calls(NamedTuple):
    """What every step calls, without the wrappers in Python that take libsumo half its time."""

    get_speed: Callable[[str], float]
    get_distance: Callable[[str], float]
    set_speed: Callable[[str, float], None]
    step: Callable[[], None]
    count_colliding: Callable[[], int]

    @classmethod
    def of(cls, api: Any) -> Calls:
        """Of module libsumo, or of a traci connection, which has no such wrappers."""
        vehicle, simulation = api.vehicle, api.simulation
        native = getattr(vehicle.getSpeed, "__globals__", {}).get("_libsumo")
        if native is None:
            return cls(
                vehicle.getSpeed,
                vehicle.getDistance,
                vehicle.setSpeed,
                api.simulationStep,
                simulation.getCollidingVehiclesNumber,
            )
        return cls(
            native.vehicle_getSpeed,
            native.vehicle_getDistance,
            native.vehicle_setSpeed,
            native.simulation_step,
            native.simulation_getCollidingVehiclesNumber,
        )


class SumoVehicles:
    """The vehicles of a running SUMO; those that are watched are read, in the order of ``_ids``."""

    def __init__(self) -> None:
        self._api: Any = None  # module libsumo, or a traci connection
        self._calls: Any = None  # its ``Calls``
        self._ids: list[str] = []

    def _use(self, api: Any) -> None:
        """From now on SUMO is this; None: it has ended."""
        self._api, self._calls = api, None if api is None else Calls.of(api)

    def _min_gap(self, vehicle: str) -> float:
        """m, its standstill gap, which SUMO leaves out of gaps."""
        raise NotImplementedError

    # Who is there -------------------------------------------------------------

    def on_the_road(self) -> list[str]:
        """All vehicles that drive in the network now, in a fixed order."""
        return list(self._api.vehicle.getIDList())

    def is_car(self, vehicle: str) -> bool:
        """Whether a route file's vehicle is a car."""
        return bool(self._api.vehicle.getVehicleClass(vehicle) == CAR)

    def watch(self, ids: Sequence[str]) -> None:
        """From now on these are the vehicles that are commanded and read, in this order."""
        self._ids = list(ids)

    def route_ahead(self, vehicle: str) -> tuple[str, ...] | None:
        """The edges of its route from the one that it is on; None inside a junction."""
        api = self._api.vehicle
        if api.getRoadID(vehicle).startswith(":"):
            return None
        return tuple(api.getRoute(vehicle)[api.getRouteIndex(vehicle) :])

    def lane_ahead(self, vehicle: str) -> tuple[str, int, float]:
        """The edge and the lane that it is on, and m to that lane's end."""
        api = self._api.vehicle
        left = self._api.lane.getLength(api.getLaneID(vehicle)) - api.getLanePosition(vehicle)
        return api.getRoadID(vehicle), api.getLaneIndex(vehicle), left

    # What they do -------------------------------------------------------------

    def read(self) -> tuple[FloatArray, FloatArray]:
        """Speeds in m/s and odometers in m since insertion, each (V,)."""
        calls, ids, count = self._calls, self._ids, len(self._ids)
        with READING:
            speeds = np.fromiter(map(calls.get_speed, ids), np.float64, count)
            distances = np.fromiter(map(calls.get_distance, ids), np.float64, count)
        return speeds, distances

    def leaders(self) -> Leaders:
        """Each vehicle's leader as SUMO sees it.

        On the own lane and on those that the route goes on along, at most
        ``LEADER_LOOK_AHEAD`` ahead.
        """
        slot = {vehicle: index for index, vehicle in enumerate(self._ids)}
        index = np.full(len(self._ids), -1, dtype=np.int64)
        gap, outside_speed = (np.full(len(self._ids), value) for value in (np.inf, np.nan))
        for own, vehicle in enumerate(self._ids):
            found = self._api.vehicle.getLeader(vehicle, LEADER_LOOK_AHEAD)
            # A lone vehicle on a loop is its own leader to SUMO.
            if found and found[0] and found[0] != vehicle:
                gap[own] = found[1] + self._min_gap(vehicle)  # SUMO leaves minGap out
                index[own] = slot.get(found[0], -1)
                if index[own] < 0:
                    outside_speed[own] = self._api.vehicle.getSpeed(found[0])
        return Leaders(index, gap, outside_speed)

    def contacts(self) -> list[tuple[int, int, bool]]:
        """Pairs of vehicles that touched in this step, and whether inside a junction.

        -1 stands for one that is not watched. SUMO tells of a contact in the step in
        which it begins.
        """
        if self._calls.count_colliding() == 0:
            return []
        slot = {vehicle: index for index, vehicle in enumerate(self._ids)}
        return [
            (slot.get(one.collider, -1), slot.get(one.victim, -1), one.type == INSIDE_JUNCTION)
            for one in self._api.simulation.getCollisions()
        ]

    def coordinates(self) -> FloatArray:
        """Front bumpers' x and y in the network's plane, (V, 2) in m."""
        get_position = self._api.vehicle.getPosition
        return np.array([get_position(one)[:2] for one in self._ids]).reshape(-1, 2)

    def lanes(self) -> tuple[NDArray[np.object_], FloatArray]:
        """Lane and vType (V, 2), and position on the lane in m, angle and slope in degrees (V, 3).

        Angles are those of a compass: 0 is north, 90 east.
        """
        vehicle = self._api.vehicle
        getters = (vehicle.getLanePosition, vehicle.getAngle, vehicle.getSlope)
        with translated("reading the vehicles' lanes"):
            names = [(vehicle.getLaneID(one), vehicle.getTypeID(one)) for one in self._ids]
            where = np.array([[get(one) for get in getters] for one in self._ids])
        return np.array(names, dtype=object).reshape(-1, 2), where.reshape(-1, 3)

    def emissions(self) -> FloatArray:
        """Fuel, CO2 and NOx in the last step by SUMO's emission model, (V, 3) in mg/s."""
        vehicle = self._api.vehicle
        getters = (vehicle.getFuelConsumption, vehicle.getCO2Emission, vehicle.getNOxEmission)
        with translated("reading emissions"):
            rates = np.array([[get(one) for get in getters] for one in self._ids])
        return rates.reshape(-1, 3)

    def teleported(self) -> list[int]:
        """Vehicles that SUMO began to teleport in the last step, as indices."""
        simulation = self._api.simulation
        if simulation.getStartingTeleportNumber() == 0:
            return []
        slot = {vehicle: index for index, vehicle in enumerate(self._ids)}
        return [slot[one] for one in simulation.getStartingTeleportIDList() if one in slot]


class translated:
    """Turns SUMO's errors into ours; libsumo's and traci's share no public base.

    A class, as it is entered in every step: a generator would take four times as long.
    """

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: object) -> None:
        if not isinstance(error, Exception) or isinstance(error, TrafficRLError):
            return
        reason = str(error).strip().replace("\n", " ")
        gone = isinstance(error, OSError) or type(error).__name__ == "FatalTraCIError"
        ours = ConnectionLost if gone else SimulationError
        raise ours(f"SUMO failed while {self._doing}: {reason}") from None


READING = translated("reading the vehicles")
