"""What on-policy learners with a policy and a critic for each agent have in common."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor

from trafficrl.algorithms.acting import decide, make_policy
from trafficrl.algorithms.advantages import bootstrapped_returns, gae, neighbourhood_sum
from trafficrl.algorithms.base import AgentSpec, Decision, Policies, Saved
from trafficrl.algorithms.parts import Batch, Figures, add_gradient, pieces
from trafficrl.algorithms.rollout import Links, Rollout, at_steps
from trafficrl.config.algorithms import ActorCriticSettings
from trafficrl.nn.encoding import ObsEncoder
from trafficrl.nn.normalization import ValueNormalizer
from trafficrl.nn.optim import StackedAdam
from trafficrl.nn.stacked import StackedMLP, part_of, per_set

# Without gradients a layer is gone when the next one is there: so many times as many samples.
FORWARD = 4


class ActorCritic(Policies, Saved):
    """Policies pi_i(a_i | s over 1 hop), critics V_i(s over kappa hops), and what they learn from.

    All agents are computed at once on stacked weights; sums over agents keep
    their gradients apart, and clipping and normalisation are each agent's own.
    """

    memory_width = 0

    def __init__(
        self,
        spec: AgentSpec,
        settings: ActorCriticSettings,
        *,
        generator: torch.Generator,
        device: str,
    ) -> None:
        self.spec = spec
        self.common = settings
        self.agents = slice(0, spec.n_agents)  # whose policies and critics these are
        self.value_hops = settings.value_hops
        self.device = torch.device(device)
        self.sets = 1 if settings.share_parameters else spec.n_agents
        self.encoder = ObsEncoder(spec.features).to(self.device)
        self.policy = make_policy(spec, settings, self.sets, self.encoder.width, generator)
        self.policy.to(self.device)
        self.critic = self._make_critic(generator).to(self.device)
        self.value_norm = ValueNormalizer(self._value_sets).to(self.device)
        clip = settings.max_grad_norm
        self._policy_optim = StackedAdam(
            self.policy.parameters(), settings.policy_lr, max_grad_norm=clip, name="policy"
        )
        self._value_optim = StackedAdam(
            self.critic.parameters(), settings.value_lr, max_grad_norm=clip, name="critic"
        )

    # What a critic sees and predicts -----------------------------------------

    @property
    def _value_sets(self) -> int:
        return self.sets

    def _make_critic(self, generator: torch.Generator, inputs: int | None = None) -> StackedMLP:
        s = self.common
        return StackedMLP(
            self._value_sets,
            inputs or self.spec.value_width * self.encoder.width,
            s.value_hidden,
            1,
            activation=s.activation,
            output_gain=1.0,
            generator=generator,
        )

    def _value_inputs(self, obs: Tensor, links: Links) -> Tensor:
        return self.encoder.neighbourhood(obs, *links.value)

    def _value_reward(self, reward: Tensor) -> Tensor:
        """What V_i predicts the discounted sum of, (B, T, N)."""
        return reward

    def _reduce(self, values: Tensor, links: Links) -> Tensor:
        """Eq. 6: rewards or values (B, T, N) over the neighbourhood of each agent."""
        return neighbourhood_sum(values, *links.value)

    # A few agents at a time ----------------------------------------------------

    def _slices(self, parts: int) -> list[slice]:
        """All agents in so many parts that can be computed one after the other."""
        count = self.n_agents
        # Not one agent alone: its products would be other routines', with other roundings.
        parts = max(1, min(parts, count // 2))
        ends = [count * i // parts for i in range(parts + 1)]
        return [slice(*pair) for pair in pairwise(ends)]

    @property
    def n_agents(self) -> int:
        """How many these are."""
        return self.agents.stop - self.agents.start

    def _part(self, agents: slice) -> Self:
        """Some of the agents, with weights of their own: what they learn is learned here."""
        one = copy.copy(self)
        one.agents, one.sets = agents, agents.stop - agents.start
        one.policy, one.critic = part_of(self.policy, agents), part_of(self.critic, agents)
        one.value_norm = part_of(self.value_norm, agents)
        one._policy_optim = self._policy_optim.part(one.policy.parameters(), agents)
        one._value_optim = self._value_optim.part(one.critic.parameters(), agents)
        return one

    # Acting -------------------------------------------------------------------

    @torch.no_grad()
    def act(
        self, obs: Tensor, links: Links, memory: Tensor, generator: torch.Generator | None
    ) -> Decision:
        """Actions (B, N, A) or (B, N) for obs (B, N, O)."""
        return decide(self.policy, self.encoder, obs, links, memory, generator)

    def values(self, obs: Tensor, links: Links) -> Tensor:
        """V_i(s over kappa hops) for obs (..., N, O): (..., N).

        With gradient where they are few enough to be computed at once.
        """
        parts = self._slices(-(-pieces(obs[..., 0, 0].numel(), self.n_agents) // FORWARD))
        values = [self._values_of(agents, obs, links.of(agents)) for agents in parts]
        return values[0] if len(parts) == 1 else torch.cat(values, -1)

    def _values_of(self, agents: slice, obs: Tensor, links: Links) -> Tensor:
        critic, norm, count = self.critic, self.value_norm, agents.stop - agents.start
        if self.sets > 1 and count < self.n_agents:
            critic, norm = part_of(critic, agents), part_of(norm, agents)
        out = critic(self._value_inputs(obs, links))[..., 0]
        out = norm.denormalize(out).transpose(0, 1)
        return out.expand(-1, count).reshape(*obs.shape[:-2], count)

    def _values_and_next(self, r: Rollout) -> tuple[Tensor, Tensor]:
        """V of each state and of the one that followed, (B, T, N) both.

        What followed is the next state of the rollout, but where it ends.
        """
        value = self.values(r.obs, r.links)
        following = value.roll(-1, dims=1)
        last = r.ended.clone()
        last[:, -1] = True
        following[last] = self.values(r.next_obs[last], at_steps(r.next_links, last))
        return value, following

    # Learning -----------------------------------------------------------------

    def _set_rates(self, progress: float) -> None:
        s = self.common
        decay = 1.0 - progress if s.lr_schedule == "linear" else 1.0
        self._policy_optim.lr, self._value_optim.lr = s.policy_lr * decay, s.value_lr * decay

    def _prepare(self, rollout: Rollout) -> Batch:
        """Everything the steps need, waiting samples left out."""
        r = rollout.to(self.device)
        return self._inputs(*r.counted(), self._targets(r))

    @torch.no_grad()
    def _targets(self, r: Rollout) -> Batch:
        """What the agents did and what came of it."""
        s = self.common
        value, next_value = self._values_and_next(r)
        ends = r.terminated, r.ended
        reward = self._value_reward(r.reward)
        returns = bootstrapped_returns(reward, next_value, *ends, gamma=s.gamma)
        advantage = gae(
            self._reduce(r.reward, r.links),
            self._reduce(value, r.links),
            self._reduce(next_value, r.next_links),
            *ends,
            gamma=s.gamma,
            gae_lambda=s.gae_lambda,
        )
        keep = r.active.flatten()
        data = {
            "action": agent_first(r.action)[:, keep],
            "log_prob": agent_first(r.log_prob)[:, keep],
            "advantage": agent_first(advantage)[:, keep],
            "returns": agent_first(returns)[:, keep],
        }
        if s.normalize_advantages:
            data["advantage"] = standardized(data["advantage"], self.sets)
        if s.normalize_values:
            self.value_norm.update(data["returns"])
            data["returns"] = self.value_norm.normalize(data["returns"])
        return data

    @torch.no_grad()
    def _inputs(self, obs: Tensor, links: Links, targets: Batch) -> Batch:
        """The part of the targets that is these agents', and what their networks see."""
        links = links.of(self.agents)
        return {
            "policy_inputs": self.encoder.neighbourhood(obs, *links.policy),
            "value_inputs": self._value_inputs(obs, links),
            **{name: target[self.agents] for name, target in targets.items()},
        }

    def _value_step(self, batch: Batch) -> dict[str, Tensor]:
        """One gradient step on samples of all agents."""
        self._value_optim.zero_grad()
        found = add_gradient(batch, self._value_figures, self._value_optim)
        norms = self._value_optim.step(loss=found["loss"])
        return {"value_loss": found["value_loss"], "value_grad_norm": norms}

    def _value_figures(self, batch: Batch) -> Figures:
        inputs = batch.get("value_inputs")
        if inputs is None:
            inputs = self._value_inputs(batch["obs"], batch["links"])
        predicted = self.critic(inputs)[..., 0]
        loss = (predicted - batch["returns"]).square().mean(1)  # (N,)
        return {"loss": per_set(loss, self._value_sets), "value_loss": loss}

    def _parts(self) -> dict[str, Any]:
        return {
            "policy": self.policy,
            "critic": self.critic,
            "value_norm": self.value_norm,
            "policy_optim": self._policy_optim,
            "value_optim": self._value_optim,
        }


def standardized(values: Tensor, sets: int) -> Tensor:
    """``values`` (N, S) with mean 0 and spread 1 over the samples of each set of weights."""
    rows = values.reshape(sets, -1)
    rows = rows - rows.mean(1, keepdim=True)
    return (rows / (rows.std(1, correction=0, keepdim=True) + 1e-8)).view(values.shape)


def agent_first(x: Tensor) -> Tensor:
    """(B, T, N, ...) to (N, B*T, ...)."""
    return x.flatten(0, 1).transpose(0, 1)
