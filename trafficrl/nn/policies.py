"""Policies of all agents, Gaussian and categorical, agent-first.

``inputs`` are (N, S, I). Actions are (N, S, A) in units of the action, or
(N, S) where they are choices; log-probabilities and entropies are (N, S).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from trafficrl.nn.finite import no_nan
from trafficrl.nn.stacked import StackedMLP

# Nearly equal actions everywhere at the start, whatever is observed.
OUTPUT_GAIN = 0.01
MIN_LOG_STD, MAX_LOG_STD = -6.0, 2.0  # of squashed policies


class Policy(Protocol):
    """What acting needs of a policy."""

    def sample(self, inputs: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw actions and give their log-probabilities."""

    def mode(self, inputs: Tensor) -> Tensor:
        """The most probable actions."""


class GaussianPolicy(nn.Module):
    """Independent normal distributions with a spread that does not depend on the state.

    Their means lie within ``center`` +- ``scale``, the range of the action: one far
    beyond it would draw actions that are all clipped to the same, and learn no more.
    """

    def __init__(
        self,
        sets: int,
        inputs: int,
        hidden: Sequence[int],
        action_dim: int,
        *,
        activation: str,
        center: float,
        scale: float,
        initial_mean: float,
        initial_std: float,
        min_std: float,
        learn_std: bool,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.net = StackedMLP(
            sets,
            inputs,
            hidden,
            action_dim,
            activation=activation,
            output_gain=OUTPUT_GAIN,
            generator=generator,
        )
        self.center, self.scale = center, scale
        self.initial = _unsquashed(initial_mean, center, scale)
        self.min_log_std = math.log(min_std)
        log_std = torch.full((sets, 1, action_dim), math.log(initial_std))
        self.log_std = nn.Parameter(log_std, requires_grad=learn_std)

    def mode(self, inputs: Tensor) -> Tensor:
        return self.center + self.scale * (self.initial + torch.as_tensor(self.net(inputs))).tanh()

    def sample(self, inputs: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        mean = self.mode(inputs)
        noise = torch.empty_like(mean).normal_(generator=generator)
        action = mean + noise * self._log_std().exp()
        return action, self._log_prob(mean, action)

    def evaluate(self, inputs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        entropy = (self._log_std() + 0.5 * math.log(2 * math.pi * math.e)).sum(-1)
        return self._log_prob(self.mode(inputs), action), entropy.expand(action.shape[:2])

    def _log_std(self) -> Tensor:
        return self.log_std.clamp(min=self.min_log_std)

    def _log_prob(self, mean: Tensor, action: Tensor) -> Tensor:
        log_std = self._log_std()
        error = (action - mean) / log_std.exp()
        return (-0.5 * error.square() - log_std - 0.5 * math.log(2 * math.pi)).sum(-1)


class CategoricalPolicy(nn.Module):
    """A probability for each of ``n_choices``."""

    def __init__(
        self,
        sets: int,
        inputs: int,
        hidden: Sequence[int],
        n_choices: int,
        *,
        activation: str,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.net = StackedMLP(
            sets,
            inputs,
            hidden,
            n_choices,
            activation=activation,
            output_gain=OUTPUT_GAIN,
            generator=generator,
        )

    def mode(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.net(inputs)
        return logits.argmax(-1)

    def log_probabilities(self, inputs: Tensor) -> Tensor:
        """Of every choice, (N, S, C)."""
        return torch.log_softmax(self.net(inputs), -1)

    def sample(self, inputs: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        action, log_p = self.draw(inputs, generator)
        return action, log_p.gather(-1, action[..., None])[..., 0]

    def draw(self, inputs: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """As ``sample``, with the log-probabilities of every choice, (N, S, C)."""
        log_p = no_nan("policy", self.log_probabilities(inputs))
        flat = log_p.detach().exp().flatten(0, 1)
        return torch.multinomial(flat, 1, generator=generator).view(log_p.shape[:2]), log_p

    def evaluate(self, inputs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
        log_p = self.log_probabilities(inputs)
        entropy = -(log_p.exp() * log_p).sum(-1)
        return log_p.gather(-1, action[..., None])[..., 0], entropy


class TanhGaussianPolicy(nn.Module):
    """Normal distributions squashed into the range of the action, spread by state.

    Actions lie within ``center`` +- ``scale``; densities are those of the
    action scaled to [-1, 1] (Haarnoja et al., 2018, appendix C).
    """

    def __init__(
        self,
        sets: int,
        inputs: int,
        hidden: Sequence[int],
        action_dim: int,
        *,
        activation: str,
        center: float,
        scale: float,
        initial_mean: float,
        initial_std: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.center, self.scale = center, scale
        self.net = StackedMLP(
            sets,
            inputs,
            hidden,
            2 * action_dim,
            activation=activation,
            output_gain=OUTPUT_GAIN,
            generator=generator,
        )
        self.initial = _unsquashed(initial_mean, center, scale)
        place = math.tanh(self.initial)
        self.initial_log_std = math.log(initial_std / (scale * max(0.02, 1.0 - place**2)))

    def mode(self, inputs: Tensor) -> Tensor:
        return self.center + self.scale * self._moments(inputs)[0].tanh()

    def sample(self, inputs: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Actions through which gradients flow, and their log-densities."""
        mean, log_std = self._moments(inputs)
        noise = torch.empty_like(mean).normal_(generator=generator)
        u = mean + noise * log_std.exp()
        normal = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
        # log(1 - tanh(u)^2) in a form that does not lose its digits.
        squash = 2.0 * (math.log(2.0) - u - nn.functional.softplus(-2.0 * u))
        return self.center + self.scale * u.tanh(), (normal - squash).sum(-1)

    def _moments(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_std = self.net(inputs).chunk(2, -1)
        log_std = (self.initial_log_std + log_std).clamp(MIN_LOG_STD, MAX_LOG_STD)
        return self.initial + mean, log_std


def _unsquashed(mean: float, center: float, scale: float) -> float:
    """What tanh takes to ``mean`` within ``center`` +- ``scale``.

    At most to 0.9 of the way to a bound: nearer it, a network hardly moves the mean.
    """
    return math.atanh(max(-0.9, min(0.9, (mean - center) / scale)))
