"""DPPO: decentralised PPO with the extended value function (Section 4.2, Eq. 5-7).

Every agent has a policy that sees its closed 1-hop neighbourhood and a critic
V_i that sees its kappa-hop neighbourhood. Agents exchange rewards and values
over at most kappa hops during training; nothing else is shared. All agents
are computed at once on stacked weights; sums over agents keep their gradients
apart, and clipping, normalisation and the KL stop are each agent's own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from trafficrl.algorithms.advantages import bootstrapped_returns, gae, neighbourhood_sum
from trafficrl.algorithms.base import AgentSpec
from trafficrl.algorithms.rollout import Links, Rollout
from trafficrl.config.algorithms import PPOSettings
from trafficrl.nn.normalization import ValueNormalizer
from trafficrl.nn.optim import StackedAdam
from trafficrl.nn.policies import CategoricalPolicy, GaussianPolicy
from trafficrl.nn.stacked import StackedMLP, neighbourhood_inputs


class DPPO:
    """Policies, critics and their update. Implements ``Algorithm``."""

    def __init__(
        self, spec: AgentSpec, settings: PPOSettings, *, generator: torch.Generator, device: str
    ) -> None:
        self.spec = spec
        self.settings = settings
        self.value_hops = settings.value_hops
        self.device = torch.device(device)
        self.policy = make_policy(spec, settings, generator).to(self.device)
        self.critic = StackedMLP(
            spec.n_agents,
            spec.value_width * spec.obs_dim,
            settings.value_hidden,
            1,
            activation=settings.activation,
            output_gain=1.0,
            generator=generator,
        ).to(self.device)
        self.value_norm = ValueNormalizer(spec.n_agents).to(self.device)
        clip = settings.max_grad_norm
        self._policy_optim = StackedAdam(
            self.policy.parameters(), settings.policy_lr, max_grad_norm=clip
        )
        self._value_optim = StackedAdam(
            self.critic.parameters(), settings.value_lr, max_grad_norm=clip
        )

    # Acting ----------------------------------------------------------------

    @torch.no_grad()
    def act(
        self, obs: Tensor, links: Links, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        """Actions (B, N, A) or (B, N) and their log-probabilities (B, N).

        Without a generator the most probable actions, with log-probability 0.
        """
        index, mask = links.policy
        inputs = neighbourhood_inputs(
            obs.to(self.device), index.to(self.device), mask.to(self.device)
        )
        if generator is None:
            action = self.policy.mode(inputs)
            log_prob = torch.zeros(action.shape[:2])
        else:
            action, log_prob = self.policy.sample(inputs, generator)
        return action.transpose(0, 1).cpu(), log_prob.transpose(0, 1).cpu()

    def values(self, obs: Tensor, links: Links) -> Tensor:
        """V_i(s over kappa hops) for obs (B, T, N, O): (B, T, N)."""
        out = self.critic(neighbourhood_inputs(obs, *links.value))[..., 0]
        return self.value_norm.denormalize(out).transpose(0, 1).reshape(obs.shape[:3])

    # Learning --------------------------------------------------------------

    def update(
        self, rollout: Rollout, generator: torch.Generator, progress: float
    ) -> dict[str, float]:
        """Several epochs of clipped policy and value steps on one rollout."""
        s = self.settings
        decay = 1.0 - progress if s.lr_schedule == "linear" else 1.0
        self._policy_optim.lr, self._value_optim.lr = s.policy_lr * decay, s.value_lr * decay
        data = self._prepare(rollout)
        samples = data["advantage"].shape[1]
        learning = torch.ones(self.spec.n_agents, dtype=torch.bool, device=self.device)
        log: dict[str, list[Tensor]] = {}
        for _ in range(s.epochs):
            order = torch.randperm(samples, generator=generator).to(self.device)
            for rows in order.chunk(min(s.minibatches, samples)):
                batch = {name: value[:, rows] for name, value in data.items()}
                step = {**self._policy_step(batch, learning), **self._value_step(batch)}
                for name, value in step.items():
                    log.setdefault(name, []).append(value)
        # An agent that stopped early has no figures after its stop.
        metrics = {name: float(torch.stack(values).nanmean()) for name, values in log.items()}
        metrics["kl_stopped"] = float((~learning).float().mean())
        return metrics

    @torch.no_grad()
    def _prepare(self, rollout: Rollout) -> dict[str, Tensor]:
        """Everything the steps need, agent-first (N, S, ...), waiting samples left out."""
        s = self.settings
        r = rollout.to(self.device)
        ended = r.terminated | r.truncated
        value, next_value = self.values(r.obs, r.links), self.values(r.next_obs, r.next_links)
        returns = bootstrapped_returns(r.reward, next_value, r.terminated, ended, gamma=s.gamma)
        reward_sum = neighbourhood_sum(r.reward, *r.links.value)
        value_sum = neighbourhood_sum(value, *r.links.value)
        next_value_sum = neighbourhood_sum(next_value, *r.next_links.value)
        advantage = gae(
            reward_sum,
            value_sum,
            next_value_sum,
            r.terminated,
            ended,
            gamma=s.gamma,
            gae_lambda=s.gae_lambda,
        )
        keep = r.active.flatten()
        data = {
            "policy_inputs": neighbourhood_inputs(r.obs, *r.links.policy)[:, keep],
            "value_inputs": neighbourhood_inputs(r.obs, *r.links.value)[:, keep],
            "action": _agent_first(r.action)[:, keep],
            "log_prob": _agent_first(r.log_prob)[:, keep],
            "advantage": _agent_first(advantage)[:, keep],
            "returns": _agent_first(returns)[:, keep],
        }
        if s.normalize_advantages:
            a = data["advantage"]
            std = a.std(1, correction=0, keepdim=True)
            data["advantage"] = (a - a.mean(1, keepdim=True)) / (std + 1e-8)
        if s.normalize_values:
            self.value_norm.update(data["returns"])
            data["returns"] = self.value_norm.normalize(data["returns"])
        return data

    def _policy_step(self, batch: dict[str, Tensor], learning: Tensor) -> dict[str, Tensor]:
        """One step along Eq. 7; takes agents out of ``learning`` (N,) at their KL target."""
        s = self.settings
        if not learning.any():
            return {}
        log_prob, entropy = self.policy.evaluate(batch["policy_inputs"], batch["action"])
        log_ratio = log_prob - batch["log_prob"]
        with torch.no_grad():
            # Schulman's low-variance estimator, never negative.
            kl = (log_ratio.exp() - 1.0 - log_ratio).mean(1)
            if s.target_kl is not None:
                learning &= kl <= s.target_kl
        surrogate = clipped_surrogate(log_ratio, batch["advantage"], s.clip_range)
        loss = -(surrogate + s.entropy_coef * entropy).mean(1)  # (N,)
        self._policy_optim.zero_grad()
        loss.sum().backward()  # type: ignore[no-untyped-call]
        norms = self._policy_optim.step(learning)
        return {
            "policy_loss": _mean_of(loss.detach(), learning),
            "policy_grad_norm": _mean_of(norms, learning),
            "entropy": entropy.detach().mean(),
            "kl": kl.mean(),
        }

    def _value_step(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        predicted = self.critic(batch["value_inputs"])[..., 0]
        loss = (predicted - batch["returns"]).square().mean(1)  # (N,)
        self._value_optim.zero_grad()
        loss.sum().backward()
        norms = self._value_optim.step()
        return {"value_loss": loss.detach().mean(), "value_grad_norm": norms.mean()}

    # Saving ----------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimisers and value statistics."""
        return {
            "policy": dict(self.policy.state_dict()),
            "critic": dict(self.critic.state_dict()),
            "value_norm": dict(self.value_norm.state_dict()),
            "policy_optim": self._policy_optim.state_dict(),
            "value_optim": self._value_optim.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state."""
        self.policy.load_state_dict(state["policy"])
        self.critic.load_state_dict(state["critic"])
        self.value_norm.load_state_dict(state["value_norm"])
        self._policy_optim.load_state_dict(state["policy_optim"])
        self._value_optim.load_state_dict(state["value_optim"])


def clipped_surrogate(log_ratio: Tensor, advantage: Tensor, clip_range: float) -> Tensor:
    """min(ratio * A, clip(ratio) * A) for each sample (Eq. 7)."""
    ratio = log_ratio.exp()
    clipped = ratio.clamp(1.0 - clip_range, 1.0 + clip_range)
    return torch.minimum(ratio * advantage, clipped * advantage)


def make_policy(
    spec: AgentSpec, settings: PPOSettings, generator: torch.Generator
) -> GaussianPolicy | CategoricalPolicy:
    """The kind of policy that the actions need."""
    inputs = spec.policy_width * spec.obs_dim
    if spec.n_choices:
        return CategoricalPolicy(
            spec.n_agents,
            inputs,
            settings.policy_hidden,
            spec.n_choices,
            activation=settings.activation,
            generator=generator,
        )
    return GaussianPolicy(
        spec.n_agents,
        inputs,
        settings.policy_hidden,
        spec.action_dim,
        activation=settings.activation,
        scale=spec.action_scale,
        initial_mean=settings.initial_action_mean,
        initial_std=settings.initial_action_std,
        min_std=settings.min_action_std,
        learn_std=settings.learn_action_std,
        generator=generator,
    )


def _agent_first(x: Tensor) -> Tensor:
    """(B, T, N, ...) to (N, B*T, ...)."""
    return x.flatten(0, 1).transpose(0, 1)


def _mean_of(values: Tensor, chosen: Tensor) -> Tensor:
    return values[chosen].mean()  # NaN where nobody is chosen
