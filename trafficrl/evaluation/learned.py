"""Trained policies as drivers of any scenario."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from trafficrl.envs.array_env import ArrayEnv, Step
from trafficrl.errors import TrafficRLError
from trafficrl.evaluation.carry import differences
from trafficrl.evaluation.dealing import Assignment, by_leaders, by_position, by_slot
from trafficrl.evaluation.driver import Driver
from trafficrl.training.links import LinkTracker, count_messages
from trafficrl.training.run_directory import RunDirectory
from trafficrl.training.trained import load_trained
from trafficrl.types import IntArray


class LearnedDriver(Driver):
    """The deterministic policies of a trained run, dealt to the vehicles of a scenario.

    The scenario is the run's own, or one that it was carried to. ``assign`` says
    how policies are dealt where they are not one: by ``position`` unless said.
    """

    def __init__(
        self, run: RunDirectory, checkpoint: Path, assign: Assignment | None = None
    ) -> None:
        self.run = run
        self.trained = run.scenario()
        torch.set_num_threads(self.trained.training.torch_threads)
        self._policies = load_trained(self.trained, checkpoint)
        self.policies = self._policies.count
        shared = self.policies == 1
        self.assign: Assignment = assign or ("shared" if shared else "position")
        if self.assign == "shared" and not shared:
            raise TrafficRLError(
                f"{run.path}: --assign shared: each of its {self.policies} vehicles has learned "
                "a policy of its own (choose slot or position, or train with share_parameters)"
            )
        self._env: ArrayEnv | None = None
        self._memory = torch.empty(0)

    def begin(self, env: ArrayEnv, rng: np.random.Generator) -> None:
        if self._env is not env:
            self._check(env)
            self._env = env
            self._links = LinkTracker(env, value_hops=0, policy_width=self._policies.width)
        self._memory = torch.zeros(env.replicas, env.n_agents, self._policies.memory_width)

    def step(self, env: ArrayEnv, obs: NDArray[np.float32]) -> Step:
        links = self._links.now()
        dealt = self.policy_slots(env)
        decision = self._policies.act(torch.from_numpy(obs), links, self._memory, dealt)
        self.messages = count_messages(links, self._policies.speaks(self._memory))
        step = env.step(decision.action.numpy())
        new = torch.from_numpy(step.entered[:, env.agents])
        self._memory = decision.memory.masked_fill(new[..., None], 0.0)
        return step

    def policy_slots(self, env: ArrayEnv) -> IntArray:
        if self.assign != "position":
            return by_slot(self.policies, env.n_agents)
        loop = bool(np.isfinite(env.states.path_length).all())
        if loop or env.config.network.fixed_order:
            return by_position(self.policies, env.n_agents)
        assert env.replicas == 1, "one deal for all vehicles"
        return by_leaders(self.policies, env.states.leader[0], env.agents)

    def _check(self, env: ArrayEnv) -> None:
        """Raise ``TrafficRLError`` where the scenario is not the run's and was not carried to."""
        different = differences(self.trained, env.config)
        if different:
            raise TrafficRLError(
                f"{self.run.path}: cannot drive scenario '{env.config.name}' as it is: its "
                f"{' and '.join(different)} is not that of '{self.trained.name}', on which the "
                "run was trained (evaluation.carry makes the scenario to drive in)"
            )
