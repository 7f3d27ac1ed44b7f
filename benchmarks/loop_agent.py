"""One agent as plain torch modules: what a loop over agents has N of.

Each is made of its slice of the stacked weights, so that both start alike.
Tensors are of this agent alone: observations (S, O), actions one-hot (S, C).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trafficrl.algorithms import DMPO
from trafficrl.algorithms.dsac import DSAC
from trafficrl.algorithms.dynamics import MIN_GAIN
from trafficrl.config.algorithms import SACBase
from trafficrl.nn.dynamics import DynamicsModel, ShortcutMLP
from trafficrl.nn.stacked import StackedLinear, StackedMLP

SCALE_DECAY = 0.9  # of the rewards' running spread, per rollout


def unstacked(stacked: nn.Module, index: int) -> nn.Module:
    """One set of stacked weights as an ordinary module with weights of its own."""
    if isinstance(stacked, StackedLinear):
        linear = nn.Linear(*stacked.weight.shape[1:])
        with torch.no_grad():
            linear.weight.copy_(stacked.weight[index].T)
            linear.bias.copy_(stacked.bias[index, 0])
        return linear
    if isinstance(stacked, StackedMLP):
        return nn.Sequential(*(unstacked(layer, index) for layer in stacked.layers))
    if isinstance(stacked, ShortcutMLP):
        return Shortcut(stacked, index)
    return type(stacked)()  # an activation


class Shortcut(nn.Module):
    """A multilayer perceptron plus a linear map, which shares the product of the first layer."""

    def __init__(self, stacked: ShortcutMLP, index: int) -> None:
        super().__init__()
        self.widths = stacked.widths
        self.first = unstacked(stacked.first, index)
        self.activation = unstacked(stacked.activation, index)
        self.rest = unstacked(stacked.rest, index)

    def forward(self, x: Tensor) -> Tensor:
        linear, curved = self.first(x).split(self.widths, -1)
        out: Tensor = linear + self.rest(self.activation(curved))
        return out


class Prediction(NamedTuple):
    """What follows the agent's state and action."""

    next_obs: Tensor  # (S, O), not yet clipped to the bounds of the features
    reward: Tensor  # (S,), squashed and normalised
    done: Tensor  # (S,), logit of the end of the episode


class Dynamics(nn.Module):
    """Eq. 2-4 for one agent: encoder, one edge for each neighbour, node, decoder."""

    delta_std: Tensor
    low: Tensor
    high: Tensor
    end_reward: Tensor

    def __init__(
        self, stacked: DynamicsModel, index: int, neighbours: Sequence[int | None]
    ) -> None:
        super().__init__()
        self.encode_state = unstacked(stacked.f_enc, index)
        first = index * len(neighbours)
        self.edges = nn.ModuleList(
            unstacked(stacked.f_edge, first + place)
            for place, other in enumerate(neighbours)
            if other is not None
        )
        self.node = unstacked(stacked.f_node, index)
        self.decode = unstacked(stacked.f_out, index)
        for name in ("state_mean", "state_std", "delta_std"):
            self.register_buffer(name, getattr(stacked, name)[index].clone())
        for name in ("reward_unit", "reward_mean", "reward_std", "end_reward"):
            self.register_buffer(name, getattr(stacked, name)[index, 0].clone())
        self.register_buffer("low", stacked.low)
        self.register_buffer("high", stacked.high)

    @torch.no_grad()
    def fit_normalisation(self, obs: Tensor, next_obs: Tensor, reward: Tensor) -> None:
        """Take over mean and spread of each feature and of the reward from real data (S, ...)."""
        self.reward_unit = reward.abs().median().clamp(min=1e-6)
        gain = _squash(reward / self.reward_unit)
        self.state_mean = obs.mean(0, keepdim=True)
        self.state_std = obs.std(0, correction=0, keepdim=True).clamp(min=1e-3)
        self.delta_std = (next_obs - obs).square().mean(0, keepdim=True).sqrt().clamp(min=1e-4)
        self.reward_mean = gain.mean()
        self.reward_std = gain.std(correction=0).clamp(min=1e-3)

    def encode(self, obs: Tensor) -> Tensor:
        """h0, which is what neighbours are sent (S, E)."""
        h0: Tensor = self.encode_state((obs - self.state_mean) / self.state_std)
        return h0

    def forward(
        self, obs: Tensor, h0: Tensor, heard: Sequence[Tensor], action: Tensor
    ) -> Prediction:
        """One step ahead; ``heard`` are the h0 of the closed neighbourhood, the own first."""
        message = sum(
            edge(torch.cat([h0, sent], -1)) for edge, sent in zip(self.edges, heard, strict=True)
        )
        known = torch.cat([message, torch.ones_like(message[:, :1])], -1)
        acted_on = (action[:, :, None] * known[:, None, :]).flatten(1)
        out = self.decode(self.node(acted_on))
        features = obs.shape[-1]
        next_obs = obs + out[:, :features] * self.delta_std
        return Prediction(next_obs, out[:, features], out[:, features + 1])

    def loss(self, predicted: Prediction, target: Tensor, reward: Tensor, done: Tensor) -> Tensor:
        """State, reward and end of the episode, in units of what is predicted: a number."""
        # A prediction beyond the bounds is right where the target stands at them.
        beyond = self.bounded(predicted.next_obs) == target
        error = (predicted.next_obs - target) / self.delta_std
        state = torch.where(beyond, 0.0, error).square()
        normalised = (_squash(reward / self.reward_unit) - self.reward_mean) / self.reward_std
        gain = torch.where(done > 0.0, 0.0, (predicted.reward - normalised).square())
        end = nn.functional.binary_cross_entropy_with_logits(predicted.done, done)
        return state.mean() + gain.mean() + end

    def rewards(self, predicted: Tensor, done: Tensor) -> Tensor:
        """Predicted rewards (S,) in units of the reward; where ``done``, what ends have paid."""
        z = self.reward_mean + predicted * self.reward_std
        stretched = self.reward_unit * z.sign() * ((z.abs() + 1.0).square() - 1.0)
        return torch.where(done, self.end_reward, stretched)

    def bounded(self, obs: Tensor) -> Tensor:
        """Predicted features within their bounds."""
        return torch.minimum(torch.maximum(obs, self.low), self.high)


class Agent:
    """Policy, twin critics with targets, temperature and model of one agent, and its optimisers."""

    def __init__(
        self, dmpo: DMPO, index: int, neighbours: Sequence[int | None], *, fused: bool
    ) -> None:
        base, agents = dmpo.base, dmpo.dynamics.spec.n_agents
        assert isinstance(base, DSAC) and isinstance(base.settings, SACBase)
        self.settings = s = base.settings
        self.model_settings = dmpo.settings.model
        self.policy = unstacked(base.policy.net, index)
        twins = (index, agents + index)
        self.critics = nn.ModuleList(unstacked(base.critic, twin) for twin in twins)
        self.targets = nn.ModuleList(unstacked(base.target, twin) for twin in twins)
        self.targets.requires_grad_(False)
        self.log_temperature = nn.Parameter(base.log_temperature[index].detach().clone())
        self.reward_scale = base.reward_scale[index].clone()
        stacked = dmpo.dynamics.models[0]
        assert isinstance(stacked, DynamicsModel)
        self.model = Dynamics(stacked, index, neighbours)
        adam = torch.optim.Adam
        self.policy_optim = adam(self.policy.parameters(), s.policy_lr, fused=fused)
        self.value_optim = adam(self.critics.parameters(), s.value_lr, fused=fused)
        self.temperature_optim = adam([self.log_temperature], s.temperature_lr, fused=fused)
        self.model_optim = adam(self.model.parameters(), self.model_settings.lr, fused=fused)

    # Soft actor-critic ------------------------------------------------------------

    def log_p(self, inputs: Tensor) -> Tensor:
        """Log-probabilities of all choices, (S, C)."""
        return torch.log_softmax(self.policy(inputs), -1)

    @torch.no_grad()
    def soft_target(self, x: Tensor, log_p: Tensor, reward: Tensor, alive: Tensor) -> Tensor:
        """r + gamma (1 - d) E[min Q' - temperature * log pi], (S,)."""
        q = torch.minimum(*(target(x) for target in self.targets))
        value = (log_p.exp() * (q - self.log_temperature.exp() * log_p)).sum(-1)
        return reward / self.reward_scale + self.settings.gamma * alive * value

    def value_step(self, x: Tensor, action: Tensor, target: Tensor) -> None:
        """One gradient step of both critics towards ``target``, for the own action (S,)."""
        self.value_optim.zero_grad()
        q = [critic(x).gather(-1, action[:, None])[:, 0] for critic in self.critics]
        loss = sum(nn.functional.smooth_l1_loss(one, target) for one in q)
        assert isinstance(loss, Tensor)
        loss.backward()  # type: ignore[no-untyped-call]
        for critic in self.critics:
            nn.utils.clip_grad_norm_(critic.parameters(), self.settings.max_grad_norm)
        self.value_optim.step()

    def policy_step(self, log_p: Tensor, x: Tensor, target_entropy: float) -> None:
        """One gradient step of the policy, then of the temperature."""
        self.policy_optim.zero_grad()
        with torch.no_grad():
            q = torch.minimum(*(critic(x) for critic in self.critics))
            temperature = self.log_temperature.exp()
        p = log_p.exp()
        loss = (p * (temperature * log_p - q)).sum(-1).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.policy.parameters(), self.settings.max_grad_norm)
        self.policy_optim.step()
        entropy = -(p * log_p).detach().sum(-1).mean()
        self.temperature_optim.zero_grad()
        gap = (self.log_temperature * (entropy - target_entropy)).sum()
        gap.backward()  # type: ignore[no-untyped-call]
        self.temperature_optim.step()

    @torch.no_grad()
    def follow(self) -> None:
        """The targets follow the critics."""
        pairs = zip(self.targets.parameters(), self.critics.parameters(), strict=True)
        for slow, fast in pairs:
            slow.lerp_(fast, self.settings.target_smoothing)

    @torch.no_grad()
    def rescale(self, reward: Tensor) -> None:
        """Take in rewards (S,); what the critics predict stays the same in reward units."""
        seen = reward.square().mean().sqrt().clamp(min=1e-6)
        old = self.reward_scale if self.reward_scale > 0.0 else seen
        new = (SCALE_DECAY * old.square() + (1.0 - SCALE_DECAY) * seen.square()).sqrt()
        for critic in (*self.critics, *self.targets):
            for parameter in critic[-1].parameters():
                parameter.mul_(old / new)
        self.log_temperature.add_((old / new).log())
        self.reward_scale = new.reshape(1)

    # Model ------------------------------------------------------------------------

    def model_step(self, loss: Tensor) -> None:
        """One gradient step down the loss of the own model."""
        self.model_optim.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), self.model_settings.max_grad_norm)
        self.model_optim.step()

    def begin_training(self, held_out: Tensor) -> None:
        """The weights to be improved on have this held-out loss."""
        self.best_loss, self.waited = float(held_out), 0
        self.best = [p.detach().clone() for p in self.model.parameters()]

    def check(self, held_out: Tensor) -> None:
        """Keep the weights if held-out data are predicted better by them."""
        if float(held_out) < self.best_loss - MIN_GAIN * abs(self.best_loss):
            self.begin_training(held_out)
        else:
            self.waited += 1

    @torch.no_grad()
    def end_training(self) -> None:
        """Back to the best weights."""
        for parameter, kept in zip(self.model.parameters(), self.best, strict=True):
            parameter.copy_(kept)


def _squash(x: Tensor) -> Tensor:
    """Linear near 0, a square root far from it."""
    return x.sign() * ((x.abs() + 1.0).sqrt() - 1.0)
