"""PI controller with saturation, which drives at the average of its own speed.

Stern et al., "Dissipation of stop-and-go waves via control of autonomous vehicles: Field
experiments", Transportation Research C 89 (2018), section 3.2.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from trafficrl.controllers.base import CONTROLLERS, Controller, require_positive
from trafficrl.types import FloatArray, IntArray, VehicleStates, kept

LOWER_GAP, UPPER_GAP = 7.0, 30.0  # m, between which the catch-up speed rises
CATCH_UP_SPEED = 1.0  # m/s
SAFE_TIME, SAFE_GAP = 2.0, 4.0  # s and m, of the distance at which only the leader counts
BLEND_GAP = 2.0  # m, over which the target takes over from the leader


@CONTROLLERS.register("pi_saturation")
class PISaturation(Controller):
    """The commanded speed moves towards a blend of the leader's and a target speed.

    U is the mean of the own speed over the last 38 s; target = U + 1 m/s * sat((s - 7) / 23);
    alpha = sat((s - max(2 (v_leader - v), 4)) / 2), beta = 1 - alpha / 2, and
    v_cmd <- beta (alpha target + (1 - alpha) v_leader) + (1 - beta) v_cmd, sat being the clip to
    [0, 1]. The old command so keeps the share (1 - beta)^(step / interval), which is the published
    recursion at every interval and exact for any step. Without a leader the target is U.

    ``averaging_time`` in s; ``control_interval`` in s, in which the recursion is applied once;
    ``max_acceleration`` and ``max_braking`` (bounds) in m/s2.
    """

    def __init__(
        self,
        *,
        averaging_time: float = 38.0,
        control_interval: float = 0.1,
        max_acceleration: float = 1.5,
        max_braking: float = 3.0,
    ) -> None:
        require_positive(
            averaging_time=averaging_time,
            control_interval=control_interval,
            max_acceleration=max_acceleration,
            max_braking=max_braking,
        )
        self.averaging_time = averaging_time
        self.control_interval = control_interval
        self.max_acceleration = max_acceleration
        self.max_braking = max_braking
        # Time in s and m driven (B, M) at the states of the averaging time and one before it.
        self._driven: deque[tuple[float, FloatArray]] = deque()
        # When each vehicle came, in s, and what it had driven then, in m.
        self._since: FloatArray = np.zeros((1, 1))
        self._driven_before: FloatArray = np.zeros((1, 1))
        self._command: FloatArray = np.zeros((1, 1))

    def reset(self, states: VehicleStates, rng: np.random.Generator) -> None:
        self._driven.clear()
        self._since = np.full(states.speed.shape, states.time)
        self._driven_before = states.distance.copy()
        self._command = states.speed.copy()

    def acceleration(self, states: VehicleStates, step: float) -> FloatArray:
        speed, gap = states.speed, states.headway
        mean, led = self._mean_speed(states), np.isfinite(gap)
        leader_speed = np.nan_to_num(states.leader_speed)
        before = np.where(states.entered, speed, self._command)
        catch_up = np.clip((gap - LOWER_GAP) / (UPPER_GAP - LOWER_GAP), 0.0, 1.0)
        target = mean + CATCH_UP_SPEED * np.where(led, catch_up, 0.0)
        safe = np.maximum(SAFE_TIME * (leader_speed - speed), SAFE_GAP)
        alpha = np.clip((gap - safe) / BLEND_GAP, 0.0, 1.0)
        goal = alpha * target + (1.0 - alpha) * leader_speed
        kept = (alpha / 2.0) ** (step / self.control_interval)
        self._command = goal + (before - goal) * kept
        change = (self._command - speed) / step
        return np.clip(change, -self.max_braking, self.max_acceleration)

    def keep(self, index: IntArray) -> None:
        self._driven = deque((time, kept(driven, index)) for time, driven in self._driven)
        self._since, self._driven_before, self._command = (
            kept(values, index) for values in (self._since, self._driven_before, self._command)
        )

    def _mean_speed(self, states: VehicleStates) -> FloatArray:
        """Over the averaging time, or since it came where that is less; (B, M) in m/s."""
        driven, now = self._driven, states.time
        self._since = np.where(states.entered, now, self._since)
        self._driven_before = np.where(states.entered, states.distance, self._driven_before)
        if not driven or now > driven[-1][0]:
            driven.append((now, states.distance.copy()))
        begin = now - self.averaging_time
        while len(driven) > 1 and driven[1][0] <= begin:
            driven.popleft()
        at_begin = driven[0][1]
        if len(driven) > 1:
            (first, _), (second, at_second) = driven[0], driven[1]
            at_begin = at_begin + (begin - first) / (second - first) * (at_second - at_begin)
        new = self._since >= begin
        way = states.distance - np.where(new, self._driven_before, at_begin)
        time = now - np.maximum(self._since, begin)
        return np.divide(way, time, out=states.speed.copy(), where=time > 0.0)
