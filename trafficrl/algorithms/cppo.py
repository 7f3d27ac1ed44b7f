"""CPPO: PPO with a central critic, the baseline of Section 5.

Policies are decentralised as in DPPO: each sees its closed 1-hop
neighbourhood, and clipping and KL stop are each agent's own. One critic V(s)
sees the whole state, the observations of all agents, and predicts the
discounted team reward (1/n) sum_i r_i, the objective itself. So the advantage
is the same for every agent. This is DPPO with kappa as large as the graph and
one critic in place of n.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trafficrl.algorithms.dppo import DPPO
from trafficrl.algorithms.rollout import Links
from trafficrl.nn.stacked import StackedMLP


class CPPO(DPPO):
    """Policies and their central critic. Implements ``Algorithm`` and ``ModelBased``.

    The setting ``value_hops`` has no effect, as the critic sees everybody: its
    weights fit the number of vehicles that they were learned with, even where
    the policies share theirs.
    """

    @property
    def _value_sets(self) -> int:
        return 1

    def _slices(self, parts: int) -> list[slice]:
        """All at once, as one critic sees everybody."""
        return [self.agents]

    def _make_critic(self, generator: torch.Generator, inputs: int | None = None) -> StackedMLP:
        return super()._make_critic(generator, self.spec.n_agents * self.encoder.width)

    def _value_inputs(self, obs: Tensor, links: Links) -> Tensor:
        """The whole state: (..., N, O) to (1, S, N*W)."""
        whole = self.encoder.own(obs).flatten(-2)
        return whole.reshape(1, -1, whole.shape[-1])

    def _value_reward(self, reward: Tensor) -> Tensor:
        return team_mean(reward)

    def _reduce(self, values: Tensor, links: Links) -> Tensor:
        """The team's reward; of values, which are the team's already, no change."""
        return team_mean(values)


def team_mean(values: Tensor) -> Tensor:
    """(1/n) sum_i of ``values`` (..., N), for every agent."""
    return values.mean(-1, keepdim=True).expand_as(values)
