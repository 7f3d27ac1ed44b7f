"""Learners of the dynamics model, and held-out losses by a script."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from trafficrl.algorithms.dynamics import DynamicsLearner
from trafficrl.config.algorithms import DynamicsSettings
from trafficrl.nn.encoding import FeatureSpec

from .systems import AGENTS, Team


def make(
    kind: str = "line",
    *,
    features: Sequence[FeatureSpec] = (FeatureSpec(),),
    agents: int = AGENTS,
    n_choices: int = 0,
    shared: bool = False,
    **settings: Any,
) -> DynamicsLearner:
    """A small one of a team of agents; ``settings`` are those of ``DynamicsSettings``."""
    team = Team("dppo", kind, agents, features=features, n_choices=n_choices)
    return DynamicsLearner(
        team.spec,
        DynamicsSettings(**settings),
        shared=shared,
        generator=generator(),
        device=torch.device("cpu"),
    )


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scripted(one: DynamicsLearner, losses: Callable[[int], list[float]]) -> None:
    """Held-out losses of all agents from a script, call by call (the first before training)."""
    calls = iter(range(10**6))
    one._held_out_loss = lambda model, starts: torch.tensor(losses(next(calls)))  # type: ignore
