"""Returns and advantages over stretches of experience with episode ends in them.

All tensors are (B, T, N); ``terminated`` and ``ended`` are (B, T). An episode
that is truncated goes on in value: V of what followed is added, discounted.
"""

from __future__ import annotations

import torch
from torch import Tensor

from trafficrl.nn.stacked import neighbourhood_values


def gae(
    reward: Tensor,
    value: Tensor,
    next_value: Tensor,
    terminated: Tensor,
    ended: Tensor,
    *,
    gamma: float,
    gae_lambda: float,
) -> Tensor:
    """Generalised advantage estimation (Schulman et al., 2016, Eq. 16).

    A^t = delta^t + gamma * lambda * A^{t+1} within an episode, with
    delta^t = r^t + gamma * V(next) - V, and V(next) = 0 only after termination.
    """
    alive = (~terminated).to(reward.dtype)[..., None]
    same_episode = (~ended).to(reward.dtype)[..., None]
    delta = reward + gamma * alive * next_value - value
    advantage = torch.zeros_like(delta)
    carry = torch.zeros_like(delta[:, 0])
    for t in reversed(range(delta.shape[1])):
        carry = delta[:, t] + gamma * gae_lambda * same_episode[:, t] * carry
        advantage[:, t] = carry
    return advantage


def bootstrapped_returns(
    reward: Tensor,
    next_value: Tensor,
    terminated: Tensor,
    ended: Tensor,
    *,
    gamma: float,
) -> Tensor:
    """Eq. 5: the discounted rewards to the end of the stretch plus discounted V there.

    The paper prints the bootstrap without its discount gamma^(T-t).
    """
    zero = torch.zeros_like(next_value)
    # With V = 0 inside, lambda = 1 leaves rewards and the values at the ends.
    last = ended.clone()
    last[:, -1] = True
    at_ends = torch.where(last[..., None], next_value, zero)
    return gae(reward, zero, at_ends, terminated, ended, gamma=gamma, gae_lambda=1.0)


def neighbourhood_sum(values: Tensor, index: Tensor, mask: Tensor) -> Tensor:
    """Eq. 6: (1/n) times the sum of ``values`` (..., N) over each neighbourhood.

    ``index`` and ``mask`` are (N, K), or (..., N, K) where the graph changes.
    """
    found = neighbourhood_values(values[..., None], index, mask)  # (S, N, K, 1)
    return found.sum((2, 3)).view(values.shape) / values.shape[-1]
