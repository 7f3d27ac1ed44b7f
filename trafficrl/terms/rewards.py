"""Reward terms: named functions of what the vehicles did in a step.

A term maps the states after the step to (B, M); the scenario multiplies it by a
weight. ``commanded_acceleration`` in the states is the action that led there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from trafficrl.registry import Registry, positive
from trafficrl.terms.conflicts import conflict_neighbours, distance_to_crossing
from trafficrl.terms.gaps import allowed_speed
from trafficrl.terms.traits import NEEDS_LEAD
from trafficrl.types import VEHICLE_LENGTH, FloatArray, VehicleStates

REWARD_TERMS: Registry[Callable[..., FloatArray]] = Registry("reward term")

COLLISION = "collision"


@REWARD_TERMS.register("desired_speed", positive("target_mps"))
def desired_speed(states: VehicleStates, *, target_mps: float) -> FloatArray:
    """(v* - |v* - v|) / v*: 1 at the desired speed v* > 0, 0 at rest and at twice v*."""
    return 1.0 - np.abs(target_mps - states.speed) / target_mps


@REWARD_TERMS.register("absolute_acceleration")
def absolute_acceleration(states: VehicleStates) -> FloatArray:
    """|commanded acceleration|, m/s2."""
    return np.abs(states.commanded_acceleration)


@REWARD_TERMS.register("squared_acceleration")
def squared_acceleration(states: VehicleStates) -> FloatArray:
    """Commanded acceleration squared, m2/s4."""
    return np.square(states.commanded_acceleration)


@REWARD_TERMS.register("squared_headway_error")
def squared_headway_error(states: VehicleStates, *, target_m: float) -> FloatArray:
    """(h - target)^2, m2; 0 without a leader."""
    error = np.where(np.isfinite(states.headway), states.headway - target_m, 0.0)
    return np.square(error)


@REWARD_TERMS.register("squared_speed_error", NEEDS_LEAD)
def squared_speed_error(states: VehicleStates) -> FloatArray:
    """(v - v*)^2 with the task's target speed v*, m2/s2."""
    return np.square(states.speed - states.target_speed)


@REWARD_TERMS.register("squared_relative_speed")
def squared_relative_speed(states: VehicleStates) -> FloatArray:
    """(the leader's speed - v)^2, m2/s2; 0 without a leader."""
    return np.square(np.nan_to_num(states.leader_speed - states.speed))


@REWARD_TERMS.register("squared_headway_shortage")
def squared_headway_shortage(
    states: VehicleStates, *, threshold_m: float, time_gap_s: float = 0.0
) -> FloatArray:
    """max(0, threshold + time_gap v - h)^2, m2."""
    wanted = threshold_m + time_gap_s * states.speed
    return np.square(np.maximum(0.0, wanted - states.headway))


@REWARD_TERMS.register("squared_headway_difference")
def squared_headway_difference(states: VehicleStates) -> FloatArray:
    """(h - the follower's h)^2, m2: 0 midway between the two, and without one of them."""
    difference = states.headway - states.of_follower(states.headway, np.inf)
    return np.square(np.where(np.isfinite(difference), difference, 0.0))


@REWARD_TERMS.register("conflict_headway_shortage", positive("within_m"))
def conflict_headway_shortage(
    states: VehicleStates, *, threshold_m: float, within_m: float
) -> FloatArray:
    """max(0, threshold - h), m, summed over who arrives at the crossing before and after.

    Weighted by max(0, 1 - d / within), d the distance to go to the crossing: both
    of a pair pay the more, the nearer they come. 0 without a crossing.
    """
    near = conflict_neighbours(states)
    gaps = np.stack([near.leader_gap, near.follower_gap]) - VEHICLE_LENGTH
    shortage: FloatArray = np.maximum(0.0, threshold_m - gaps).sum(axis=0)
    return shortage * np.maximum(0.0, 1.0 - distance_to_crossing(states) / within_m)


@REWARD_TERMS.register("squared_gap_speed_error", positive("time_gap_s"))
def squared_gap_speed_error(
    states: VehicleStates, *, min_gap_m: float = 2.0, time_gap_s: float = 1.0, max_mps: float = 30.0
) -> FloatArray:
    """(v - V)^2 with the speed V = (h - min gap) / time gap, within [0, max], of the gap h.

    That to the leader, or to who arrives at the crossing before, whichever is smaller.
    """
    gap = states.headway
    if states.crossings:
        gap = np.minimum(gap, conflict_neighbours(states).leader_gap - VEHICLE_LENGTH)
    allowed = allowed_speed(gap, min_gap=min_gap_m, time_gap=time_gap_s, highest=max_mps)
    return np.square(states.speed - allowed)


@REWARD_TERMS.register(COLLISION)
def collision(states: VehicleStates) -> FloatArray:
    """1 for every vehicle of a replica in which any vehicle has collided."""
    any_collided = states.collided.any(axis=1, keepdims=True)
    return np.broadcast_to(any_collided, states.speed.shape).astype(np.float64)
