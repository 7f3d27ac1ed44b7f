"""The states of the vehicles that a simulation watches, where they find their own way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from trafficrl.envs.order import neighbours_by_lane, too_close
from trafficrl.simulation.vehicles import SumoVehicles
from trafficrl.types import BoolArray, FloatArray, IntArray, VehicleStates

T = TypeVar("T", bound=np.generic)
OVERRIDE_TOLERANCE = 1e-6  # m/s


def watched_states(sumo: SumoVehicles, slots: IntArray, n_slots: int, time: float) -> VehicleStates:
    """What SUMO shows of the V watched vehicles, each in its place ``slots`` (V,) of M.

    How they were driven, who entered and who collided is not in it yet, and ``distance`` is
    since they departed.
    """
    shape = (1, n_slots)
    speed, odometer = (by_slot(values, slots, n_slots, 0.0) for values in sumo.read())
    found = sumo.leaders()
    # A place more than there are slots stands for a leader that is none of them.
    leader = by_slot(np.append(slots, -1)[found.leader], slots, n_slots, -1)
    gap = by_slot(found.gap, slots, n_slots, np.inf)
    leader, follower, headway = neighbours_by_lane(leader[0], gap[0], shape)
    return replace(
        VehicleStates.at_rest(shape, time),
        position=odometer,
        distance=odometer,
        speed=speed,
        headway=headway,
        leader=leader,
        follower=follower,
        present=by_slot(np.ones(len(slots), dtype=bool), slots, n_slots, False),
        outside_leader_speed=by_slot(found.outside_speed, slots, n_slots, np.nan),
    )


def collided(
    sumo: SumoVehicles,
    slots: IntArray,
    headway: FloatArray,
    *,
    least: float = 0.0,
    crossing_counts: bool = True,
) -> BoolArray:
    """Who (1, M) touched another vehicle in the last step, or has a headway below ``least`` m."""
    result = too_close(headway, least, in_line=False)
    for *pair, inside_junction in sumo.contacts():
        if crossing_counts or not inside_junction:
            result[0, [slots[index] for index in pair if index >= 0]] = True
    return result


def note_commands(
    after: VehicleStates, before: FloatArray, command: FloatArray, asked: FloatArray, step: float
) -> None:
    """Fill in ``after`` how vehicles drove in a step of ``step`` s, and what they were told.

    Speeds ``before`` and commanded speeds in m/s, ``asked`` accelerations in m/s2, NaN where
    SUMO decided, all (B, M).
    """
    acceleration = after.speed - before
    acceleration /= step
    missed = after.speed - command
    overridden = np.abs(missed, out=missed) > OVERRIDE_TOLERANCE
    undecided = np.isnan(command)
    # What SUMO decided stands for a command, which there was none of; to who was not there
    # through the whole step nothing was commanded.
    if np.count_nonzero(undecided):
        command = np.where(undecided, after.speed, command)
        asked = np.where(undecided, acceleration, asked)
    driven = after.driven
    if np.count_nonzero(driven) < driven.size:
        acceleration, command, asked = (
            np.where(driven, values, 0.0) for values in (acceleration, command, asked)
        )
        overridden &= driven
    after.acceleration, after.overridden = acceleration, overridden
    after.commanded_speed, after.commanded_acceleration = command, asked


def by_slot(values: NDArray[T], slots: IntArray, n_slots: int, missing: Any) -> NDArray[T]:
    """``values`` (V, ...) of the watched vehicles as (1, M, ...)."""
    result = np.full((1, n_slots, *values.shape[1:]), missing, dtype=values.dtype)
    result[0, slots] = values
    return result
