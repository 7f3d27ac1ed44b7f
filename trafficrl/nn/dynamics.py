"""The dynamics model of every agent: one step of graph convolution (Section 4.1, Eq. 2-4).

Everything is agent-first: N agents, S samples, K padded neighbours (the agent
itself first). Neighbours exchange encoded states, which arrive without
gradient: the model of an agent is trained by its own errors alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from trafficrl.config.algorithms import DynamicsSettings
from trafficrl.nn.encoding import FeatureSpec, ObsEncoder
from trafficrl.nn.stacked import (
    ACTIVATIONS,
    StackedLinear,
    StackedMLP,
    neighbour_states,
    slots_first,
)

MIN_LOG_VAR, MAX_LOG_VAR = -12.0, 2.0  # in units of the spread of what is predicted


class Prediction(NamedTuple):
    """What follows (s_i, a_i). The last two are None without a Gaussian head."""

    next_obs: Tensor  # (N, S, O), not yet clipped to the bounds of the features
    reward: Tensor  # (N, S), squashed and normalised, see DynamicsModel.rewards
    done: Tensor  # (N, S), logit of the end of the episode
    state_log_var: Tensor | None  # (N, S, O), of (next_obs - obs) / spread
    reward_log_var: Tensor | None  # (N, S), of the normalised reward


class ShortcutMLP(nn.Module):
    """A multilayer perceptron plus a linear map: traffic is nearly linear in most places.

    The linear map and the first layer are one product: such small ones cost
    by their number.
    """

    def __init__(
        self,
        sets: int,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        *,
        activation: str,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.widths = (outputs, hidden[0])
        self.first = StackedLinear(sets, inputs, sum(self.widths), gain=1.0, generator=generator)
        self.activation = ACTIVATIONS[activation]()
        self.rest = StackedMLP(
            sets,
            hidden[0],
            hidden[1:],
            outputs,
            activation=activation,
            output_gain=0.1,
            generator=generator,
        )

    def forward(self, x: Tensor) -> Tensor:
        linear, curved = self.first(x).split(self.widths, -1)
        out: Tensor = linear + self.rest(self.activation(curved))
        return out


class DynamicsModel(nn.Module):
    """f_enc, f_edge, f_node and the decoders of all agents on stacked weights.

    With ``shared`` all agents have the same functions; edges then differ by
    the place of the neighbour (leader, follower, ...) alone.
    """

    state_mean: Tensor
    state_std: Tensor
    delta_std: Tensor
    end_reward: Tensor
    reward_unit: Tensor
    reward_mean: Tensor
    reward_std: Tensor
    action_scale: Tensor
    low: Tensor
    high: Tensor
    wrap: Tensor

    def __init__(
        self,
        n_agents: int,
        features: Sequence[FeatureSpec],
        action_width: int,
        neighbours: int,
        settings: DynamicsSettings,
        *,
        choices: bool,
        shared: bool,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        s = settings
        self.shared = shared
        self.choices = choices  # actions are one-hot
        self.gaussian = s.gaussian
        self.encoder = ObsEncoder(features)
        self.sets = sets = 1 if shared else n_agents
        edges = neighbours if shared else n_agents * neighbours
        self.obs_dim = obs_dim = len(features)
        # State, reward, end of the episode, and the variances of the first two.
        outputs = obs_dim + 2 + (obs_dim + 1 if s.gaussian else 0)
        block = partial(ShortcutMLP, activation=s.activation, generator=generator)
        self.f_enc = block(sets, self.encoder.width, s.message_hidden, s.node_embedding)
        self.f_edge = block(edges, 2 * s.node_embedding, s.message_hidden, s.edge_embedding)
        d = s.edge_embedding
        node_inputs = action_width * (d + 1) if choices else d + 2 * action_width
        self.f_node = block(sets, node_inputs, s.hidden, s.hidden[-1])
        self.f_out = StackedLinear(sets, s.hidden[-1], outputs, gain=1.0, generator=generator)
        width = self.encoder.width
        for name, value in (
            ("state_mean", torch.zeros(sets, 1, width)),
            ("state_std", torch.ones(sets, 1, width)),
            ("delta_std", torch.ones(sets, 1, obs_dim)),
            ("end_reward", torch.zeros(n_agents, 1)),
            ("reward_unit", torch.ones(sets, 1)),
            ("reward_mean", torch.zeros(sets, 1)),
            ("reward_std", torch.ones(sets, 1)),
            ("action_scale", torch.ones(sets, 1, action_width)),
            ("low", torch.tensor([f.low for f in features])),
            ("high", torch.tensor([f.high for f in features])),
            ("wrap", torch.tensor([f.period for f in features])),
        ):
            self.register_buffer(name, value)

    @torch.no_grad()
    def fit_normalisation(
        self, obs: Tensor, action: Tensor, next_obs: Tensor, reward: Tensor
    ) -> None:
        """Take over mean and spread of each feature from real data (N, S, ...)."""

        def rows(x: Tensor) -> Tensor:
            return x.reshape(self.sets, -1, x.shape[-1])

        state, delta = rows(self.encoder.own(obs)), rows(self.difference(next_obs, obs))
        raw = rows(reward[..., None])[..., 0]
        self.reward_unit.copy_(raw.abs().median(1, keepdim=True).values.clamp(min=1e-6))
        gain = _squash(raw / self.reward_unit)
        self.state_mean.copy_(state.mean(1, keepdim=True))
        self.state_std.copy_(_spread(state))
        self.delta_std.copy_(delta.square().mean(1, keepdim=True).sqrt().clamp(min=1e-4))
        self.reward_mean.copy_(gain.mean(1, keepdim=True))
        self.reward_std.copy_(_spread(gain))
        if not self.choices:
            effort = rows(action).square().mean(1, keepdim=True).sqrt()
            self.action_scale.copy_(effort.clamp(min=1e-3))

    def forward(self, obs: Tensor, action: Tensor, index: Tensor, mask: Tensor) -> Prediction:
        """One step ahead for obs (N, S, O), actions (N, S, A) and links (N, K) or (S, N, K)."""
        state = (self.encoder.own(obs) - self.state_mean) / self.state_std
        h0 = self.f_enc(state)  # (N, S, E), Eq. 2
        message = self._messages(h0, index, mask)  # Eq. 3
        h1 = self.f_node(self._acted_on(message, action / self.action_scale))
        out = self.f_out(h1)  # Eq. 4, with the skip connection
        o = self.obs_dim
        next_obs = obs + out[..., :o] * self.delta_std
        reward, done = out[..., o], out[..., o + 1]
        if not self.gaussian:
            return Prediction(next_obs, reward, done, None, None)
        log_var = out[..., o + 2 :]
        log_var = MIN_LOG_VAR + nn.functional.softplus(log_var - MIN_LOG_VAR)
        log_var = MAX_LOG_VAR - nn.functional.softplus(MAX_LOG_VAR - log_var)
        return Prediction(next_obs, reward, done, log_var[..., :-1], log_var[..., -1])

    def _acted_on(self, message: Tensor, action: Tensor) -> Tensor:
        """What f_node sees of messages (N, S, D) and actions (N, S, A)."""
        if self.choices:  # each has maps of its own, as gains to choose from multiply the state
            known = torch.cat([message, torch.ones_like(message[..., :1])], -1)
            return (action[..., :, None] * known[..., None, :]).flatten(-2)
        # Effort is commonly charged on |a|, which a smooth network rounds off at 0.
        return torch.cat([message, action, action.abs()], -1)

    def _messages(self, h0: Tensor, index: Tensor, mask: Tensor) -> Tensor:
        """Sum over neighbours j of f_edge_(i,j)(h0_i, h0_j): (N, S, D)."""
        n, samples, _ = h0.shape
        received = neighbour_states(h0.detach().transpose(0, 1), index)  # (N, K, S, E)
        present = mask[:, :, None, None] if mask.dim() == 2 else slots_first(mask)[..., None]
        k = received.shape[1]
        pair = torch.cat([h0[:, None].expand(-1, k, -1, -1), received], -1)  # (N, K, S, 2E)
        if self.shared:
            edges = self.f_edge(pair.transpose(0, 1).reshape(k, n * samples, -1))
            edges = edges.view(k, n, samples, -1).transpose(0, 1)
        else:
            edges = self.f_edge(pair.reshape(n * k, samples, -1)).view(n, k, samples, -1)
        return torch.where(present, edges, 0.0).sum(1)

    def rewards(self, predicted: Tensor, done: Tensor | None = None) -> Tensor:
        """Predicted rewards (N, S) in units of the reward.

        Where ``done`` (S,) says that the episode ends, what ends have paid on average.
        """
        reward = self.reward_unit * _stretch(self.reward_mean + predicted * self.reward_std)
        return reward if done is None else torch.where(done, self.end_reward, reward)

    def normalised_rewards(self, reward: Tensor) -> Tensor:
        """The inverse of ``rewards``.

        Costs are often squares: a vehicle far from its place pays 1,000 times
        what one near it pays, and both matter.
        """
        return (_squash(reward / self.reward_unit) - self.reward_mean) / self.reward_std

    def bounded(self, obs: Tensor) -> Tensor:
        """Predicted features within their bounds, those that wrap within one lap."""
        if not len(self.encoder.period):
            return torch.minimum(torch.maximum(obs, self.low), self.high)
        lap = torch.where(self.wrap > 0.0, obs.remainder(self.wrap.clamp(min=1e-9)), obs)
        return torch.minimum(torch.maximum(lap, self.low), self.high)

    def difference(self, one: Tensor, other: Tensor) -> Tensor:
        """``one`` - ``other``, the short way round for features that wrap."""
        plain = one - other
        if not len(self.encoder.period):
            return plain
        half = self.wrap / 2
        around = (plain + half).remainder(self.wrap.clamp(min=1e-9)) - half
        return torch.where(self.wrap > 0.0, around, plain)


def _spread(x: Tensor) -> Tensor:
    return x.std(1, correction=0, keepdim=True).clamp(min=1e-3)


def _squash(x: Tensor) -> Tensor:
    """Linear near 0, a square root far from it (Pohlen et al., 2018)."""
    return x.sign() * ((x.abs() + 1.0).sqrt() - 1.0)


def _stretch(z: Tensor) -> Tensor:
    """The inverse of ``_squash``."""
    return z.sign() * ((z.abs() + 1.0).square() - 1.0)
