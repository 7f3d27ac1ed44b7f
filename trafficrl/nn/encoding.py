"""What networks are shown of observations: neighbours as differences, laps as angles."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from trafficrl.nn.stacked import neighbour_states, slots_first


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """One observation feature as the networks need to know it."""

    period: float = 0.0  # the feature jumps back by this much where a lap ends; 0: never
    gain: float = 1.0  # of a neighbour's difference
    low: float = -math.inf  # bounds that the feature is clipped to
    high: float = math.inf


class ObsEncoder(nn.Module):
    """Turns observations into the inputs of networks.

    A feature that wraps is shown as sine and cosine, so that nothing jumps
    where a lap ends. A neighbour's features are shown as differences to the
    own ones: what matters between vehicles is relative, and small.
    """

    period: Tensor
    _wrapping: Tensor  # which features do
    _others: Tensor
    _gain: Tensor

    def __init__(self, features: Sequence[FeatureSpec]) -> None:
        super().__init__()
        wraps = torch.tensor([f.period > 0.0 for f in features])
        periods = torch.tensor([f.period for f in features])[wraps]
        gain = torch.tensor([f.gain for f in features])
        for name, value in (
            ("period", periods),
            ("_wrapping", wraps.nonzero()[:, 0]),
            ("_others", (~wraps).nonzero()[:, 0]),
            ("_gain", gain),
        ):
            self.register_buffer(name, value, persistent=False)
        self.width = len(features) + len(periods)

    def own(self, obs: Tensor) -> Tensor:
        """Features as inputs: (..., O) to (..., W)."""
        if not len(self.period):
            return obs
        angle = 2.0 * math.pi * obs[..., self._wrapping] / self.period
        return torch.cat([obs[..., self._others], angle.sin(), angle.cos()], -1)

    def neighbourhood(self, obs: Tensor, index: Tensor, mask: Tensor) -> Tensor:
        """Each agent's neighbourhood side by side, agent-first: (..., N, O) to (N, S, K*W).

        Own features first, then the differences of each neighbour's to them;
        0 where there is no neighbour.
        """
        found = neighbour_states(obs, index)  # (N, K, S, O)
        own, others = found[:, :1], (found[:, 1:] - found[:, :1]) * self._gain
        # where, not a product: what lies outside the neighbourhood may be NaN.
        present = mask[:, 1:, None, None] if mask.dim() == 2 else slots_first(mask)[:, 1:, :, None]
        others = torch.where(present, self.own(others), 0.0)
        return torch.cat([self.own(own), others], 1).transpose(1, 2).flatten(2)
