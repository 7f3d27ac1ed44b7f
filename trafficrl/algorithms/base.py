"""What the trainer needs of a learning algorithm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor

if TYPE_CHECKING:
    from trafficrl.algorithms.rollout import Links, Rollout


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """What the agents of an environment see and do, and how many they hear."""

    n_agents: int
    obs_dim: int
    action_dim: int  # of a continuous action
    n_choices: int  # 0 for continuous actions
    action_scale: float  # half the range of a continuous action
    policy_width: int  # K of the closed 1-hop neighbourhood
    value_width: int  # K of the closed kappa-hop neighbourhood


class Algorithm(Protocol):
    """Acts for all agents and learns from rollouts."""

    value_hops: int  # kappa

    def act(
        self, obs: Tensor, links: Links, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Actions and log-probabilities for obs (B, N, O); the mode without a generator."""

    def update(
        self, rollout: Rollout, generator: torch.Generator, progress: float
    ) -> dict[str, float]:
        """Learn from a rollout; ``progress`` in [0, 1] is the part of training that is over."""

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on learning."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state."""
