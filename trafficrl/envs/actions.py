"""What an agent's action means: how it becomes an acceleration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from trafficrl.config.scenario import AccelerationAction, ActionConfig, OvmGainsAction
from trafficrl.controllers.ovm import OVM
from trafficrl.errors import SimulationError
from trafficrl.types import BoolArray, FloatArray, IntArray, VehicleStates


class Actions(Protocol):
    """Turns the actions of all agents into accelerations.

    ``n_choices`` is 0 for continuous actions, which are (B, N, A); discrete ones are (B, N).
    """

    space: spaces.Space[Any]
    n_choices: int

    def driver(
        self, action: NDArray[np.generic], agents: IntArray
    ) -> Callable[[VehicleStates], FloatArray]:
        """What turns states into accelerations (B, N) in m/s2 of the agents, while it is held."""

    def check(self, action: NDArray[np.generic], agents: tuple[int, int]) -> None:
        """``SimulationError`` if these are no actions of (B, N) ``agents``."""


class Acceleration:
    """The action is the acceleration itself, clipped to its bounds."""

    n_choices = 0

    def __init__(self, config: AccelerationAction) -> None:
        self.low, self.high = config.min_mps2, config.max_mps2
        self.space: spaces.Space[Any] = spaces.Box(self.low, self.high, (1,), np.float32)

    def driver(
        self, action: NDArray[np.generic], agents: IntArray
    ) -> Callable[[VehicleStates], FloatArray]:
        acceleration = action[..., 0].astype(np.float64).clip(self.low, self.high)
        return lambda states: acceleration

    def check(self, action: NDArray[np.generic], agents: tuple[int, int]) -> None:
        _require_shape(action, (*agents, 1))
        _refuse(action, np.isnan(action.astype(np.float64))[..., 0], "a number of m/s2")


class OvmGains:
    """The action is the index of a gain pair of the optimal velocity model."""

    def __init__(self, config: OvmGainsAction) -> None:
        self.gains = np.array(config.gains)  # (choices, 2)
        self.n_choices = len(self.gains)
        self.space: spaces.Space[Any] = spaces.Discrete(self.n_choices)
        self._model = OVM(
            max_acceleration=config.max_acceleration_mps2,
            max_speed=config.max_speed_mps,
            stop_headway=config.stop_headway_m,
            go_headway=config.go_headway_m,
        )

    def driver(
        self, action: NDArray[np.generic], agents: IntArray
    ) -> Callable[[VehicleStates], FloatArray]:
        gains = self.gains[action.astype(np.int64)]

        def drive(states: VehicleStates) -> FloatArray:
            pairs = np.zeros((*states.speed.shape, 2))
            pairs[:, agents] = gains
            return self._model.with_gains(states, pairs[..., 0], pairs[..., 1])[:, agents]

        return drive

    def check(self, action: NDArray[np.generic], agents: tuple[int, int]) -> None:
        _require_shape(action, agents)
        choice = action.astype(np.float64)
        known = (choice >= 0) & (choice < self.n_choices) & (choice == np.floor(choice))
        _refuse(action, ~known, f"one of 0 to {self.n_choices - 1}")


def _require_shape(action: NDArray[np.generic], shape: tuple[int, ...]) -> None:
    if action.shape != shape:
        raise SimulationError(f"the actions have shape {action.shape} (should be {shape})")


def _refuse(action: NDArray[np.generic], wrong: BoolArray, right: str) -> None:
    if wrong.any():
        replica, slot = np.argwhere(wrong)[0]
        raise SimulationError(
            f"cav_{slot}: its action is {action[replica, slot]} (should be {right})"
        )


def make_actions(config: ActionConfig) -> Actions:
    """The meaning of actions that a scenario asks for."""
    if isinstance(config, AccelerationAction):
        return Acceleration(config)
    return OvmGains(config)
