"""Agents on a line of whom each hears the one before and the one after, and no critic hears any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from trafficrl.algorithms import AgentSpec
from trafficrl.algorithms.rollout import Links
from trafficrl.nn.encoding import FeatureSpec


def links_on_a_line(agents: int, shape: tuple[int, ...] = ()) -> Links:
    """Of these agents, (*shape, N, K)."""
    own = torch.arange(agents)
    index = torch.stack([own, own - 1, own + 1], 1)
    mask = (index >= 0) & (index < agents)
    index = index.where(mask, own[:, None]).expand(*shape, agents, 3)
    mask = mask.expand(*shape, agents, 3)
    return Links((index, mask), (index[..., :1], mask[..., :1]))


def spec_on_a_line(
    agents: int, obs_dim: int, n_choices: int, action_scale: float = 1.0
) -> AgentSpec:
    """Of these agents, who choose or else act by one number."""
    return AgentSpec(
        n_agents=agents,
        features=(FeatureSpec(),) * obs_dim,
        action_dim=0 if n_choices else 1,
        n_choices=n_choices,
        action_center=0.0,
        action_scale=action_scale,
        policy_width=3,
        value_width=1,
    )


def weights(one: Any, parts: Sequence[str] = ("policy", "critic")) -> dict[str, Tensor]:
    """Copies of all parameters of these parts, by name."""
    return {
        f"{name}.{key}": parameter.detach().clone()
        for name in parts
        for key, parameter in getattr(one, name).named_parameters()
    }
