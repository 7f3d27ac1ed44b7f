"""What a stretch of experience holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(slots=True)
class Links:
    """Who hears whom: padded closed neighbourhoods, (N, K), or (..., N, K) in a graph that changes.

    ``policy`` are 1 hop, ``value`` kappa hops; each an index and a mask.
    """

    policy: tuple[Tensor, Tensor]
    value: tuple[Tensor, Tensor]

    @staticmethod
    def stack(links: list[Links]) -> Links:
        """Links of T time steps (B, N, K) as (B, T, N, K); fixed ones (N, K) stay as they are."""
        if links[0].policy[0].dim() == 2:
            return links[0]
        columns = zip(*((*one.policy, *one.value) for one in links), strict=True)
        a, b, c, d = (torch.stack(column, dim=1) for column in columns)
        return Links((a, b), (c, d))

    @staticmethod
    def merge(links: list[Links]) -> Links:
        """Links (B, ...) of several simulations as of one; fixed ones (N, K) are all alike."""
        if links[0].policy[0].dim() == 2:
            return links[0]
        columns = zip(*((*one.policy, *one.value) for one in links), strict=True)
        a, b, c, d = (torch.cat(column) for column in columns)
        return Links((a, b), (c, d))

    def of(self, agents: slice) -> Links:
        """Whom some of the agents hear."""
        a, b, c, d = (x[..., agents, :] for x in (*self.policy, *self.value))
        return Links((a, b), (c, d))

    def to(self, device: torch.device) -> Links:
        """The same on a device."""
        a, b, c, d = (x.to(device) for x in (*self.policy, *self.value))
        return Links((a, b), (c, d))


@dataclass(slots=True)
class Rollout:
    """T control intervals of B replicas, as tensors.

    ``next_obs`` is what followed each action, also where the episode ended
    there: truncated steps are bootstrapped from it. Where ``active`` is False
    the replica was waiting for the others and the sample does not count.
    """

    obs: Tensor  # (B, T, N, O)
    action: Tensor  # (B, T, N, A), or (B, T, N) choices
    log_prob: Tensor  # (B, T, N)
    reward: Tensor  # (B, T, N)
    next_obs: Tensor  # (B, T, N, O)
    terminated: Tensor  # (B, T) bool
    truncated: Tensor  # (B, T) bool
    active: Tensor  # (B, T) bool
    memory: Tensor  # (B, T, N, M), what the agents remembered when they acted
    next_memory: Tensor  # (B, T, N, M), what they remembered then
    links: Links  # (N, K) or (B, T, N, K)
    next_links: Links  # of next_obs

    @property
    def ended(self) -> Tensor:
        """Where an episode was over after the step, (B, T) bool."""
        return self.terminated | self.truncated

    def counted(self) -> tuple[Tensor, Links]:
        """Observations (S, N, O) and links of the S samples that count."""
        keep, obs, links = self.active.flatten(), self.obs.flatten(0, 1), flat(self.links)
        return (obs, links) if keep.all() else (obs[keep], at_steps(links, keep))

    @staticmethod
    def merge(rollouts: list[Rollout]) -> Rollout:
        """Rollouts of several simulations, all of T intervals, as replicas of one."""
        parts: dict[str, Any] = {}
        for name in Rollout.__slots__:
            values = [getattr(one, name) for one in rollouts]
            linked = isinstance(values[0], Links)
            parts[name] = Links.merge(values) if linked else torch.cat(values)
        return Rollout(**parts)

    def to(self, device: torch.device) -> Rollout:
        """The same on a device."""
        return Rollout(*(getattr(self, name).to(device) for name in self.__slots__))


def at_steps(links: Links, steps: Tensor | slice) -> Links:
    """The links of some steps, by mask, index or slice; fixed ones (N, K) hold for all."""
    if links.policy[0].dim() == 2:
        return links
    a, b, c, d = (x[steps] for x in (*links.policy, *links.value))
    return Links((a, b), (c, d))


def flat(links: Links) -> Links:
    """(B, T, N, K) to (B*T, N, K); fixed ones stay."""
    if links.policy[0].dim() == 2:
        return links
    a, b, c, d = (x.flatten(0, 1) for x in (*links.policy, *links.value))
    return Links((a, b), (c, d))
