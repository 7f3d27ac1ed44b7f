"""Reward terms: named functions of what the vehicles did in a step.

A term maps the states after the step to (B, M); the scenario multiplies it by a
weight. ``commanded_acceleration`` in the states is the action that led there.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from trafficrl.registry import Registry
from trafficrl.terms.traits import NEEDS_LEAD
from trafficrl.types import FloatArray, VehicleStates

REWARD_TERMS: Registry[Callable[..., FloatArray]] = Registry("reward term")

COLLISION = "collision"


@REWARD_TERMS.register("desired_speed")
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


@REWARD_TERMS.register("squared_headway_shortage")
def squared_headway_shortage(states: VehicleStates, *, threshold_m: float) -> FloatArray:
    """max(0, threshold - h)^2, m2."""
    return np.square(np.maximum(0.0, threshold_m - states.headway))


@REWARD_TERMS.register(COLLISION)
def collision(states: VehicleStates) -> FloatArray:
    """1 for every vehicle of a replica in which any vehicle has collided."""
    any_collided = states.collided.any(axis=1, keepdims=True)
    return np.broadcast_to(any_collided, states.speed.shape).astype(np.float64)
