"""A policy as one function of tensors, for files that need nothing of this package."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.func import functional_call

from trafficrl.algorithms.base import Policies
from trafficrl.algorithms.rollout import Links
from trafficrl.deployment.card import PolicyCard


class PolicyNetwork(nn.Module):
    """Raw features (N, O) in SI units, neighbours (N, K) and who is present of them to actions.

    Memories (N, M) are taken and given where vehicles remember, and the policy (N,) of each
    vehicle is taken where there are several. Gives actions (N, A), or (N,) choices.
    """

    offset: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, card: PolicyCard, policies: Policies) -> None:
        super().__init__()
        self.remembers, self.several = card.memory_width > 0, card.policies > 1
        clips = [item.clip or (-math.inf, math.inf) for item in card.observation]
        for name, values in (
            ("offset", [item.offset for item in card.observation]),
            ("scale", [item.scale for item in card.observation]),
            ("low", [low for low, _ in clips]),
            ("high", [high for _, high in clips]),
        ):
            self.register_buffer(name, torch.tensor(values))
        self.acting = _Acting(policies)

    @property
    def inputs(self) -> list[str]:
        """Names of what ``forward`` takes."""
        others = {"memory": self.remembers, "policy": self.several}
        return ["features", "neighbours", "present", *(name for name in others if others[name])]

    @property
    def outputs(self) -> list[str]:
        """Names of what ``forward`` gives."""
        return ["action", "next_memory"] if self.remembers else ["action"]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        given = dict(zip(self.inputs, inputs, strict=True))
        obs = ((given["features"] - self.offset) / self.scale).clamp(self.low, self.high)
        memory = given.get("memory", obs.new_zeros(obs.shape[0], 0))
        acting_in = obs, given["neighbours"], given["present"], memory
        if self.several:
            dealt = given["policy"]
            weights = {name: values[dealt] for name, values in self.acting.named_parameters()}
            action, memory = functional_call(self.acting, weights, acting_in)
        else:
            action, memory = self.acting(*acting_in)
        return (action, memory) if self.remembers else (action,)


class _Acting(nn.Module):
    """Policies as a module, so that their weights are known as such."""

    def __init__(self, policies: Policies) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(policies.acting_parts)
        self.encoder = policies.encoder
        self._policies = policies

    def forward(
        self, obs: Tensor, neighbours: Tensor, present: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        heard = neighbours, present
        done = self._policies.act(obs[None], Links(heard, heard), memory[None], None)
        return done.action[0], done.memory[0]
