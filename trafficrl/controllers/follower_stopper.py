"""FollowerStopper, which drives at a constant speed wherever it is safe.

Stern et al., "Dissipation of stop-and-go waves via control of autonomous vehicles: Field
experiments", Transportation Research C 89 (2018), section 3.1.
"""

from __future__ import annotations

import numpy as np

from trafficrl.controllers.base import CONTROLLERS, Controller, require_positive
from trafficrl.types import FloatArray, VehicleStates

GAPS = (4.5, 5.25, 6.0)  # m, where the three envelopes begin at equal speeds
BRAKING = (1.5, 1.0, 0.5)  # m/s2, with which each envelope opens as the leader is approached


@CONTROLLERS.register("follower_stopper")
class FollowerStopper(Controller):
    """Envelopes x_k = x0_k + min(v_leader - v, 0)^2 / (2 d_k) cut the gap s into four regions.

    With v' = min(max(v_leader, 0), U) the commanded speed is 0 up to x_1, rises linearly to v' at
    x_2 and to U at x_3, and is U beyond and without a leader. It is reached within the step as
    far as the bounds on the acceleration allow.

    ``desired_speed`` U in m/s; ``max_acceleration`` and ``max_braking`` in m/s2, the latter by
    default twice the hardest braking of the envelopes.
    """

    def __init__(
        self,
        *,
        desired_speed: float,
        max_acceleration: float = 1.5,
        max_braking: float = 3.0,
    ) -> None:
        require_positive(
            desired_speed=desired_speed, max_acceleration=max_acceleration, max_braking=max_braking
        )
        self.desired_speed = desired_speed
        self.max_acceleration = max_acceleration
        self.max_braking = max_braking

    def acceleration(self, states: VehicleStates, step: float) -> FloatArray:
        change = (self.commanded_speed(states) - states.speed) / step
        return np.clip(change, -self.max_braking, self.max_acceleration)

    def commanded_speed(self, states: VehicleStates) -> FloatArray:
        """What the envelopes allow, (B, M) in m/s."""
        leader_speed = np.nan_to_num(states.leader_speed, nan=self.desired_speed)
        closing = np.square(np.minimum(leader_speed - states.speed, 0.0))
        stop, follow, free = (
            gap + closing / (2.0 * braking) for gap, braking in zip(GAPS, BRAKING, strict=True)
        )
        behind = np.clip(leader_speed, 0.0, self.desired_speed)
        gap = np.minimum(states.headway, free)  # finite, also without a leader
        slow = behind * (gap - stop) / (follow - stop)
        fast = behind + (self.desired_speed - behind) * (gap - follow) / (free - follow)
        return np.where(gap <= follow, np.maximum(0.0, slow), fast)
