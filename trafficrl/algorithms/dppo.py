"""DPPO: decentralised PPO with the extended value function (Section 4.2, Eq. 5-7).

Every agent has a policy that sees its closed 1-hop neighbourhood and a critic
V_i that sees its kappa-hop neighbourhood. Agents exchange rewards and values
over at most kappa hops during training; nothing else is shared, and the KL
stop is each agent's own.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from trafficrl.algorithms.actor_critic import ActorCritic, Batch, average
from trafficrl.algorithms.base import AgentSpec, Streams
from trafficrl.algorithms.rollout import Rollout
from trafficrl.config.algorithms import PPOSettings
from trafficrl.nn.stacked import per_set


class DPPO(ActorCritic):
    """Policies, critics and their update. Implements ``Algorithm`` and ``ModelBased``."""

    def __init__(
        self, spec: AgentSpec, settings: PPOSettings, *, generator: torch.Generator, device: str
    ) -> None:
        super().__init__(spec, settings, generator=generator, device=device)
        self.settings = settings
        self._newest: Rollout | None = None

    def update(self, rollout: Rollout, streams: Streams, progress: float) -> dict[str, float]:
        """Several epochs of clipped policy and value steps on one rollout."""
        self._set_rates(progress)
        data = self._prepare(rollout)
        learning = torch.ones(self.sets, dtype=torch.bool, device=self.device)
        log: dict[str, list[Tensor]] = {}
        for batch in self._minibatches(data, streams):
            step = {**self._policy_step(batch, learning), **self._value_step(batch)}
            for name, value in step.items():
                log.setdefault(name, []).append(value)
        return {**average(log), "kl_stopped": float((~learning).float().mean())}

    def _minibatches(self, data: Batch, streams: Streams) -> Iterator[Batch]:
        """All samples in random order, once each epoch."""
        s, samples = self.settings, data["advantage"].shape[1]
        for _ in range(s.epochs):
            order = torch.randperm(samples, generator=streams.minibatches).to(self.device)
            for rows in order.chunk(min(s.minibatches, samples)):
                yield {name: value[:, rows] for name, value in data.items()}

    def _policy_step(self, batch: Batch, learning: Tensor) -> dict[str, Tensor]:
        """One step along Eq. 7; takes agents out of ``learning`` (N,) at their KL target."""
        s = self.settings
        if not learning.any():
            return {}
        log_prob, entropy = self.policy.evaluate(batch["policy_inputs"], batch["action"])
        log_ratio = log_prob - batch["log_prob"]
        with torch.no_grad():
            # Schulman's low-variance estimator, never negative.
            kl = per_set((log_ratio.exp() - 1.0 - log_ratio).mean(1), self.sets)
            if s.target_kl is not None:
                learning &= kl <= s.target_kl
        surrogate = clipped_surrogate(log_ratio, batch["advantage"], s.clip_range)
        loss = per_set(-(surrogate + s.entropy_coef * entropy).mean(1), self.sets)
        norms = self._policy_optim.descend(loss, learning)
        return {
            "policy_loss": _mean_of(loss.detach(), learning),
            "policy_grad_norm": norms,
            "entropy": entropy.detach().mean(),
            "kl": kl.mean(),
        }

    # For DMPO -------------------------------------------------------------------

    def remember(self, rollout: Rollout, streams: Streams) -> None:
        """Keep the newest real rollout, and fit the critics to its whole returns.

        Branches are short and end in V: without this, what lies beyond them
        would count nothing for as many updates as it takes to seep in.
        """
        self._newest = rollout
        data = self._prepare(rollout)
        for batch in self._minibatches(data, streams):
            self._value_step(batch)

    def learn(
        self, imagined: Rollout | None, streams: Streams, progress: float
    ) -> dict[str, float]:
        """Update on imagined data, or again on the newest real rollout."""
        rollout = self._newest if imagined is None else imagined
        assert rollout is not None, "remember first"
        return self.update(rollout, streams, progress)


def clipped_surrogate(log_ratio: Tensor, advantage: Tensor, clip_range: float) -> Tensor:
    """min(ratio * A, clip(ratio) * A) for each sample (Eq. 7)."""
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1.0 - clip_range, 1.0 + clip_range)
    return torch.minimum(ratio * advantage, clipped * advantage)


def _mean_of(values: Tensor, chosen: Tensor) -> Tensor:
    return values[chosen].mean()  # NaN where nobody is chosen
