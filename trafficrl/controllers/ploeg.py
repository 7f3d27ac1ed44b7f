"""String-stable cooperative adaptive cruise control.

Ploeg, Scheepers, van Nunen, van de Wouw and Nijmeijer, "Design and experimental evaluation of
cooperative adaptive cruise control", IEEE Intelligent Transportation Systems Conference (2011).
"""

from __future__ import annotations

import numpy as np

from trafficrl.controllers.base import (
    CONTROLLERS,
    Controller,
    require_not_negative,
    require_positive,
)
from trafficrl.types import FloatArray, IntArray, VehicleStates, kept


@CONTROLLERS.register("ploeg")
class Ploeg(Controller):
    """h du/dt = -u + kp e + kd de/dt + u_leader, e = s - (r + h v), de/dt = v_leader - v - h a.

    The filter is solved exactly over a step in which its input w = kp e + kd de/dt + u_leader
    stays: the acceleration is the mean of u(t) = w + (u - w) exp(-t / h), and the speed at the
    end is right for any step. Without a leader u = k0 (V - v).

    ``error_gain`` kp in 1/s2, ``rate_gain`` kd and ``cruise_gain`` k0 in 1/s, ``time_gap`` h in s,
    ``min_gap`` r in m, ``desired_speed`` V in m/s, ``max_acceleration`` and ``max_braking``
    (bounds on u) in m/s2.
    """

    messages = 1  # u_leader

    def __init__(
        self,
        *,
        desired_speed: float = 30.0,
        time_gap: float = 0.7,
        min_gap: float = 2.0,
        error_gain: float = 0.2,
        rate_gain: float = 0.7,
        cruise_gain: float = 0.4,
        max_acceleration: float = 2.0,
        max_braking: float = 4.0,
    ) -> None:
        require_positive(
            desired_speed=desired_speed,
            time_gap=time_gap,
            error_gain=error_gain,
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
        self.cruise_gain = cruise_gain
        self.max_acceleration = max_acceleration
        self.max_braking = max_braking
        self._u: FloatArray = np.zeros((1, 1))

    def reset(self, states: VehicleStates, rng: np.random.Generator) -> None:
        self._u = self._bounded(states.acceleration)

    def acceleration(self, states: VehicleStates, step: float) -> FloatArray:
        speed, led = states.speed, np.isfinite(states.headway)
        error = np.where(led, states.headway - self.min_gap - self.time_gap * speed, 0.0)
        approach = np.nan_to_num(states.leader_speed - speed)
        target = (
            self.error_gain * error
            + self.rate_gain * (approach - self.time_gap * states.acceleration)
            + states.of_leader(states.commanded_acceleration, 0.0)
        )
        before = np.where(states.entered, self._bounded(states.acceleration), self._u)
        decay = np.exp(-step / self.time_gap)
        mean = target + (before - target) * (1.0 - decay) * self.time_gap / step
        cruise = self.cruise_gain * (self.desired_speed - speed)
        self._u = self._bounded(np.where(led, target + (before - target) * decay, cruise))
        return self._bounded(np.where(led, mean, cruise))

    def keep(self, index: IntArray) -> None:
        self._u = kept(self._u, index)

    def _bounded(self, acceleration: FloatArray) -> FloatArray:
        return np.clip(acceleration, -self.max_braking, self.max_acceleration)
