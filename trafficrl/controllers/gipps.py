"""Gipps's car-following model.

Gipps, "A behavioural car-following model for computer simulation",
Transportation Research B 15 (1981), Eq. 10 (the lesser of Eq. 2 and Eq. 8).
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


@CONTROLLERS.register("gipps")
class Gipps(Controller):
    """The speed after a reaction time tau is the lesser of two, and reached linearly.

    Free: v + 2.5 a tau (1 - v/V) sqrt(0.025 + v/V). Safe, with the braking b that the driver is
    willing to use and the leader's b^ that the driver expects:
    -b tau + sqrt(b^2 tau^2 + b [2 (s - s0) - v tau + v_leader^2 / b^]).

    ``desired_speed`` V in m/s; ``max_acceleration`` a, ``braking`` b, ``leader_braking`` b^ and
    ``max_braking`` (bound on what is asked) in m/s2; ``reaction_time`` tau in s; ``min_gap`` s0 in
    m. The defaults are the means of Gipps's drivers; s0 is his effective vehicle of 6.5 m less
    the 5 m of ours.
    """

    def __init__(
        self,
        *,
        desired_speed: float = 20.0,
        max_acceleration: float = 1.7,
        braking: float = 3.4,
        leader_braking: float = 3.2,
        reaction_time: float = 2.0 / 3.0,
        min_gap: float = 1.5,
        max_braking: float = 9.0,
    ) -> None:
        require_positive(
            desired_speed=desired_speed,
            max_acceleration=max_acceleration,
            braking=braking,
            leader_braking=leader_braking,
            reaction_time=reaction_time,
            max_braking=max_braking,
        )
        require_not_negative(min_gap=min_gap)
        self.desired_speed = desired_speed
        self.max_acceleration = max_acceleration
        self.braking = braking
        self.leader_braking = leader_braking
        self.reaction_time = reaction_time
        self.min_gap = min_gap
        self.max_braking = max_braking

    def acceleration(self, states: VehicleStates, step: float) -> FloatArray:
        speed, tau = states.speed, self.reaction_time
        share = speed / self.desired_speed
        free = speed + 2.5 * self.max_acceleration * tau * (1.0 - share) * np.sqrt(0.025 + share)
        leader_stops = np.square(np.nan_to_num(states.leader_speed)) / self.leader_braking
        room = 2.0 * (states.headway - self.min_gap) - speed * tau + leader_stops
        reaction = self.braking * tau
        safe = np.sqrt(np.maximum(0.0, reaction**2 + self.braking * room)) - reaction
        # Where nothing is safe any more the driver stops.
        target = np.minimum(free, np.maximum(0.0, safe))
        result: FloatArray = np.maximum((target - speed) / tau, -self.max_braking)
        return result
