"""DPPO: decentralised PPO with the extended value function (Section 4.2, Eq. 5-7).

Every agent has a policy that sees its closed 1-hop neighbourhood and a critic
V_i that sees its kappa-hop neighbourhood. Agents exchange rewards and values
over at most kappa hops during training; nothing else is shared, and the KL
stop is each agent's own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor

from trafficrl.algorithms.actor_critic import ActorCritic
from trafficrl.algorithms.base import AgentSpec, Streams
from trafficrl.algorithms.log import Log, average, merged
from trafficrl.algorithms.parts import Batch, Figures, add_gradient, pieces
from trafficrl.algorithms.rollout import Links, Rollout, at_steps
from trafficrl.config.algorithms import PPOSettings
from trafficrl.memory import give_back_freed
from trafficrl.nn.stacked import per_set


class Passes:
    """What came of several passes over the data."""

    def __init__(self, learning: Tensor) -> None:
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
        return average(merged([one.log() for one in done]))

    def _passes(self, rollout: Rollout, streams: Streams, *, both: bool) -> list[Passes]:
        """Go over all samples in random order, once each epoch; critics alone unless ``both``.

        Agents with weights of their own have nothing to do with each other here: those of
        a part learn everything, then those of the next.
        """
        s, r = self.settings, rollout.to(self.device)
        targets, (obs, links) = self._targets(r), r.counted()
        samples = len(obs)
        orders = [
            torch.randperm(samples, generator=streams.minibatches).to(self.device)
            for _ in range(s.epochs)
        ]
        parts = self._parts_to_learn(-(-samples // s.minibatches))
        done = []
        for part in parts:
            done.append(part._learn(obs, links, targets, orders, both))
            if len(parts) > 1:
                give_back_freed()
        return done

    def _parts_to_learn(self, samples: int) -> list[Self]:
        """Agents that can learn apart from others, few enough for steps on so many samples."""
        slices = self._slices(pieces(samples, self.n_agents)) if self.sets > 1 else []
        return [self._part(agents) for agents in slices] if len(slices) > 1 else [self]

    def _learn(
        self, obs: Tensor, links: Links, targets: Batch, orders: list[Tensor], both: bool
    ) -> Passes:
        """Take the steps on minibatches of the ``orders``."""
        learning = torch.ones(self.sets, dtype=torch.bool, device=self.device)
        done = Passes(learning)
        batch_of = self._batches(obs, links, targets)
        for order in orders:
            # Asked once an epoch: where the device is a GPU, asking means to wait for it.
            going = both and bool(done.learning.any())
            for rows in order.chunk(min(self.settings.minibatches, len(order))):
                batch = batch_of(rows)
                if going:
                    done.begun.append(done.learning.any())
                    done.note(done.policy, self._policy_step(batch, done.learning))
                done.note(done.value, self._value_step(batch))
        self._policy_optim.check()
        self._value_optim.check()
        return done

    def _batches(self, obs: Tensor, links: Links, targets: Batch) -> Callable[[Tensor], Batch]:
        """Gives the batch of the samples of some rows."""
        samples = -(-len(obs) // self.settings.minibatches)
        if self.sets > 1 or pieces(samples, self.n_agents) == 1:
            data = self._inputs(obs, links, targets)
            return lambda rows: {name: value[:, rows] for name, value in data.items()}
        # What networks see of all samples would be too much, and of a part is found in each step.
        return lambda rows: {
            "obs": obs[rows],
            "links": at_steps(links, rows),
            **{name: value[:, rows] for name, value in targets.items()},
        }

    def _policy_step(self, batch: Batch, learning: Tensor) -> dict[str, Tensor]:
        """One step along Eq. 7; takes agents out of ``learning`` (N,) at their KL target."""
        self._policy_optim.zero_grad()
        found = add_gradient(batch, self._policy_figures, self._policy_optim)
        stopped = ~learning
        if self.settings.target_kl is not None:
            learning &= found["kl"] <= self.settings.target_kl
        norms = self._policy_optim.step(learning, loss=found["loss"])
        return {
            "policy_loss": found["loss"].masked_fill(~learning, torch.nan),
            "policy_grad_norm": norms,
            # With what made an agent stop, without what came after it.
            "entropy": found["entropy"].masked_fill(stopped, torch.nan),
            "kl": found["kl"].masked_fill(stopped, torch.nan),
        }

    def _policy_figures(self, batch: Batch) -> Figures:
        s, inputs = self.settings, batch.get("policy_inputs")
        if inputs is None:
            inputs = self.encoder.neighbourhood(batch["obs"], *batch["links"].policy)
        log_prob, entropy = self.policy.evaluate(inputs, batch["action"])
        log_ratio = log_prob - batch["log_prob"]
        surrogate = clipped_surrogate(log_ratio, batch["advantage"], s.clip_range)
        loss = -(surrogate + s.entropy_coef * entropy).mean(1)
        # Schulman's low-variance estimator, never negative.
        kl = (log_ratio.detach().exp() - 1.0 - log_ratio.detach()).mean(1)
        return {
            "loss": per_set(loss, self.sets),
            "kl": per_set(kl, self.sets),
            "entropy": per_set(entropy.detach().mean(1), self.sets),
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
