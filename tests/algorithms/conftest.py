"""An algorithm on a line of agents, and rollouts to feed it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from trafficrl.algorithms import DPPO, AgentSpec, Algorithm, Decision, Streams
from trafficrl.algorithms.rollout import Links, Rollout
from trafficrl.config.algorithms import DMPOSettings, LearnerSettings, PPOSettings
from trafficrl.graph import VehicleGraph
from trafficrl.nn.encoding import FeatureSpec

SMALL = {"policy_hidden": [8], "value_hidden": [8]}
SMALL_PPO = {**SMALL, "epochs": 2, "minibatches": 2}


def line_links(agents: int, value_hops: int) -> Links:
    """Agents on a line: the policy hears 1 hop, the critic ``value_hops``."""
    edges = np.array([[i, i + 1] for i in range(agents - 1)])
    leader = np.arange(agents) - 1
    graph = VehicleGraph([f"cav_{i}" for i in range(agents)], edges, leader)
    near, far = graph.neighbourhood(1), graph.neighbourhood(value_hops)
    return Links(
        (torch.from_numpy(near.index), torch.from_numpy(near.mask)),
        (torch.from_numpy(far.index), torch.from_numpy(far.mask)),
    )


def streams(seed: int = 0) -> Streams:
    """The random generators of an update, each with a seed of its own."""
    return Streams(*(torch.Generator().manual_seed(3 * seed + purpose) for purpose in range(3)))


class Line:
    """N agents on a line with ``obs_dim`` features, and the algorithm that drives them.

    ``algorithm`` is DPPO unless another one is given. Its settings are
    ``settings``, or small ``PPOSettings`` with ``changes``.
    """

    def __init__(
        self,
        agents: int = 5,
        obs_dim: int = 2,
        n_choices: int = 0,
        seed: int = 0,
        *,
        algorithm: Callable[..., Algorithm] = DPPO,
        settings: LearnerSettings | DMPOSettings | None = None,
        features: Sequence[FeatureSpec] | None = None,
        **changes: Any,
    ) -> None:
        assert settings is None or not changes, "changes are those of the default settings"
        self.settings: Any = settings or PPOSettings(**{**SMALL_PPO, **changes})
        self.links = line_links(agents, self.settings.value_hops)
        self.spec = AgentSpec(
            n_agents=agents,
            features=tuple(features or [FeatureSpec()] * obs_dim),
            action_dim=0 if n_choices else 1,
            n_choices=n_choices,
            action_center=0.0,
            action_scale=1.0,
            policy_width=self.links.policy[0].shape[-1],
            value_width=self.links.value[0].shape[-1],
        )
        self.algorithm: Any = algorithm(
            self.spec,
            self.settings,
            generator=torch.Generator().manual_seed(seed),
            device="cpu",
        )

    def act(
        self, obs: Tensor, generator: torch.Generator | None = None, memory: Tensor | None = None
    ) -> Decision:
        """What the agents do with obs (B, N, O), with nothing in mind unless ``memory`` is."""
        if memory is None:
            memory = torch.zeros(*obs.shape[:2], self.algorithm.memory_width)
        return self.algorithm.act(obs, self.links, memory, generator)

    def rollout(self, seed: int = 1, replicas: int = 3, steps: int = 6) -> Rollout:
        """Random observations and rewards under the present policy; nothing ends."""
        draw = torch.Generator().manual_seed(seed)
        n, o = self.spec.n_agents, self.spec.obs_dim
        obs = torch.randn(replicas, steps + 1, n, o, generator=draw)
        decisions: list[Decision] = []
        for t in range(steps):
            memory = decisions[-1].memory if decisions else None
            decisions.append(self.act(obs[:, t], draw, memory))
        reward = torch.randn(replicas, steps, n, generator=draw)
        return self.record(obs[:, :-1].clone(), decisions, reward, obs[:, 1:].clone())

    def record(
        self,
        obs: Tensor,
        decisions: Sequence[Decision],
        reward: Tensor,
        next_obs: Tensor,
        *,
        terminated: Tensor | None = None,
        truncated: Tensor | None = None,
    ) -> Rollout:
        """The rollout of T decisions in obs (B, T, N, O); memories start afresh where it ended."""
        never = torch.zeros(obs.shape[:2], dtype=torch.bool)
        terminated = never if terminated is None else terminated
        truncated = never if truncated is None else truncated
        next_memory = torch.stack([one.memory for one in decisions], dim=1)
        memory = torch.zeros_like(next_memory)
        memory[:, 1:] = next_memory[:, :-1] * ~(terminated | truncated)[:, :-1, None, None]
        return Rollout(
            obs=obs,
            action=torch.stack([one.action for one in decisions], dim=1),
            log_prob=torch.stack([one.log_prob for one in decisions], dim=1),
            reward=reward,
            next_obs=next_obs,
            terminated=terminated.clone(),
            truncated=truncated.clone(),
            active=~never,
            memory=memory,
            next_memory=next_memory,
            links=self.links,
            next_links=self.links,
        )

    def update(self, rollout: Rollout, seed: int = 2, progress: float = 0.0) -> dict[str, float]:
        return self.algorithm.update(rollout, streams(seed), progress)

    def weights(self, parts: Sequence[str] = ("policy", "critic")) -> dict[str, Tensor]:
        """Copies of all parameters of the algorithm's ``parts``, agent-first, by name."""
        return {
            f"{name}.{key}": parameter.detach().clone()
            for name in parts
            for key, parameter in getattr(self.algorithm, name).named_parameters()
        }


@pytest.fixture
def line() -> Callable[..., Line]:
    return Line
