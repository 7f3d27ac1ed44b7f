"""Puts an algorithm and an environment together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from gymnasium import spaces

from trafficrl.algorithms import ALGORITHMS, AgentSpec, Algorithm
from trafficrl.config import ScenarioConfig
from trafficrl.config.scenario import ActionConfig, FeatureConfig
from trafficrl.envs.actions import make_actions
from trafficrl.errors import TrafficRLError
from trafficrl.nn.encoding import FeatureSpec
from trafficrl.terms import FEATURES, WRAPS
from trafficrl.training.seeding import torch_stream


def make_algorithm(
    name: str, config: ScenarioConfig, widths: Sequence[int], *, seed: int, device: str = "cpu"
) -> Algorithm:
    """The algorithm with fresh weights; ``widths`` are those of ``LinkTracker``."""
    return ALGORITHMS[name](
        agent_spec(config.observation, config.action, config.n_agents, *widths),
        getattr(config.algorithms, name),
        generator=torch_stream("weights", seed),
        device=checked_device(device),
    )


def agent_spec(
    observation: Sequence[FeatureConfig],
    action: ActionConfig,
    n_agents: int,
    policy_width: int,
    value_width: int,
) -> AgentSpec:
    """What the agents of a scenario see, do and hear."""
    actions = make_actions(action)
    space, dim, center, scale = actions.space, 0, 0.0, 1.0
    if isinstance(space, spaces.Box):
        dim = int(np.prod(space.shape))
        center = float((space.high + space.low).max() / 2)
        scale = float((space.high - space.low).max() / 2)
    return AgentSpec(
        n_agents=n_agents,
        features=tuple(_feature_spec(item) for item in observation),
        action_dim=dim,
        n_choices=actions.n_choices,
        action_center=center,
        action_scale=scale,
        policy_width=policy_width,
        value_width=value_width,
    )


def _feature_spec(item: FeatureConfig) -> FeatureSpec:
    low, high = item.clip or (-math.inf, math.inf)
    wraps = FEATURES.has_trait(item.feature, WRAPS)
    return FeatureSpec(
        period=1.0 / item.scale if wraps else 0.0,
        # A multiple of an angle would jump where the lap ends.
        gain=1.0 if wraps else item.scale / (item.difference_scale or item.scale),
        low=low,
        high=high,
    )


def checked_device(device: str) -> str:
    """``device`` if torch has it; a clear error otherwise."""
    try:
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise TrafficRLError(
            f"--device {device}: not usable here ({reason}; 'cpu' always is)"
        ) from None
    return device
