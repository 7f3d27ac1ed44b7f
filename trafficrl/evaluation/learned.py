"""Trained policies as drivers of any scenario."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from trafficrl.algorithms import ALGORITHMS, Algorithm
from trafficrl.envs.array_env import ArrayEnv, Step
from trafficrl.errors import CheckpointError, TrafficRLError
from trafficrl.evaluation.carry import differences
from trafficrl.evaluation.dealing import Assignment, by_leaders, by_position, by_slot
from trafficrl.evaluation.driver import Driver
from trafficrl.training.checkpoint import load_checkpoint
from trafficrl.training.links import LinkTracker, count_messages
from trafficrl.training.run_directory import RunDirectory
from trafficrl.training.seeding import torch_stream
from trafficrl.training.setup import agent_spec
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
        self._algorithm, shared, self._width = self._load(checkpoint)
        self.policies = 1 if shared else self.trained.n_agents
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
            self._env, self._dealt = env, np.empty(0, dtype=np.int64)
            self._links = LinkTracker(env, value_hops=0, policy_width=self._width)
        self._memory = torch.zeros(env.replicas, env.n_agents, self._algorithm.memory_width)

    def step(self, env: ArrayEnv, obs: NDArray[np.float32]) -> Step:
        dealt = self.policy_slots(env)
        if not np.array_equal(dealt, self._dealt):
            self._actor, self._dealt = self._algorithm.actor(torch.from_numpy(dealt)), dealt
        links = self._links.now()
        decision = self._actor.act(torch.from_numpy(obs), links, self._memory, None)
        self.messages = count_messages(links, self._speaks(self._memory))
        step = env.step(decision.action.numpy())
        new = torch.from_numpy(step.entered[:, env.agents])
        self._memory = decision.memory.masked_fill(new[..., None], 0.0)
        return step

    def _speaks(self, memory: torch.Tensor) -> torch.Tensor:
        """1 for agents (B, N) that tell their neighbours something: all, unless they choose to."""
        chooses = getattr(self._algorithm, "speaks", None)
        return memory.new_ones(memory.shape[:2]) if chooses is None else chooses(memory)

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

    def _load(self, path: Path) -> tuple[Algorithm, bool, int]:
        """What was learned, whether all agents share it, and K of its policies."""
        content, trained = load_checkpoint(path), self.trained
        name = content.get("algorithm")
        if name not in ALGORITHMS:
            raise CheckpointError(f"{path}: unknown algorithm {name!r}")
        torch.set_num_threads(trained.training.torch_threads)
        settings = getattr(trained.algorithms, name)
        try:
            policy_width, value_width = content["widths"]
            spec = agent_spec(trained, trained.n_agents, policy_width, value_width)
            generator = torch_stream("weights", 0)
            algorithm = ALGORITHMS[name](spec, settings, generator=generator, device="cpu")
            algorithm.load_state_dict(content["learner"])
        except (KeyError, ValueError, RuntimeError, TypeError) as error:
            reason = str(error).partition("\n")[0]
            raise CheckpointError(f"{path}: does not fit its scenario ({reason})") from None
        return algorithm, settings.share_parameters, policy_width
