"""Adaptive cruise control of the PATH experiments.

Milanés and Shladover, "Modeling cooperative and autonomous adaptive cruise control dynamic
responses using experimental data", Transportation Research C 48 (2014): the gap controller with
its gains and time gap. The speed controller is that of Xiao, Wang and van Arem, "Realistic
car-following models for microscopic simulation of adaptive and cooperative adaptive cruise
control vehicles", Transportation Research Record 2623 (2017).
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


@CONTROLLERS.register("acc")
class ACC(Controller):
    """The lesser of k1 (s - s0 - T v) + k2 (v_leader - v) and k0 (V - v); the latter alone if free.

    ``gap_gain`` k1 in 1/s2, ``speed_gain`` k2 and ``cruise_gain`` k0 in 1/s, ``time_gap`` T in s
    (the experiment also had 1.6 and 2.2), ``min_gap`` s0 in m (the experiment's law has none, so
    that vehicles would stop bumper to bumper), ``desired_speed`` V in m/s, ``max_acceleration``
    and ``max_braking`` (bounds) in m/s2.
    """

    def __init__(
        self,
        *,
        desired_speed: float = 30.0,
        time_gap: float = 1.1,
        min_gap: float = 2.0,
        gap_gain: float = 0.23,
        speed_gain: float = 0.07,
        cruise_gain: float = 0.4,
        max_acceleration: float = 2.0,
        max_braking: float = 4.0,
    ) -> None:
        require_positive(
            desired_speed=desired_speed,
            time_gap=time_gap,
            gap_gain=gap_gain,
            cruise_gain=cruise_gain,
            max_acceleration=max_acceleration,
            max_braking=max_braking,
        )
        require_not_negative(min_gap=min_gap, speed_gain=speed_gain)
        self.desired_speed = desired_speed
        self.time_gap = time_gap
        self.min_gap = min_gap
        self.gap_gain = gap_gain
        self.speed_gain = speed_gain
        self.cruise_gain = cruise_gain
        self.max_acceleration = max_acceleration
        self.max_braking = max_braking

    def acceleration(self, states: VehicleStates, step: float) -> FloatArray:
        speed = states.speed
        error = states.headway - self.min_gap - self.time_gap * speed
        approach = np.nan_to_num(states.leader_speed - speed)
        follow = self.gap_gain * error + self.speed_gain * approach
        cruise = self.cruise_gain * (self.desired_speed - speed)
        return np.clip(np.minimum(follow, cruise), -self.max_braking, self.max_acceleration)
