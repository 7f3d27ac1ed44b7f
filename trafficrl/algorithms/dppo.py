"""DPPO: decentralised PPO with the extended value function (Section 4.2, Eq. 5-7).

Every agent has a policy that sees its closed 1-hop neighbourhood and a critic
V_i that sees its kappa-hop neighbourhood. Agents exchange rewards and values
over at most kappa hops during training; nothing else is shared, and the KL
stop is each agent's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from trafficrl.algorithms.actor_critic import (
    ActorCritic,
    Batch,
    Log,
    add_gradient,
    average,
    merged,
    shares,
)
from trafficrl.algorithms.base import AgentSpec, Streams
from trafficrl.algorithms.rollout import Rollout
from trafficrl.config.algorithms import PPOSettings
from trafficrl.memory import give_back_freed
from trafficrl.nn.stacked import per_set


class Passes:
    """What came of several passes over the data."""

    def __init__(self, learning: Tensor, agents: int) -> None:
        self.agents = agents
        self.learning = learning  # (N,), sets of weights that have not met their KL target
        self.begun: list[Tensor] = []  # whether anybody was learning when a policy step began
        self.policy: Log = {}
        self.value: Log = {}

    @staticmethod
    def note(log: Log, figures: dict[str, Tensor]) -> None:
        """Put down those of a step."""
        for name, value in figures.items():
            log.setdefault(name, []).append(value)

    def log(self) -> Log:
        """The figures of all steps that somebody learned in."""
        steps = int(torch.stack(self.begun).sum()) if self.begun else 0
        policy = {name: values[:steps] for name, values in self.policy.items()}
        return {**policy, **self.value, "kl_stopped": [(~self.learning).float()]}


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
        done = self._passes(rollout, streams, both=True)
        return average(merged([one.log() for one in done], [one.agents for one in done]))

    def _passes(self, rollout: Rollout, streams: Streams, *, both: bool) -> list[Passes]:
        """Go over all samples in random order, once each epoch; critics alone unless ``both``.

        Agents with weights of their own have nothing to do with each other here: those of
        a part learn everything, then those of the next.
        """
        s, r = self.settings, rollout.to(self.device)
        targets = self._targets(r)
        samples = targets["returns"].shape[1]
        orders = [
            torch.randperm(samples, generator=streams.minibatches).to(self.device)
            for _ in range(s.epochs)
        ]
        parts = self._split(r.active.numel())
        if self.sets == 1:
            return [self._learn([part._inputs(r, targets) for part in parts], orders, both)]
        done = []
        for part in parts:
            done.append(part._learn([part._inputs(r, targets)], orders, both))
            if len(parts) > 1:
                give_back_freed()
        return done

    def _learn(self, data: list[Batch], orders: list[Tensor], both: bool) -> Passes:
        """Take the steps; ``data`` are the samples of all agents, some agents in each."""
        learning = torch.ones(self.sets, dtype=torch.bool, device=self.device)
        done = Passes(learning, self.n_agents)
        for order in orders:
            # Asked once an epoch: where the device is a GPU, asking means to wait for it.
            going = both and bool(done.learning.any())
            for rows in order.chunk(min(self.settings.minibatches, len(order))):
                batches = [{name: value[:, rows] for name, value in one.items()} for one in data]
                if going:
                    done.begun.append(done.learning.any())
                    done.note(done.policy, self._policy_step(batches, done.learning))
                done.note(done.value, self._value_step(batches))
        self._policy_optim.check()
        self._value_optim.check()
        return done

    def _policy_step(self, batches: Sequence[Batch], learning: Tensor) -> dict[str, Tensor]:
        """One step along Eq. 7; takes agents out of ``learning`` (N,) at their KL target."""
        s = self.settings
        self._policy_optim.zero_grad()
        losses, divergences, entropies = [], [], []
        for batch, share in shares(batches):
            log_prob, entropy = self.policy.evaluate(batch["policy_inputs"], batch["action"])
            log_ratio = log_prob - batch["log_prob"]
            surrogate = clipped_surrogate(log_ratio, batch["advantage"], s.clip_range)
            loss = -(surrogate + s.entropy_coef * entropy).mean(1)
            add_gradient(per_set(loss, self.sets), share)
            with torch.no_grad():
                losses.append(loss.detach())
                # Schulman's low-variance estimator, never negative.
                divergences.append((log_ratio.exp() - 1.0 - log_ratio).mean(1))
                entropies.append(share * entropy.mean())
        loss, kl = (per_set(torch.cat(one), self.sets) for one in (losses, divergences))
        if s.target_kl is not None:
            learning &= kl <= s.target_kl
        norms = self._policy_optim.step(learning, loss=loss)
        return {
            "policy_loss": loss.masked_fill(~learning, torch.nan),
            "policy_grad_norm": norms,
            "entropy": torch.stack(entropies).sum(),
            "kl": kl,
        }

    # For DMPO -------------------------------------------------------------------

    def remember(self, rollout: Rollout, streams: Streams) -> None:
        """Keep the newest real rollout, and fit the critics to its whole returns.

        Branches are short and end in V: without this, what lies beyond them
        would count nothing for as many updates as it takes to seep in.
        """
        self._newest = rollout
        self._passes(rollout, streams, both=False)

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
