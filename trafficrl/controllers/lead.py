"""The scripted first vehicle of a platoon."""

from __future__ import annotations

import numpy as np

from trafficrl.controllers.base import CONTROLLERS, Controller, require_positive
from trafficrl.types import FloatArray, VehicleStates


@CONTROLLERS.register("lead")
class Lead(Controller):
    """Goes linearly from its initial speed to ``final_speed`` m/s within ``ramp`` seconds."""

    def __init__(self, *, final_speed: float = 15.0, ramp: float = 30.0) -> None:
        require_positive(ramp=ramp)
        self.final_speed = final_speed
        self.ramp = ramp
        self._initial = np.zeros((1, 1))

    def reset(self, states: VehicleStates, rng: np.random.Generator) -> None:
        self._initial = states.speed.copy()

    def target_speed(self, time: float) -> FloatArray:
        """The profile (B, M) in m/s at ``time`` s: also the speed v* that followers aim for."""
        done = min(1.0, time / self.ramp)
        return self._initial + done * (self.final_speed - self._initial)

    def acceleration(self, states: VehicleStates, step: float) -> FloatArray:
        return (self.target_speed(states.time + step) - states.speed) / step
