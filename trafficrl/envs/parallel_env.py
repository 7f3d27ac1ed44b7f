"""The PettingZoo face of a task: a thin skin over ``ArrayEnv`` with one replica."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from trafficrl.config import ScenarioConfig, load_scenario
from trafficrl.envs.array_env import ArrayEnv, Step
from trafficrl.errors import TrafficRLError
from trafficrl.graph import VehicleGraph

Obs = NDArray[np.float32]


def make_env(
    scenario: str | os.PathLike[str] | ScenarioConfig,
    *,
    seed: int | None = None,
    overrides: Sequence[str] | None = None,
    render_mode: str | None = None,
) -> TrafficEnv:
    """The environment of a scenario: a path, a bundled name such as ``'ring'``, or a config.

    ``overrides`` are ``key.path=value`` strings as for ``--set``. Raises
    ``ScenarioError`` for a scenario that does not hold together and
    ``SimulationError`` where SUMO does not run.
    """
    return TrafficEnv(load_scenario(scenario, overrides or ()), seed=seed, render_mode=render_mode)


class TrafficEnv(ParallelEnv[str, Obs, Any]):  # type: ignore[misc]  # pettingzoo has no types
    """Agents ``cav_0``... in a SUMO simulation; one step is one control interval.

    Rewards hold every term of the scenario, also those for training only;
    ``infos[agent]["reward_terms"]`` has them one by one.
    """

    metadata: ClassVar[dict[str, Any]] = {
        "render_modes": [],
        "name": "trafficrl",
        "is_parallelizable": True,
    }

    def __init__(
        self,
        config: ScenarioConfig,
        *,
        seed: int | None = None,
        render_mode: str | None = None,
    ) -> None:
        if render_mode is not None:
            raise TrafficRLError(f"render_mode: '{render_mode}' is not known (only None is)")
        self.config = config
        self.render_mode = render_mode
        self.array_env = ArrayEnv(config, replicas=1, seed=seed)
        self.possible_agents = list(self.array_env.agent_names)
        self.agents: list[str] = []
        self._running = False
        low, high = _bounds(config)
        self._observation_space = spaces.Box(low, high, dtype=np.float32)
        n_agents = len(self.possible_agents)
        self.state_space = spaces.Box(
            np.tile(low, n_agents), np.tile(high, n_agents), dtype=np.float32
        )
        self.observation_spaces = dict.fromkeys(self.possible_agents, self._observation_space)
        self.action_spaces = {
            agent: _copy_space(self.array_env.actions.space) for agent in self.possible_agents
        }
        self._obs: Obs = np.zeros((n_agents, self.array_env.obs_dim), dtype=np.float32)

    def observation_space(self, agent: str) -> spaces.Space[Obs]:
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space[Any]:
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Obs], dict[str, dict[str, Any]]]:
        if seed is not None:
            self.array_env.seed(seed)
        self._obs = self.array_env.reset()[0]
        self.agents = list(self.possible_agents)
        self._running = True
        return self._by_agent(), self._infos(None)

    def step(
        self, actions: dict[str, Any]
    ) -> tuple[
        dict[str, Obs],
        dict[str, float],
        dict[str, bool],
        dict[str, bool],
        dict[str, dict[str, Any]],
    ]:
        self._require_reset()
        if not self.agents:
            return {}, {}, {}, {}, {}
        step = self.array_env.step(self._ordered(actions)[None])
        self._obs = step.obs[0]
        rewards = dict(zip(self.possible_agents, step.reward[0].tolist(), strict=True))
        terminated = dict.fromkeys(self.possible_agents, bool(step.terminated[0]))
        truncated = dict.fromkeys(self.possible_agents, bool(step.truncated[0]))
        if self.array_env.done:
            self.agents = []
        return self._by_agent(), rewards, terminated, truncated, self._infos(step)

    def state(self) -> Obs:
        """All agents' observations in one vector (N*O,)."""
        return self._obs.ravel().copy()

    def vehicle_graph(self) -> VehicleGraph:
        """Who can talk to whom in the present states."""
        self._require_reset()
        return self.array_env.vehicle_graphs()[0]

    def render(self) -> None:
        """Nothing: the environment has no render modes of its own."""

    def close(self) -> None:
        self.array_env.close()
        self._running = False

    def _require_reset(self) -> None:
        if not self._running:
            raise TrafficRLError("the environment has no episode under way (call reset first)")

    def _ordered(self, actions: dict[str, Any]) -> NDArray[Any]:
        """The actions in agent order (N, ...); a number stands for a vector of one."""
        rows = []
        for agent in self.possible_agents:
            if agent not in actions:
                raise TrafficRLError(f"step: the action of {agent} is missing")
            action, shape = np.asarray(actions[agent]), self.action_spaces[agent].shape
            if action.size != 1:
                raise TrafficRLError(
                    f"step: the action of {agent} has shape {action.shape} (should be {shape})"
                )
            rows.append(action.reshape(shape))
        return np.stack(rows)

    def _by_agent(self) -> dict[str, Obs]:
        return {agent: self._obs[i].copy() for i, agent in enumerate(self.possible_agents)}

    def _infos(self, step: Step | None) -> dict[str, dict[str, Any]]:
        """What each vehicle does, in SI units, and its reward terms of this step."""
        env = self.array_env
        states = env.states
        columns = {
            "present": states.present,
            "speed": states.speed,
            "headway": states.headway,
            "leader_speed": states.leader_speed,
            "acceleration": states.acceleration,
            "position": states.position,
            "commanded_speed": states.commanded_speed,
            "overridden": states.overridden if step is None else step.overridden > 0,
            "collided": states.collided if step is None else step.collided,
        }
        infos: dict[str, dict[str, Any]] = {}
        for slot, agent in enumerate(self.possible_agents):
            vehicle = env.agents[slot]
            infos[agent] = {name: values[0, vehicle].item() for name, values in columns.items()}
            terms = {} if step is None else step.reward_terms
            infos[agent]["reward_terms"] = {n: v[0, slot].item() for n, v in terms.items()}
        return infos


def _bounds(config: ScenarioConfig) -> tuple[Obs, Obs]:
    """Lowest and highest observation (O,); without a clip only the sign is known to be free."""
    clips = [item.clip or [-np.inf, np.inf] for item in config.observation]
    low, high = np.array(clips, dtype=np.float32).T
    return low, high


def _copy_space(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """A space of its own for each agent: sampling one must not seed another."""
    if isinstance(space, spaces.Box):
        return spaces.Box(space.low, space.high, dtype=np.float32)
    assert isinstance(space, spaces.Discrete)
    return spaces.Discrete(int(space.n))
