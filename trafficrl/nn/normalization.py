"""Running statistics of value targets, one set for each agent."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ValueNormalizer(nn.Module):
    """Mean and spread of each agent's returns as debiased moving averages over updates.

    With one set of figures all agents share it.
    """

    mean: Tensor
    square: Tensor
    weight: Tensor

    def __init__(self, sets: int, decay: float = 0.9, min_std: float = 1e-4) -> None:
        super().__init__()
        self.decay = decay
        self.min_std = min_std
        self.register_buffer("mean", torch.zeros(sets, 1, dtype=torch.float64))
        self.register_buffer("square", torch.zeros(sets, 1, dtype=torch.float64))
        self.register_buffer("weight", torch.zeros(1, dtype=torch.float64))

    @torch.no_grad()
    def update(self, values: Tensor) -> None:
        """Take in the returns (N, S) of one update."""
        # Doubles: the variance is a small difference of large numbers.
        values = values.reshape(len(self.mean), -1).double()
        self.mean.lerp_(values.mean(1, keepdim=True), 1 - self.decay)
        self.square.lerp_(values.square().mean(1, keepdim=True), 1 - self.decay)
        self.weight.lerp_(torch.ones_like(self.weight), 1 - self.decay)

    def normalize(self, values: Tensor) -> Tensor:
        """Returns (N, S) in units of their own mean and spread."""
        mean, std = self._moments()
        return (values - mean) / std

    def denormalize(self, values: Tensor) -> Tensor:
        """The inverse of ``normalize``."""
        mean, std = self._moments()
        return values * std + mean

    def _moments(self) -> tuple[Tensor, Tensor]:
        if self.weight.item() == 0.0:
            return torch.zeros_like(self.mean).float(), torch.ones_like(self.mean).float()
        mean = self.mean / self.weight
        variance = self.square / self.weight - mean.square()
        return mean.float(), variance.clamp(min=self.min_std**2).sqrt().float()
