"""Policies without memory: made for the actions of a scenario, and asked for one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

from trafficrl.algorithms.base import AgentSpec, Decision
from trafficrl.algorithms.rollout import Links
from trafficrl.config.algorithms import ActorCriticSettings, SACSettings
from trafficrl.nn.encoding import ObsEncoder
from trafficrl.nn.policies import (
    CategoricalPolicy,
    GaussianPolicy,
    Policy,
    TanhGaussianPolicy,
)

Gaussian = TypeVar("Gaussian", GaussianPolicy, TanhGaussianPolicy)


def decide(
    policy: Policy,
    encoder: ObsEncoder,
    obs: Tensor,
    links: Links,
    memory: Tensor,
    generator: torch.Generator | None,
) -> Decision:
    """What policies without memory do in obs (B, N, O): a sample, or the mode without generator."""
    device = encoder.period.device
    index, mask = (x.to(device) for x in links.policy)
    inputs = encoder.neighbourhood(obs.to(device), index, mask)
    if generator is None:
        action = policy.mode(inputs)
        log_prob = torch.zeros(action.shape[:2])
    else:
        action, log_prob = policy.sample(inputs, generator)
    out = obs.device
    return Decision(action.transpose(0, 1).to(out), log_prob.transpose(0, 1).to(out), memory)


def make_policy(
    spec: AgentSpec,
    settings: ActorCriticSettings,
    sets: int,
    width: int,
    generator: torch.Generator,
) -> GaussianPolicy | CategoricalPolicy:
    """The kind of policy that the actions need; ``width`` inputs for each neighbour."""
    gaussian = partial(
        GaussianPolicy, min_std=settings.min_action_std, learn_std=settings.learn_action_std
    )
    return _made(gaussian, spec, settings, sets, width, generator)


def make_squashed_policy(
    spec: AgentSpec, settings: SACSettings, sets: int, width: int, generator: torch.Generator
) -> TanhGaussianPolicy | CategoricalPolicy:
    """The same for soft actor-critic, whose actions are squashed and whose spread is learned."""
    return _made(TanhGaussianPolicy, spec, settings, sets, width, generator)


def _made(
    gaussian: Callable[..., Gaussian],
    spec: AgentSpec,
    settings: ActorCriticSettings | SACSettings,
    sets: int,
    width: int,
    generator: torch.Generator,
) -> Gaussian | CategoricalPolicy:
    """A ``gaussian`` one, but where there are choices."""
    network: dict[str, Any] = {
        "sets": sets,
        "inputs": spec.policy_width * width,
        "hidden": settings.policy_hidden,
        "activation": settings.activation,
        "generator": generator,
    }
    if spec.n_choices:
        return CategoricalPolicy(n_choices=spec.n_choices, **network)
    return gaussian(
        action_dim=spec.action_dim,
        center=spec.action_center,
        scale=spec.action_scale,
        initial_mean=settings.initial_action_mean,
        initial_std=settings.initial_action_std,
        **network,
    )
