"""Intelligent driver model, optionally with noise.

Treiber, Hennecke and Helbing, "Congested traffic states in empirical
observations and microscopic simulations", Physical Review E 62 (2000), Eq. 3-4.
"""

from __future__ import annotations

import numpy as np

from trafficrl.controllers.base import (
    CONTROLLERS,
    Controller,
    require_not_negative,
    require_positive,
)
from trafficrl.types import FloatArray, VehicleStates


@CONTROLLERS.register("idm")
class IDM(Controller):
    """a [1 - (v/v0)^delta - (s*/s)^2], s* = s0 + max(0, v T + v dv / (2 sqrt(a b))).

    ``noise`` (m/s2 * sqrt(s)) is a white acceleration of ``noise / sqrt(step)`` m/s2, so
    that the disturbance of the speed does not depend on the step length. Braking
    is not clipped: noisy drivers on a ring collide with a bound of 2 m/s2.
    """

    def __init__(
        self,
        *,
        desired_speed: float = 30.0,
        time_headway: float = 1.0,
        min_gap: float = 2.0,
        max_acceleration: float = 1.0,
        comfortable_braking: float = 1.5,
        exponent: float = 4.0,
        noise: float = 0.0,
    ) -> None:
        require_positive(
            desired_speed=desired_speed,
            max_acceleration=max_acceleration,
            comfortable_braking=comfortable_braking,
            exponent=exponent,
        )
        require_not_negative(time_headway=time_headway, min_gap=min_gap, noise=noise)
        self.desired_speed = desired_speed
        self.time_headway = time_headway
        self.min_gap = min_gap
        self.max_acceleration = max_acceleration
        self.comfortable_braking = comfortable_braking
        self.exponent = exponent
        self.noise = noise
        self._rng = np.random.default_rng(0)

    def reset(self, states: VehicleStates, rng: np.random.Generator) -> None:
        self._rng = rng

    def acceleration(self, states: VehicleStates, step: float) -> FloatArray:
        speed = states.speed
        approach = speed - states.leader_speed
        braking = 2.0 * np.sqrt(self.max_acceleration * self.comfortable_braking)
        dynamic = speed * (self.time_headway + np.nan_to_num(approach) / braking)
        gap = self.min_gap + np.maximum(0.0, dynamic)
        result: FloatArray = self.max_acceleration * (
            1.0
            - (speed / self.desired_speed) ** self.exponent
            - np.square(gap / np.maximum(states.headway, 1e-3))
        )
        if self.noise:
            result = result + self.noise / np.sqrt(step) * self._rng.standard_normal(speed.shape)
        return result
