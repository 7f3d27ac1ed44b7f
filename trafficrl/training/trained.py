"""Policies that have been trained, as they act, whatever they drive."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trafficrl.algorithms import ALGORITHMS, Algorithm, Decision
from trafficrl.algorithms.base import Policies
from trafficrl.algorithms.rollout import Links
from trafficrl.config import ScenarioConfig
from trafficrl.config.algorithms import LearnerSettings
from trafficrl.config.scenario import ActionConfig, FeatureConfig
from trafficrl.errors import CheckpointError
from trafficrl.training.checkpoint import load_checkpoint
from trafficrl.training.run_directory import RunDirectory
from trafficrl.training.saving import first_nan
from trafficrl.training.seeding import torch_stream
from trafficrl.training.setup import agent_spec
from trafficrl.types import IntArray


class TrainedPolicies:
    """``count`` policies, 1 where all vehicles share it, that hear ``width`` neighbours K.

    A vehicle acts by one of them, the most probable action, with the memory of its own.
    """

    def __init__(self, algorithm: Algorithm, count: int, width: int) -> None:
        self.count, self.width = count, width
        self.all: Policies = algorithm.actor(torch.arange(count))
        self._dealt, self._actor = np.arange(count), self.all

    @property
    def memory_width(self) -> int:
        """M, numbers that a vehicle keeps from step to step, 0 when it is new."""
        return self.all.memory_width

    def act(self, obs: Tensor, links: Links, memory: Tensor, dealt: IntArray) -> Decision:
        """Actions for obs (B, V, O) and memories (B, V, M), by policies ``dealt`` (V,)."""
        if self.count > 1 and not np.array_equal(dealt, self._dealt):
            self._actor, self._dealt = self.all.actor(torch.from_numpy(dealt)), dealt
        return self._actor.act(obs, links, memory, None)

    def speaks(self, memory: Tensor) -> Tensor:
        """1 for agents (B, V) that tell their neighbours something: all, unless they choose to."""
        chooses = getattr(self.all, "speaks", None)
        return memory.new_ones(memory.shape[:2]) if chooses is None else chooses(memory)


def checkpoint_file(run: RunDirectory, checkpoint: str) -> Path:
    """The file of that checkpoint, "best" or "latest"; ``CheckpointError`` if there is none."""
    file = run.path / f"{checkpoint}.pt"
    if not file.exists():
        there = [name for name in ("best", "latest") if (run.path / f"{name}.pt").exists()]
        hint = (
            f"try --checkpoint {there[0]}"
            if there
            else "this run has none yet: go on with `train --resume`, or name another run"
        )
        raise CheckpointError(f"{file}: no such checkpoint ({hint})")
    return file


def load_trained(trained: ScenarioConfig, checkpoint: Path) -> TrainedPolicies:
    """What a run on that scenario has learned; ``CheckpointError`` where they do not fit."""
    content = load_checkpoint(checkpoint)
    name = content.get("algorithm")
    if not isinstance(name, str) or name not in ALGORITHMS:
        raise CheckpointError(f"{checkpoint}: unknown algorithm {name!r}")
    settings = getattr(trained.algorithms, name)
    try:
        algorithm = fresh_algorithm(
            name, settings, trained.observation, trained.action, trained.n_agents, content["widths"]
        )
        # Only the best policies, but for the best of older versions, stand alone.
        alone = "policies" in content
        learned = content["policies" if alone else "learner"]
        if not alone:
            algorithm.load_state_dict(learned)
        count = 1 if settings.share_parameters else trained.n_agents
        policies = TrainedPolicies(algorithm, count, content["widths"][0])
        if alone:
            policies.all.take_weights(learned)
        if nan := first_nan(learned):
            raise ValueError(f"{nan} of the learner is nan")
    except (KeyError, ValueError, RuntimeError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{checkpoint}: does not fit its scenario ({reason})") from None
    return policies


def fresh_algorithm(
    name: str,
    settings: LearnerSettings | Any,
    observation: Sequence[FeatureConfig],
    action: ActionConfig,
    n_agents: int,
    widths: Sequence[int],
) -> Algorithm:
    """An algorithm on the CPU whose weights are to be replaced; ``widths`` are K of the policies'
    and of the critics' neighbourhoods.
    """
    policy_width, value_width = widths
    spec = agent_spec(observation, action, n_agents, policy_width, value_width)
    return ALGORITHMS[name](spec, settings, generator=torch_stream("weights", 0), device="cpu")
