"""Optimal velocity model with leader's speed.

Jin and Orosz, "Dynamics of connected vehicle systems with delayed acceleration
feedback", Transportation Research C 46 (2014).
"""

from __future__ import annotations

import numpy as np

from trafficrl.controllers.base import CONTROLLERS, Controller, require_positive
from trafficrl.types import FloatArray, VehicleStates


def optimal_velocity(
    headway: FloatArray,
    *,
    stop_headway: float = 5.0,
    go_headway: float = 35.0,
    max_speed: float = 30.0,
) -> FloatArray:
    """V(h) in m/s: 0 up to ``stop_headway``, ``max_speed`` from ``go_headway``, cosine between."""
    span = np.clip((headway - stop_headway) / (go_headway - stop_headway), 0.0, 1.0)
    return 0.5 * max_speed * (1.0 - np.cos(np.pi * span))


@CONTROLLERS.register("ovm")
class OVM(Controller):
    """u = alpha (V(h) - v) + beta (v_leader - v), clipped to +-``max_acceleration``."""

    def __init__(
        self,
        *,
        alpha: float | FloatArray = 0.5,
        beta: float | FloatArray = 0.5,
        max_acceleration: float = 2.5,
        max_speed: float = 30.0,
        stop_headway: float = 5.0,
        go_headway: float = 35.0,
    ) -> None:
        require_positive(
            max_acceleration=max_acceleration,
            max_speed=max_speed,
            go_headway_less_stop_headway=go_headway - stop_headway,
        )
        self.alpha = alpha
        self.beta = beta
        self.max_acceleration = max_acceleration
        self.max_speed = max_speed
        self.stop_headway = stop_headway
        self.go_headway = go_headway

    def acceleration(self, states: VehicleStates, step: float) -> FloatArray:
        return self.with_gains(states, self.alpha, self.beta)

    def with_gains(
        self, states: VehicleStates, alpha: float | FloatArray, beta: float | FloatArray
    ) -> FloatArray:
        """Accelerations (B, M) for gains given per vehicle, 1/s."""
        desired = optimal_velocity(
            states.headway,
            stop_headway=self.stop_headway,
            go_headway=self.go_headway,
            max_speed=self.max_speed,
        )
        approach = np.nan_to_num(states.leader_speed - states.speed)
        u = alpha * (desired - states.speed) + beta * approach
        return np.clip(u, -self.max_acceleration, self.max_acceleration)
