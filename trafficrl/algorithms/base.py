"""What the trainer needs of a learning algorithm."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

import torch
from torch import Tensor, nn

from trafficrl.nn.encoding import FeatureSpec, ObsEncoder
from trafficrl.nn.stacked import picked

if TYPE_CHECKING:
    from trafficrl.algorithms.rollout import Links, Rollout


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """What the agents of an environment see and do, and how many they hear."""

    n_agents: int
    features: tuple[FeatureSpec, ...]
    action_dim: int  # of a continuous action
    n_choices: int  # 0 for continuous actions
    action_center: float  # middle of the range of a continuous action
    action_scale: float  # half its range
    policy_width: int  # K of the closed 1-hop neighbourhood
    value_width: int  # K of the closed kappa-hop neighbourhood

    @property
    def obs_dim(self) -> int:
        """O, features of an observation."""
        return len(self.features)

    @property
    def action_width(self) -> int:
        """Numbers that stand for an action where a network sees one (one-hot choices)."""
        return self.n_choices or self.action_dim


@dataclass(slots=True)
class Decision:
    """What all agents do in a step."""

    action: Tensor  # (B, N, A), or (B, N) choices
    log_prob: Tensor  # (B, N), 0 for the mode
    memory: Tensor  # (B, N, M), to be given back in the next step; M may be 0


@dataclass(slots=True)
class Streams:
    """The random generators of an update, one for each purpose."""

    minibatches: torch.Generator  # which samples (on the CPU)
    actions: torch.Generator  # actions drawn for learning
    model: torch.Generator  # branching states, imagined actions and transitions

    def get_state(self) -> dict[str, Tensor]:
        """For a checkpoint."""
        return {name: getattr(self, name).get_state() for name in self.__slots__}

    def set_state(self, state: dict[str, Tensor]) -> None:
        """Take over a saved state."""
        for name in self.__slots__:
            getattr(self, name).set_state(state[name])


class Policies:
    """Has the policies of all agents, and whatever else acts, as stacked modules. An ``Actor``."""

    acting: tuple[str, ...] = ("policy",)  # names of those attributes
    memory_width: int
    encoder: ObsEncoder

    def act(
        self, obs: Tensor, links: Links, memory: Tensor, generator: torch.Generator | None
    ) -> Decision:
        """As ``Actor.act``."""
        raise NotImplementedError

    @property
    def acting_parts(self) -> dict[str, nn.Module]:
        """The modules with the weights that acting needs, by name."""
        return {name: getattr(self, name) for name in self.acting}

    def take_weights(self, weights: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Act with these weights of the ``acting_parts`` from now on."""
        for name, part in self.acting_parts.items():
            part.load_state_dict(weights[name])

    def actor(self, policies: Tensor) -> Self:
        """As ``Algorithm.actor``; what else there is stays the original's."""
        one = copy.copy(self)
        for name in self.acting:
            setattr(one, name, picked(getattr(self, name), policies))
        return one


class Saved:
    """State of an object that consists of named parts, each with a state of its own."""

    def _parts(self) -> dict[str, Any]:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on learning."""
        return {name: dict(part.state_dict()) for name, part in self._parts().items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])


class Actor(Protocol):
    """Acts for all agents."""

    memory_width: int  # M, numbers that an agent keeps from step to step, 0 at the start

    def act(
        self, obs: Tensor, links: Links, memory: Tensor, generator: torch.Generator | None
    ) -> Decision:
        """Actions for obs (B, N, O); the most probable ones without a generator."""


class Algorithm(Actor, Protocol):
    """Acts for all agents and learns from rollouts."""

    value_hops: int  # kappa

    def actor(self, policies: Tensor) -> Policies:
        """Acts for V vehicles, each by the policy of that one of the agents ``policies`` (V,).

        Weights that are shared serve any number. It neither learns nor is what it came from.
        """

    def update(self, rollout: Rollout, streams: Streams, progress: float) -> dict[str, float]:
        """Learn from a rollout; ``progress`` in [0, 1] is the part of training that is over."""

    def state_dict(self) -> dict[str, Any]:
        """What is needed to go on learning."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state."""


class ModelBased(Actor, Protocol):
    """What DMPO needs of the algorithm that it feeds with imagined data."""

    value_hops: int

    def actor(self, policies: Tensor) -> Policies:
        """As ``Algorithm.actor``."""

    def remember(self, rollout: Rollout, streams: Streams) -> None:
        """Take in real data."""

    def learn(
        self, imagined: Rollout | None, streams: Streams, progress: float
    ) -> dict[str, float]:
        """One policy update on imagined data, or on real data without any."""

    def state_dict(self) -> dict[str, Any]:
        """As ``Algorithm.state_dict``."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As ``Algorithm.load_state_dict``."""
