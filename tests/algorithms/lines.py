"""Agents on a line of whom each hears the one before and the one after, and no critic hears any."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from trafficrl.algorithms import AgentSpec
from trafficrl.algorithms.rollout import Links, Rollout
from trafficrl.nn.encoding import FeatureSpec

from .conftest import streams

PARTS = ("policy", "critic")


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


def weights(one: Any, parts: Sequence[str] = PARTS) -> dict[str, Tensor]:
    """Copies of all parameters of these parts, by name."""
    return {
        f"{name}.{key}": parameter.detach().clone()
        for name in parts
        for key, parameter in getattr(one, name).named_parameters()
    }


def assert_an_update_moves_everything(
    one: Any, rollout: Rollout, parts: Sequence[str] = PARTS
) -> None:
    """All weights of all agents, by finite figures."""
    before = weights(one, parts)
    metrics = one.update(rollout, streams(), 0.0)
    assert all(torch.tensor(value).isfinite() for value in metrics.values())
    after = weights(one, parts)
    assert all((after[name] != before[name]).flatten(1).any(1).all() for name in before)


def assert_learns_on_as(
    one: Any, other: Any, rollout_of: Callable[..., Rollout], parts: Sequence[str] = PARTS
) -> None:
    """``other``, with what was saved of ``one`` after a rollout, by the next one."""
    one.update(rollout_of(one), streams(), 0.0)
    other.load_state_dict(one.state_dict())
    rollout = rollout_of(one, seed=5)
    assert one.update(rollout, streams(), 0.0) == other.update(rollout, streams(), 0.0)
    mine, theirs = weights(one, parts), weights(other, parts)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
