"""DMPO: decentralised model-based policy optimisation (Section 4, Algorithm 1).

Every agent learns a model of its own dynamics from its own neighbourhood, all
agents imagine branches together, exchanging predicted states with their 1-hop
neighbours, and a model-free base (DPPO or DSAC) learns from them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from trafficrl.algorithms.base import AgentSpec, Decision, ModelBased, Policies, Streams
from trafficrl.algorithms.dppo import DPPO
from trafficrl.algorithms.dsac import DSAC
from trafficrl.algorithms.dynamics import DynamicsLearner
from trafficrl.algorithms.imagination import imagine
from trafficrl.algorithms.rollout import Links, Rollout
from trafficrl.config.algorithms import DMPOSettings

BASES: dict[str, Callable[..., ModelBased]] = {"dppo": DPPO, "dsac": DSAC}


class DMPO:
    """Model, base and their alternation. Implements ``Algorithm``."""

    def __init__(
        self, spec: AgentSpec, settings: DMPOSettings, *, generator: torch.Generator, device: str
    ) -> None:
        self.settings = settings
        self.base = BASES[settings.base.kind](
            spec, settings.base, generator=generator, device=device
        )
        self.dynamics = DynamicsLearner(
            spec,
            settings.model,
            shared=settings.base.share_parameters,
            generator=generator,
            device=torch.device(device),
        )
        self.value_hops = self.base.value_hops
        self.memory_width = self.base.memory_width
        self._iteration = 0
        self._errors: dict[str, float] = {}

    def act(
        self, obs: Tensor, links: Links, memory: Tensor, generator: torch.Generator | None
    ) -> Decision:
        """The base's policies, on 1-hop observations."""
        return self.base.act(obs, links, memory, generator)

    def actor(self, policies: Tensor) -> Policies:
        """The base's policies of those agents (V,), without critics and models."""
        return self.base.actor(policies)

    def update(self, rollout: Rollout, streams: Streams, progress: float) -> dict[str, float]:
        """One iteration of Algorithm 1 after the real rollout."""
        s = self.settings
        self.dynamics.add(rollout, streams.model)
        self.base.remember(rollout, streams)
        if self._iteration % s.model_every == 0:
            self._errors = self.dynamics.train(streams.model)
        self._iteration += 1
        inner = s.inner_iterations if self._iteration > s.warmup_iterations else 0
        length = self._branch_length(progress)
        sums: dict[str, list[float]] = {}
        imagined = 0
        for _ in range(inner):
            data = None
            if self._trusts_model() and _draw(streams.model) < s.model_probability:
                data = imagine(
                    self.base, self.dynamics, self._branching_rows(streams), length, streams.model
                )
                imagined += 1
            for name, value in self.base.learn(data, streams, progress).items():
                sums.setdefault(name, []).append(value)
        log = {name: _mean(values) for name, values in sums.items()}
        share = imagined / max(1, inner)
        return {**log, **self._errors, "imagined_share": share, "branch_length": float(length)}

    def _branching_rows(self, streams: Streams) -> Tensor:
        """States of the newest real rollouts, drawn with replacement."""
        s = self.settings
        rows = self.dynamics.experience.rows(newest=s.branch_rollouts)
        draw = torch.randint(
            len(rows), (s.branches,), generator=streams.model, device=streams.model.device
        )
        return rows[draw.to(rows.device)]

    def _branch_length(self, progress: float) -> int:
        s = self.settings
        if s.initial_branch_length is None:
            return s.branch_length
        grown = min(1.0, progress / s.branch_growth)
        return round(s.initial_branch_length + grown * (s.branch_length - s.initial_branch_length))

    def _trusts_model(self) -> bool:
        """Whether there is a model, and its one-step errors are within the guard's limit."""
        limit = self.settings.max_model_error
        if not self._errors:
            return False
        errors = [self._errors.get(f"model_{what}_error_1", 0.0) for what in ("state", "reward")]
        return limit is None or all(error <= limit for error in errors)  # NaN is not

    def state_dict(self) -> dict[str, Any]:
        """Base, model, its data, and the errors that the guard goes by."""
        return {
            "base": self.base.state_dict(),
            "dynamics": self.dynamics.state_dict(),
            "iteration": self._iteration,
            "errors": self._errors,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state."""
        self.base.load_state_dict(state["base"])
        self.dynamics.load_state_dict(state["dynamics"])
        self._iteration = state["iteration"]
        self._errors = dict(state["errors"])


def _draw(generator: torch.Generator) -> float:
    return float(torch.rand((), generator=generator, device=generator.device))


def _mean(values: list[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
