"""DSAC: decentralised soft actor-critic with extended twin Q functions.

Agent i's critics Q_i(s over kappa hops, a over kappa hops) predict the
discounted sum of (1/n) times the rewards in its kappa-hop neighbourhood, so
that its policy pi_i(a_i | s over 1 hop) also answers for what it does to
others (the soft counterpart of Eq. 5-7). Choices as in Christodoulou (2019),
continuous actions as in Haarnoja et al. (2018). Neighbours' actions inside
targets and policy losses are drawn by the neighbours and sent.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from trafficrl.algorithms.acting import decide, make_squashed_policy
from trafficrl.algorithms.advantages import neighbourhood_sum
from trafficrl.algorithms.base import AgentSpec, Decision, Policies, Saved, Streams
from trafficrl.algorithms.experience import Experience
from trafficrl.algorithms.log import average
from trafficrl.algorithms.parts import Batch, Figures, add_gradient
from trafficrl.algorithms.rollout import Links, Rollout, at_steps
from trafficrl.config.algorithms import SACBase, SACSettings
from trafficrl.nn.encoding import ObsEncoder
from trafficrl.nn.optim import StackedAdam
from trafficrl.nn.policies import CategoricalPolicy
from trafficrl.nn.stacked import StackedMLP, neighbourhood_values, per_set

SCALE_DECAY = 0.9  # of the rewards' running spread, per rollout


class DSAC(Policies, Saved):
    """Policies, twin critics and temperatures. Implements ``Algorithm`` and ``ModelBased``."""

    memory_width = 0

    def __init__(
        self, spec: AgentSpec, settings: SACSettings, *, generator: torch.Generator, device: str
    ) -> None:
        self.spec = spec
        self.settings = s = settings
        self.value_hops = s.value_hops
        self.device = torch.device(device)
        self.sets = 1 if s.share_parameters else spec.n_agents
        self.encoder = ObsEncoder(spec.features).to(self.device)
        self.policy = make_squashed_policy(spec, s, self.sets, self.encoder.width, generator).to(
            self.device
        )
        self.critic = self._make_critic(generator).to(self.device)
        self.target = self._make_critic(generator).to(self.device)
        self.target.load_state_dict(self.critic.state_dict())
        self.log_temperature = nn.Parameter(
            torch.full((self.sets, 1), math.log(s.initial_temperature), device=self.device)
        )
        self.reward_scale = torch.zeros(self.sets, 1, device=self.device)  # 0: none seen yet
        self.replay = Experience(s.replay_size, device=self.device)
        clip = s.max_grad_norm
        self._policy_optim = StackedAdam(
            self.policy.parameters(), s.policy_lr, max_grad_norm=clip, name="policy"
        )
        self._value_optim = StackedAdam(
            self.critic.parameters(),
            s.value_lr,
            max_grad_norm=clip,
            name="critics",
            agents=self.sets,
        )
        self._temperature_optim = StackedAdam(
            [self.log_temperature], s.temperature_lr, max_grad_norm=math.inf, name="temperature"
        )

    def _make_critic(self, generator: torch.Generator) -> StackedMLP:
        """Both critics of every agent in one stack; choices have an output each."""
        spec, s = self.spec, self.settings
        heard = spec.value_width - 1 if spec.n_choices else spec.value_width
        return StackedMLP(
            2 * self.sets,
            spec.value_width * self.encoder.width + heard * spec.action_width,
            s.value_hidden,
            spec.n_choices or 1,
            activation=s.activation,
            output_gain=1.0,
            generator=generator,
        )

    # Acting -------------------------------------------------------------------

    @torch.no_grad()
    def act(
        self, obs: Tensor, links: Links, memory: Tensor, generator: torch.Generator | None
    ) -> Decision:
        """Actions (B, N, A) or (B, N) for obs (B, N, O)."""
        return decide(self.policy, self.encoder, obs, links, memory, generator)

    # Learning -----------------------------------------------------------------

    def update(self, rollout: Rollout, streams: Streams, progress: float) -> dict[str, float]:
        """Remember a rollout, then gradient steps on the replay in proportion to it."""
        self.remember(rollout, streams)
        steps = round(float(rollout.active.sum()) * self.settings.updates_per_interval)
        return self._steps(self.replay, max(1, steps), streams)

    def remember(self, rollout: Rollout, streams: Streams) -> None:
        """Put real data into the replay."""
        rollout = rollout.to(self.device)
        self.replay.add(rollout)
        if self.settings.normalize_rewards:
            self._rescale(neighbourhood_sum(rollout.reward, *rollout.links.value)[rollout.active])

    def learn(
        self, imagined: Rollout | None, streams: Streams, progress: float
    ) -> dict[str, float]:
        """Gradient steps on imagined transitions, or on the replay."""
        assert isinstance(self.settings, SACBase)
        data = self.replay
        if imagined is not None:
            data = Experience(imagined.active.numel())
            data.add(imagined)
        return self._steps(data, self.settings.inner_updates, streams)

    def _steps(self, data: Experience, count: int, streams: Streams) -> dict[str, float]:
        rows, size = data.rows(), self.settings.batch_size
        log: dict[str, list[Tensor]] = {}
        for _ in range(count):
            draw = torch.randint(len(rows), (size,), generator=streams.minibatches)
            batch = self._batch(data, rows[draw.to(rows.device)])
            for name, value in self._step(batch, streams.actions).items():
                log.setdefault(name, []).append(value)
        for optim in (self._value_optim, self._policy_optim, self._temperature_optim):
            optim.check()
        return average(log)

    def _batch(self, data: Experience, rows: Tensor) -> Batch:
        columns = data.columns
        assert data.links is not None
        links, next_links = at_steps(data.links, rows), data.next_links(rows)
        reward = neighbourhood_sum(columns["reward"][rows], *links.value).T
        scale = self.reward_scale if self.settings.normalize_rewards else 1.0
        return {
            "obs": columns["obs"][rows],
            "next_obs": data.next_obs(rows),
            "action": columns["action"][rows].transpose(0, 1),
            "reward": reward / scale,  # (N, S)
            "alive": (~columns["terminated"][rows]).float(),  # (S,)
            "links": links,
            "next_links": next_links,
        }

    def _step(self, batch: Batch, generator: torch.Generator) -> dict[str, Tensor]:
        """One gradient step of critics, policies and temperatures; the target follows."""
        temperature = self.log_temperature.detach().exp()  # (sets, 1)
        self._value_optim.zero_grad()
        value = add_gradient(
            batch,
            lambda part: self._value_figures(part, temperature, generator),
            self._value_optim,
        )
        value_norms = self._value_optim.step(loss=value["loss"])

        self._policy_optim.zero_grad()
        policy = add_gradient(
            batch,
            lambda part: self._policy_figures(part, temperature, generator),
            self._policy_optim,
        )
        policy_norms = self._policy_optim.step(loss=policy["loss"])

        gap = per_set(policy["entropy"] - self._target_entropy(), self.sets)
        self._temperature_optim.descend(self.log_temperature[:, 0] * gap)
        self._follow()
        return {
            "value_loss": value["value_loss"],
            "policy_loss": policy["policy_loss"],
            "policy_grad_norm": policy_norms,
            "value_grad_norm": value_norms,
            "entropy": policy["entropy"].mean(),
            "temperature": temperature.mean(),
            "q_mean": value["q_mean"],
        }

    def _value_figures(
        self, batch: Batch, temperature: Tensor, generator: torch.Generator
    ) -> Figures:
        """Of the critics (2N,) or of the shared two (2,)."""
        target = self._soft_target(batch, temperature, generator)
        q = self._q(self.critic, batch["obs"], batch["action"], batch["links"])
        loss = nn.functional.smooth_l1_loss(q, target.expand_as(q), reduction="none").mean(2)
        own = per_set(loss.flatten(), 2 * self.sets)
        return {"loss": own, "value_loss": loss.mean(), "q_mean": q.mean()}

    def _policy_figures(
        self, batch: Batch, temperature: Tensor, generator: torch.Generator
    ) -> Figures:
        inputs = self.encoder.neighbourhood(batch["obs"], *batch["links"].policy)
        loss, entropy = self._policy_loss(inputs, batch, temperature, generator)
        return {"loss": per_set(loss, self.sets), "policy_loss": loss.mean(), "entropy": entropy}

    @torch.no_grad()
    def _soft_target(self, batch: Batch, temperature: Tensor, generator: torch.Generator) -> Tensor:
        """y_i = r_i + gamma (1 - d) (min Q_i' - temperature * log pi_i), (N, S)."""
        inputs = self.encoder.neighbourhood(batch["next_obs"], *batch["next_links"].policy)
        action, log_p = self._drawn(inputs, generator)
        q = self._q_all(self.target, batch["next_obs"], action, batch["next_links"]).amin(0)
        if self.spec.n_choices:
            value = (log_p.exp() * (q - temperature[..., None] * log_p)).sum(-1)
        else:
            value = q[..., 0] - temperature * log_p
        target: Tensor = batch["reward"] + self.settings.gamma * batch["alive"] * value
        return target

    def _policy_loss(
        self,
        inputs: Tensor,
        batch: Batch,
        temperature: Tensor,
        generator: torch.Generator,
    ) -> tuple[Tensor, Tensor]:
        """E[temperature * log pi_i - min Q_i] and the entropy, (N,) each."""
        action, log_p = self._drawn(inputs, generator)
        if self.spec.n_choices:
            with torch.no_grad():
                q = self._q_all(self.critic, batch["obs"], action, batch["links"]).amin(0)
            p = log_p.exp()
            loss = (p * (temperature[..., None] * log_p - q)).sum(-1)
            return loss.mean(1), -(p * log_p).sum(-1).mean(1)
        q = self._q_all(self.critic, batch["obs"], action, batch["links"]).amin(0)[..., 0]
        return (temperature * log_p - q).mean(1), -log_p.mean(1)

    def _drawn(self, inputs: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Actions and their log-densities (N, S), or choices and those of every one (N, S, C)."""
        if isinstance(self.policy, CategoricalPolicy):
            return self.policy.draw(inputs, generator)
        return self.policy.sample(inputs, generator)

    # Critics --------------------------------------------------------------------

    def _q(self, critic: StackedMLP, obs: Tensor, action: Tensor, links: Links) -> Tensor:
        """Both Q_i(s, a) of given actions (N, S) or (N, S, A): (2, N, S)."""
        q = self._q_all(critic, obs, action, links)
        if not self.spec.n_choices:
            return q[..., 0]
        return q.gather(-1, action.long().expand(2, -1, -1)[..., None])[..., 0]

    def _q_all(self, critic: StackedMLP, obs: Tensor, action: Tensor, links: Links) -> Tensor:
        """Both Q_i for each own choice (2, N, S, C), or for the own action (2, N, S, 1)."""
        spec = self.spec
        states = self.encoder.neighbourhood(obs, *links.value)
        if spec.n_choices:
            heard = nn.functional.one_hot(action.long(), spec.n_choices).float()
        else:
            heard = (action - spec.action_center) / spec.action_scale
        # What neighbours send has no gradient, the own action has.
        sent = neighbourhood_values(heard.detach().transpose(0, 1), *links.value)[:, :, 1:]
        parts = [states, sent.transpose(0, 1).flatten(2)]
        if not spec.n_choices:
            parts.append(heard)
        x = torch.cat(parts, -1)
        q: Tensor = critic(torch.cat([x, x]))
        return q.view(2, *x.shape[:2], -1)

    @torch.no_grad()
    def _follow(self) -> None:
        for slow, fast in zip(self.target.parameters(), self.critic.parameters(), strict=True):
            slow.lerp_(fast, self.settings.target_smoothing)

    def _target_entropy(self) -> float:
        s, choices = self.settings, self.spec.n_choices
        if choices:
            return s.target_entropy_of_choices * math.log(choices)
        return s.target_entropy_per_dim * self.spec.action_dim

    @torch.no_grad()
    def _rescale(self, reward: Tensor) -> None:
        """Take in rewards (S, N); what the critics predict stays the same in reward units.

        As in PopArt (van Hasselt et al., 2016), without the shift.
        """
        seen = per_set(reward.T.square().mean(1, keepdim=True), self.sets).sqrt().clamp(min=1e-6)
        old = torch.where(self.reward_scale > 0.0, self.reward_scale, seen)
        new = (SCALE_DECAY * old.square() + (1.0 - SCALE_DECAY) * seen.square()).sqrt()
        ratio = old / new
        for critic in (self.critic, self.target):
            last = critic.layers[-1]
            for parameter in last.parameters():
                parameter.mul_(ratio.repeat(2, 1)[..., None])
        self.log_temperature.add_(ratio.log())
        self.reward_scale = new

    # Saving -------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimisers, temperatures and the replay."""
        return {
            **super().state_dict(),
            "log_temperature": self.log_temperature.detach(),
            "reward_scale": self.reward_scale,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state."""
        super().load_state_dict(state)
        with torch.no_grad():
            self.log_temperature.copy_(state["log_temperature"])
            self.reward_scale = state["reward_scale"].clone().to(self.device)

    def _parts(self) -> dict[str, Any]:
        return {
            "policy": self.policy,
            "critic": self.critic,
            "target": self.target,
            "policy_optim": self._policy_optim,
            "value_optim": self._value_optim,
            "temperature_optim": self._temperature_optim,
            "replay": self.replay,
        }
