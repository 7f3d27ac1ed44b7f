"""Cooperative adaptive cruise control of the PATH experiments.

Milanés and Shladover, "Modeling cooperative and autonomous adaptive cruise control dynamic
responses using experimental data", Transportation Research C 48 (2014). Xiao, Wang and van Arem,
Transportation Research Record 2623 (2017), whose variant SUMO's CACC follows, have
``rate_gain`` 0.0125 and modes to close and to open gaps.

The law is of the gap and how it changes, both of which a vehicle senses: no message counts.
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


@CONTROLLERS.register("cacc")
class CACC(Controller):
    """v_k = v_(k-1) + kp e + kd de/dt at every control interval, e = s - s0 - T v.

    With de/dt = v_leader - v - T a and a = (v_k - v_(k-1)) / interval this is solved for the
    acceleration: a = [kp e + kd (v_leader - v)] / (interval + kd T). So it holds for any
    simulation step. Never above k0 (V - v), which is all that remains without a leader.

    ``error_gain`` kp in 1/s; ``rate_gain`` kd, a number; ``control_interval`` in s, of the
    vehicle's computer; ``time_gap`` T in s (the experiment also had 0.7, 0.9 and 1.1);
    ``min_gap`` s0 in m (the experiment's law has none); ``desired_speed`` V in m/s;
    ``cruise_gain`` k0 in 1/s; ``max_acceleration`` and ``max_braking`` (bounds) in m/s2.
    """

    def __init__(
        self,
        *,
        desired_speed: float = 30.0,
        time_gap: float = 0.6,
        min_gap: float = 2.0,
        error_gain: float = 0.45,
        rate_gain: float = 0.25,
        control_interval: float = 0.01,
        cruise_gain: float = 0.4,
        max_acceleration: float = 2.0,
        max_braking: float = 4.0,
    ) -> None:
        require_positive(
            desired_speed=desired_speed,
            time_gap=time_gap,
            error_gain=error_gain,
            control_interval=control_interval,
            cruise_gain=cruise_gain,
            max_acceleration=max_acceleration,
            max_braking=max_braking,
        )
        require_not_negative(min_gap=min_gap, rate_gain=rate_gain)
        self.desired_speed = desired_speed
        self.time_gap = time_gap
        self.min_gap = min_gap
        self.error_gain = error_gain
        self.rate_gain = rate_gain
        self.control_interval = control_interval
        self.cruise_gain = cruise_gain
        self.max_acceleration = max_acceleration
        self.max_braking = max_braking

    def acceleration(self, states: VehicleStates, step: float) -> FloatArray:
        speed = states.speed
        error = states.headway - self.min_gap - self.time_gap * speed
        approach = np.nan_to_num(states.leader_speed - speed)
        change = self.error_gain * error + self.rate_gain * approach
        follow = change / (self.control_interval + self.rate_gain * self.time_gap)
        cruise = self.cruise_gain * (self.desired_speed - speed)
        return np.clip(np.minimum(follow, cruise), -self.max_braking, self.max_acceleration)
