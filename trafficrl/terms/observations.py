"""Observation features: what one vehicle knows of itself and around itself.

A feature maps ``VehicleStates`` to a raw value (B, M) in SI units; the scenario
then takes ``clip((raw - offset) / scale)``. Where a vehicle has no leader or
follower, relative speeds read 0; headways never read more than ``MAX_HEADWAY``.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from trafficrl.controllers.ovm import optimal_velocity
from trafficrl.registry import Registry, positive
from trafficrl.terms.conflicts import conflict_neighbours, distance_to_crossing
from trafficrl.terms.gaps import allowed_speed
from trafficrl.terms.traits import NEEDS_LEAD, OWN_NETWORK, WRAPS
from trafficrl.types import VEHICLE_LENGTH, FloatArray, VehicleStates, take

MAX_HEADWAY = 100.0  # m

FEATURES: Registry[Callable[..., FloatArray]] = Registry("feature")


@FEATURES.register("speed", unit="m/s")
def speed(states: VehicleStates) -> FloatArray:
    """Own speed, m/s."""
    return states.speed


@FEATURES.register("acceleration", unit="m/s2")
def acceleration(states: VehicleStates) -> FloatArray:
    """Own realised acceleration over the last step, m/s2."""
    return states.acceleration


@FEATURES.register("commanded_acceleration", unit="m/s2")
def commanded_acceleration(states: VehicleStates) -> FloatArray:
    """Own last command, m/s2."""
    return states.commanded_acceleration


@FEATURES.register("headway", unit="m")
def headway(states: VehicleStates) -> FloatArray:
    """Gap to the leader's rear bumper, m; at most 100, also without a leader."""
    return np.minimum(states.headway, MAX_HEADWAY)


@FEATURES.register("relative_speed", unit="m/s")
def relative_speed(states: VehicleStates) -> FloatArray:
    """Leader's speed less own, m/s; 0 without a leader."""
    return np.nan_to_num(states.leader_speed - states.speed)


@FEATURES.register("follower_headway", unit="m")
def follower_headway(states: VehicleStates) -> FloatArray:
    """The follower's gap to the own rear bumper, m; at most 100, also without a follower."""
    return np.minimum(states.of_follower(states.headway, np.inf), MAX_HEADWAY)


@FEATURES.register("follower_relative_speed", unit="m/s")
def follower_relative_speed(states: VehicleStates) -> FloatArray:
    """Own speed less the follower's, m/s; 0 without a follower."""
    follower_speed = states.of_follower(states.speed, np.nan)
    return np.nan_to_num(states.speed - follower_speed)


@FEATURES.register("headway_difference", unit="m")
def headway_difference(states: VehicleStates) -> FloatArray:
    """Own headway less the follower's, m; 0 without a leader or a follower."""
    difference = states.headway - states.of_follower(states.headway, np.inf)
    return np.where(np.isfinite(difference), difference, 0.0)


@FEATURES.register("gap_speed_error", positive("time_gap_s"), unit="m/s")
def gap_speed_error(
    states: VehicleStates, *, min_gap_m: float = 2.0, time_gap_s: float = 1.0, max_mps: float = 30.0
) -> FloatArray:
    """V - v with the speed V = (h - min gap) / time gap, within [0, max], of the headway h, m/s."""
    allowed = allowed_speed(states.headway, min_gap=min_gap_m, time_gap=time_gap_s, highest=max_mps)
    return allowed - states.speed


@FEATURES.register("crossing_distance", unit="m")
def crossing_distance(states: VehicleStates) -> FloatArray:
    """Distance still to go to the next crossing, m; at most 100, also without one."""
    return np.minimum(distance_to_crossing(states), MAX_HEADWAY)


@FEATURES.register("conflict_headway", unit="m")
def conflict_headway(states: VehicleStates) -> FloatArray:
    """Gap to who arrives next before at the crossing on the other arm, m.

    In distances to go to the crossing, from the own front to the other's rear:
    below 0 both would be inside the crossing together.
    """
    gap = conflict_neighbours(states).leader_gap - VEHICLE_LENGTH
    return np.minimum(gap, MAX_HEADWAY)


@FEATURES.register("conflict_relative_speed", unit="m/s")
def conflict_relative_speed(states: VehicleStates) -> FloatArray:
    """Speed of who arrives next before on the other arm less own, m/s."""
    other = take(states.speed, conflict_neighbours(states).leader, np.nan)
    return np.nan_to_num(other - states.speed)


@FEATURES.register("conflict_follower_headway", unit="m")
def conflict_follower_headway(states: VehicleStates) -> FloatArray:
    """The like gap of who arrives next after to the own rear, m."""
    gap = conflict_neighbours(states).follower_gap - VEHICLE_LENGTH
    return np.minimum(gap, MAX_HEADWAY)


@FEATURES.register("conflict_follower_relative_speed", unit="m/s")
def conflict_follower_relative_speed(states: VehicleStates) -> FloatArray:
    """Own speed less that of who arrives next after on the other arm, m/s."""
    other = take(states.speed, conflict_neighbours(states).follower, np.nan)
    return np.nan_to_num(states.speed - other)


@FEATURES.register("position_over_length", WRAPS, OWN_NETWORK, unit="1")
def position_over_length(states: VehicleStates) -> FloatArray:
    """Position along the loop over its length, in [0, 1); 0 on an open road.

    It depends on the network: a controller that sees it does not travel.
    """
    return states.position / states.path_length[:, None]


@FEATURES.register("speed_error", NEEDS_LEAD, unit="m/s")
def speed_error(states: VehicleStates) -> FloatArray:
    """v - v*, with v* the task's target speed, m/s."""
    return states.speed - states.target_speed


@FEATURES.register("relative_speed_error", NEEDS_LEAD, unit="1")
def relative_speed_error(states: VehicleStates) -> FloatArray:
    """(v - v*) / v*, with v* the task's target speed, at least 1 m/s; dimensionless."""
    return (states.speed - states.target_speed) / np.maximum(states.target_speed, 1.0)


@FEATURES.register("target_acceleration", NEEDS_LEAD, unit="m/s2")
def target_acceleration(states: VehicleStates) -> FloatArray:
    """How v* is going to change, m/s2."""
    return states.target_acceleration


@FEATURES.register("target_speed_left", NEEDS_LEAD, unit="m/s")
def target_speed_left(states: VehicleStates) -> FloatArray:
    """What v* comes to in the end less v*, m/s."""
    return states.final_target_speed - states.target_speed


@FEATURES.register("optimal_velocity_error", unit="m/s")
def optimal_velocity_error(
    states: VehicleStates,
    *,
    stop_headway_m: float = 5.0,
    go_headway_m: float = 35.0,
    max_speed_mps: float = 30.0,
) -> FloatArray:
    """V(h) - v of the optimal velocity model, m/s (Jin and Orosz, 2014)."""
    desired = optimal_velocity(
        states.headway,
        stop_headway=stop_headway_m,
        go_headway=go_headway_m,
        max_speed=max_speed_mps,
    )
    return desired - states.speed
