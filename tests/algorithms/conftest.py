"""DPPO on a line of agents, and rollouts to feed it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from trafficrl.algorithms import DPPO, AgentSpec
from trafficrl.algorithms.rollout import Links, Rollout
from trafficrl.config.algorithms import PPOSettings
from trafficrl.graph import VehicleGraph


def line_links(agents: int, value_hops: int) -> Links:
    """Agents on a line: the policy hears 1 hop, the critic ``value_hops``."""
    edges = np.array([[i, i + 1] for i in range(agents - 1)])
    graph = VehicleGraph([f"cav_{i}" for i in range(agents)], edges)
    near, far = graph.neighbourhood(1), graph.neighbourhood(value_hops)
    return Links(
        (torch.from_numpy(near.index), torch.from_numpy(near.mask)),
        (torch.from_numpy(far.index), torch.from_numpy(far.mask)),
    )


class Line:
    """N agents on a line with ``obs_dim`` features, and the algorithm that drives them."""

    def __init__(
        self, agents: int = 5, obs_dim: int = 2, n_choices: int = 0, seed: int = 0, **settings
    ) -> None:
        self.settings = PPOSettings(
            **{"policy_hidden": [8], "value_hidden": [8], "epochs": 2, "minibatches": 2, **settings}
        )
        self.links = line_links(agents, self.settings.value_hops)
        self.spec = AgentSpec(
            n_agents=agents,
            obs_dim=obs_dim,
            action_dim=0 if n_choices else 1,
            n_choices=n_choices,
            action_scale=1.0,
            policy_width=self.links.policy[0].shape[-1],
            value_width=self.links.value[0].shape[-1],
        )
        self.algorithm = DPPO(
            self.spec,
            self.settings,
            generator=torch.Generator().manual_seed(seed),
            device="cpu",
        )

    def rollout(self, seed: int = 1, replicas: int = 3, steps: int = 6) -> Rollout:
        """Random observations and rewards under the present policy; nothing ends."""
        draw = torch.Generator().manual_seed(seed)
        n, o = self.spec.n_agents, self.spec.obs_dim
        obs = torch.randn(replicas, steps + 1, n, o, generator=draw)
        acted = [self.algorithm.act(obs[:, t], self.links, draw) for t in range(steps)]
        never = torch.zeros(replicas, steps, dtype=torch.bool)
        return Rollout(
            obs=obs[:, :-1].clone(),
            action=torch.stack([action for action, _ in acted], dim=1),
            log_prob=torch.stack([log_prob for _, log_prob in acted], dim=1),
            reward=torch.randn(replicas, steps, n, generator=draw),
            next_obs=obs[:, 1:].clone(),
            terminated=never,
            truncated=never.clone(),
            active=~never,
            links=self.links,
            next_links=self.links,
        )

    def update(self, rollout: Rollout, seed: int = 2, progress: float = 0.0) -> dict[str, float]:
        return self.algorithm.update(rollout, torch.Generator().manual_seed(seed), progress)

    def weights(self) -> dict[str, Tensor]:
        """Copies of all parameters, agent-first, by name."""
        return {
            f"{name}.{key}": parameter.detach().clone()
            for name in ("policy", "critic")
            for key, parameter in getattr(self.algorithm, name).named_parameters()
        }


@pytest.fixture
def line() -> Callable[..., Line]:
    return Line
