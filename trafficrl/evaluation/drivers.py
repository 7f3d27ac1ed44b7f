"""Whatever can drive the agents of an environment: a trained run, a constant, a controller."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from trafficrl.config import ScenarioConfig
from trafficrl.config.checks import size_problem
from trafficrl.controllers import CONTROLLERS, Controller, make_controller
from trafficrl.envs.array_env import ArrayEnv, Step
from trafficrl.errors import ScenarioError, TrafficRLError
from trafficrl.evaluation.dealing import Assignment
from trafficrl.evaluation.driver import Driver
from trafficrl.evaluation.learned import LearnedDriver
from trafficrl.training.run_directory import RunDirectory
from trafficrl.training.trained import checkpoint_file

CONSTANT = "constant"
# Drives by the clock, not by what is around it.
NO_DRIVERS = frozenset({"lead"})


class ConstantDriver(Driver):
    """The same action for every agent at every step."""

    def __init__(self, value: float) -> None:
        self.value = value

    def begin(self, env: ArrayEnv, rng: np.random.Generator) -> None:
        choices = env.actions.n_choices
        if choices and self.value not in range(choices):
            raise TrafficRLError(
                f"{CONSTANT}:{self.value:g}: scenario '{env.config.name}' has choices "
                f"0 to {choices - 1}"
            )
        space = env.actions.space
        if isinstance(space, spaces.Box) and not space.low[0] <= self.value <= space.high[0]:
            raise TrafficRLError(
                f"{CONSTANT}:{self.value:g}: scenario '{env.config.name}' takes "
                f"{space.low[0]:g} to {space.high[0]:g} m/s2"
            )
        shape = (env.replicas, env.n_agents) if choices else (env.replicas, env.n_agents, 1)
        self._action = np.full(shape, int(self.value) if choices else self.value)

    def step(self, env: ArrayEnv, obs: NDArray[np.float32]) -> Step:
        return env.step(self._action)


class ControllerDriver(Driver):
    """A classical controller in every agent's place; the action's bounds do not bind it."""

    def __init__(self, controller: Controller) -> None:
        self._controller = controller

    def prepare(self, env: ArrayEnv) -> None:
        env.world.admit(self._controller)

    def begin(self, env: ArrayEnv, rng: np.random.Generator) -> None:
        self._controller.reset(env.states, rng)
        env.world.hand_over(self._controller, env.agents)

    def step(self, env: ArrayEnv, obs: NDArray[np.float32]) -> Step:
        step = env.drive(self._controller)
        led = (env.states.leader[:, env.agents] >= 0).sum(axis=1)
        self.messages = self._controller.messages * step.sim_steps * led
        return step


def make_driver(
    text: str, checkpoint: str = "best", assign: Assignment | None = None
) -> tuple[Driver, ScenarioConfig | None]:
    """The driver that ``text`` names, and the scenario it was trained on, if it was.

    ``text`` is a run directory, ``constant:VALUE``, or a controller with
    parameters such as ``idm``, ``idm:noise=0.2`` or ``sumo:IDM:accel=1.0,decel=1.5``.
    ``assign`` says how the policies of a run are dealt.
    """
    path = Path(text)
    if assign is not None and not path.exists():
        raise TrafficRLError(f"{text}: --assign deals the policies of a trained run, not of this")
    name, rest = _split(text, [CONSTANT])
    if name:
        return ConstantDriver(_number(text, rest)), None
    controller = named_controller(text)
    if controller is not None:
        return ControllerDriver(controller), None
    if not text or not path.exists():
        raise TrafficRLError(
            f"{text}: neither a run directory nor a controller "
            f"({CONSTANT}:VALUE, {controller_names()})"
        )
    run = RunDirectory.open(path)
    driver = LearnedDriver(run, checkpoint_file(run, checkpoint), assign)
    return driver, driver.trained


def named_controller(text: str) -> Controller | None:
    """The classical controller that ``text`` names, with its parameters; None if it names none."""
    name, rest = _split(text, sorted(set(CONTROLLERS) - NO_DRIVERS))
    if not name:
        return None
    try:
        return make_controller(name, _parameters(text, rest))
    except ScenarioError as error:
        raise TrafficRLError(f"{text}: {error}") from None


def controller_names() -> str:
    """Those of the classical controllers that can drive."""
    return ", ".join(sorted(set(CONTROLLERS) - NO_DRIVERS))


def _split(text: str, names: Sequence[str]) -> tuple[str, str]:
    """The one of ``names``, which may have a ':' in them, that ``text`` begins with, and the rest.

    Both are empty where it is none of them.
    """
    for name in names:
        if text == name or text.startswith(f"{name}:"):
            return name, text[len(name) + 1 :]
    return "", ""


def _parameters(text: str, rest: str) -> dict[str, float]:
    parameters: dict[str, float] = {}
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        if key in parameters:
            raise TrafficRLError(f"{text}: '{key}' is given twice")
        parameters[key] = _number(text, value)
    return parameters


def _number(text: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not np.isfinite(number):
        raise TrafficRLError(
            f"{text}: '{value}' is not a number (write constant:0.5 or idm:noise=0.2)"
        )
    wrong = size_problem(number)
    if wrong:
        raise TrafficRLError(f"{text}: {wrong}")
    return number
