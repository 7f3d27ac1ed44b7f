"""What a stretch of experience holds."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(slots=True)
class Rollout:
    """T control intervals of B replicas, as tensors.

    ``next_obs`` is what followed each action, also where the episode ended
    there: truncated steps are bootstrapped from it. Where ``active`` is False
    the replica was waiting for the others and the sample does not count.
    """

    obs: Tensor  # (B, T, N, O)
    action: Tensor  # (B, T, N, A), or (B, T, N) choices
    log_prob: Tensor  # (B, T, N)
    reward: Tensor  # (B, T, N)
    next_obs: Tensor  # (B, T, N, O)
    terminated: Tensor  # (B, T) bool
    truncated: Tensor  # (B, T) bool
    active: Tensor  # (B, T) bool
