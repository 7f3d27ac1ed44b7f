"""Whatever can drive the agents of an environment: a trained run, a constant, a controller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray

from trafficrl.algorithms import ALGORITHMS, Algorithm
from trafficrl.config import ScenarioConfig
from trafficrl.controllers import CONTROLLERS, Controller, make_controller
from trafficrl.envs.array_env import ArrayEnv, Step
from trafficrl.errors import CheckpointError, ScenarioError, TrafficRLError
from trafficrl.training.checkpoint import load_checkpoint
from trafficrl.training.links import LinkTracker
from trafficrl.training.run_directory import RunDirectory
from trafficrl.training.seeding import torch_stream
from trafficrl.training.setup import agent_spec

CONSTANT = "constant"
# Drives by the clock, not by what is around it.
NO_DRIVERS = frozenset({"lead"})


class Driver:
    """Takes the agents of an environment through an episode."""

    def prepare(self, env: ArrayEnv) -> None:
        """Episodes of ``env`` are about to be driven: before its first reset."""

    def begin(self, env: ArrayEnv, rng: np.random.Generator) -> None:
        """An episode of ``env`` has begun."""
        raise NotImplementedError

    def step(self, env: ArrayEnv, obs: NDArray[np.float32]) -> Step:
        """Drive one control interval."""
        raise NotImplementedError


class LearnedDriver(Driver):
    """The deterministic policy of a trained run."""

    def __init__(self, run: RunDirectory, checkpoint: Path) -> None:
        self._run = run
        self._path = checkpoint
        self._content = load_checkpoint(checkpoint)
        self._algorithm: Algorithm | None = None
        self._env: ArrayEnv | None = None

    def begin(self, env: ArrayEnv, rng: np.random.Generator) -> None:
        if self._env is not env:
            self._algorithm, self._env = self._build(env), env
            self._links = LinkTracker(env, self._algorithm.value_hops)
        assert self._algorithm is not None
        shape = (env.replicas, env.n_agents, self._algorithm.memory_width)
        self._memory = torch.zeros(shape)

    def step(self, env: ArrayEnv, obs: NDArray[np.float32]) -> Step:
        assert self._algorithm is not None, "begin first"
        decision = self._algorithm.act(torch.from_numpy(obs), self._links.now(), self._memory, None)
        self._memory = decision.memory
        return env.step(decision.action.numpy())

    def _build(self, env: ArrayEnv) -> Algorithm:
        trained, name = self._run.scenario(), self._content.get("algorithm")
        if name not in ALGORITHMS:
            raise CheckpointError(f"{self._path}: unknown algorithm {name!r}")
        settings = getattr(trained.algorithms, name)
        self._check(trained, env, any_number=settings.share_parameters)
        torch.set_num_threads(trained.training.torch_threads)
        spec = agent_spec(env, settings.value_hops)
        try:
            policy_width, value_width = self._content["widths"]
            # Of the shape that was trained, critics included; shared weights drive any number.
            shape = replace(
                spec,
                n_agents=trained.n_agents,
                policy_width=policy_width,
                value_width=value_width,
            )
            generator = torch_stream("weights", 0)
            algorithm = ALGORITHMS[name](shape, settings, generator=generator, device="cpu")
            algorithm.load_state_dict(self._content["learner"])
        except (KeyError, ValueError, RuntimeError, TypeError) as error:
            reason = str(error).partition("\n")[0]
            raise CheckpointError(f"{self._path}: does not fit its scenario ({reason})") from None
        if spec.policy_width != policy_width:
            raise TrafficRLError(
                f"{self._run.path}: cannot drive scenario '{env.config.name}': a policy hears up "
                f"to {spec.policy_width - 1} vehicles there, and up to {policy_width - 1} in "
                f"'{trained.name}', on which the run was trained (graph.max_neighbours, set for "
                "the training, makes them alike)"
            )
        return algorithm

    def _check(self, trained: ScenarioConfig, env: ArrayEnv, *, any_number: bool) -> None:
        """Raise ``TrafficRLError`` where the tasks differ in what the policies depend on."""
        vehicles = trained.n_agents if any_number else env.n_agents
        for what, own, other in (
            ("number of learned vehicles", trained.n_agents, vehicles),
            ("order of vehicles", trained.network.fixed_order, env.config.network.fixed_order),
            ("observation", trained.observation, env.config.observation),
            ("action", trained.action, env.config.action),
            ("graph", trained.graph, env.config.graph),
        ):
            if own != other:
                raise TrafficRLError(
                    f"{self._run.path}: cannot drive scenario '{env.config.name}': its {what} is "
                    f"not that of '{trained.name}', on which the run was trained"
                )


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
        return env.drive(self._controller)


def make_driver(text: str, checkpoint: str = "best") -> tuple[Driver, ScenarioConfig | None]:
    """The driver that ``text`` names, and the scenario it was trained on, if it was.

    ``text`` is a run directory, ``constant:VALUE``, or a controller with
    parameters such as ``idm``, ``idm:noise=0.2`` or ``sumo:IDM:accel=1.0,decel=1.5``.
    """
    drivers = sorted(set(CONTROLLERS) - NO_DRIVERS)
    name, rest = _split(text, [CONSTANT, *drivers])
    if name == CONSTANT:
        return ConstantDriver(_number(text, rest)), None
    if name in drivers:
        try:
            return ControllerDriver(make_controller(name, _parameters(text, rest))), None
        except ScenarioError as error:
            raise TrafficRLError(f"{text}: {error}") from None
    path = Path(text)
    if not path.exists():
        raise TrafficRLError(
            f"{text}: neither a run directory nor a controller "
            f"({CONSTANT}:VALUE, {', '.join(drivers)})"
        )
    run = RunDirectory.open(path)
    file = run.path / f"{checkpoint}.pt"
    if not file.exists():
        raise CheckpointError(f"{file}: no such checkpoint (try --checkpoint latest)")
    return LearnedDriver(run, file), run.scenario()


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
    return number
