"""What every classical controller offers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from trafficrl.errors import ScenarioError
from trafficrl.registry import Registry
from trafficrl.types import FloatArray, IntArray, VehicleStates, VehicleType


class Controller:
    """Drives all vehicles of all replicas; the caller uses the columns it needs.

    ``vehicle_type`` is None, or where SUMO drives the vehicles in the controller's place
    the attributes of their vType. ``messages`` is how many a vehicle is sent by its leader in
    each simulation step: none where it drives by what it can sense.
    """

    vehicle_type: VehicleType | None = None
    messages: int = 0

    def reset(self, states: VehicleStates, rng: np.random.Generator) -> None:
        """Begin an episode from its first states; nothing to do without a memory."""

    def acceleration(self, states: VehicleStates, step: float) -> FloatArray:
        """Accelerations (B, M) in m/s2 for the coming step of ``step`` s; NaN: SUMO decides."""
        raise NotImplementedError

    def keep(self, index: IntArray) -> None:
        """From now on the vehicles are those (V,) of the M before, -1 for one that is new.

        To be said where they are no slots; nothing to do without a memory.
        """

    def target_speed(self, time: float) -> FloatArray | None:
        """Speeds (B, M) in m/s that a script prescribes at ``time`` s; None: it has none."""
        return None


CONTROLLERS: Registry[type[Controller]] = Registry("controller")


def make_controller(name: str, parameters: Mapping[str, float] | None = None) -> Controller:
    """The controller of that name; ``ScenarioError`` if it or a parameter is unknown."""
    try:
        CONTROLLERS.check(name, parameters or {})
        return CONTROLLERS[name](**(parameters or {}))
    except ValueError as error:
        raise ScenarioError(str(error)) from None


def require_not_negative(**values: float) -> None:
    """``ValueError`` that names the first value below 0."""
    for name, value in values.items():
        if not value >= 0:
            raise ValueError(f"{name} is {value:g} (should be 0 or more)")


def require_positive(**values: float) -> None:
    """``ValueError`` that names the first value that is not above 0."""
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} is {value:g} (should be greater than 0)")
