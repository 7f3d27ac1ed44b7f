"""What every classical controller offers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from trafficrl.errors import ScenarioError
from trafficrl.registry import Registry
from trafficrl.types import FloatArray, VehicleStates


class Controller(Protocol):
    """Drives all vehicles of all replicas; the caller uses the columns it needs."""

    def reset(self, states: VehicleStates, rng: np.random.Generator) -> None:
        """Begin an episode from its first states."""

    def acceleration(self, states: VehicleStates, step: float) -> FloatArray:
        """Accelerations (B, M) in m/s2 for the coming step of ``step`` seconds."""


CONTROLLERS: Registry[type[Controller]] = Registry("controller")


def make_controller(name: str, parameters: Mapping[str, float] | None = None) -> Controller:
    """The controller of that name; ``ScenarioError`` if it or a parameter is unknown."""
    try:
        CONTROLLERS.check(name, parameters or {})
    except ValueError as error:
        raise ScenarioError(str(error)) from None
    return CONTROLLERS[name](**(parameters or {}))
