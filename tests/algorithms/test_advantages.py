"""Returns and advantages against arithmetic that can be followed by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trafficrl.algorithms.advantages import bootstrapped_returns, gae, neighbourhood_sum
from trafficrl.nn.encoding import FeatureSpec

from .systems import Team


def column(*values: float) -> Tensor:
    """One replica, one agent: (1, T, 1)."""
    return torch.tensor(values, dtype=torch.float64).view(1, -1, 1)


def flags(*values: int) -> Tensor:
    return torch.tensor([values], dtype=torch.bool)


REWARD = column(1.0, 2.0, 3.0)
VALUE = column(10.0, 20.0, 30.0)
NEXT_VALUE = column(20.0, 30.0, 40.0)
NEVER = flags(0, 0, 0)
MIDDLE, END = flags(0, 1, 0), flags(0, 0, 1)


def advantages(
    terminated: Tensor, ended: Tensor, *, gamma: float = 0.5, gae_lambda: float = 0.5
) -> list[float]:
    result = gae(REWARD, VALUE, NEXT_VALUE, terminated, ended, gamma=gamma, gae_lambda=gae_lambda)
    return result.flatten().tolist()


def returns(terminated: Tensor, ended: Tensor, *, gamma: float = 0.5) -> list[float]:
    result = bootstrapped_returns(REWARD, NEXT_VALUE, terminated, ended, gamma=gamma)
    return result.flatten().tolist()


def test_gae_by_hand() -> None:
    # delta = r + V(next) / 2 - V: 1 + 10 - 10 = 1, 2 + 15 - 20 = -3, 3 + 20 - 30 = -7.
    # A2 = -7; A1 = -3 - 7 / 4 = -4.75; A0 = 1 - 4.75 / 4 = -0.1875.
    assert advantages(NEVER, NEVER) == [-0.1875, -4.75, -7.0]


def test_truncation_bootstraps_and_cuts() -> None:
    # The same deltas, but A1 = delta1 = -3, so A0 = 1 - 3 / 4.
    assert advantages(NEVER, MIDDLE) == [0.25, -3.0, -7.0]


def test_termination_does_not_bootstrap() -> None:
    # delta1 = 2 - 20 = -18 = A1; A0 = 1 - 18 / 4.
    assert advantages(MIDDLE, MIDDLE) == [-3.5, -18.0, -7.0]


def test_lambda_0_is_the_temporal_difference() -> None:
    assert advantages(NEVER, NEVER, gae_lambda=0.0) == [1.0, -3.0, -7.0]


@pytest.mark.parametrize("terminated", [NEVER, MIDDLE, END])
def test_lambda_1_is_the_return_less_the_value(terminated: Tensor) -> None:
    # Inside an episode the values must be consistent: V(next) is V of the next step.
    found = advantages(terminated, terminated, gae_lambda=1.0)
    expected = [
        target - value
        for target, value in zip(
            returns(terminated, terminated), VALUE.flatten().tolist(), strict=True
        )
    ]
    assert found == pytest.approx(expected)


def test_the_bootstrap_of_a_return_is_discounted() -> None:
    # R2 = 3 + 40 / 2 = 23; R1 = 2 + 3 / 2 + 40 / 4 = 13.5; R0 = 1 + 1 + 3 / 4 + 40 / 8 = 7.75:
    # the factor of V at step t is gamma^(T - t).
    assert returns(NEVER, NEVER) == [7.75, 13.5, 23.0]
    assert returns(NEVER, END) == [7.75, 13.5, 23.0]


def test_returns_bootstrap_at_truncation_and_not_at_termination() -> None:
    # Truncated after step 1: R1 = 2 + 30 / 2 = 17, R0 = 1 + 17 / 2; terminated: R1 = 2.
    assert returns(NEVER, MIDDLE) == [9.5, 17.0, 23.0]
    assert returns(MIDDLE, MIDDLE) == [2.0, 2.0, 23.0]


def test_without_discount_a_return_is_the_sum() -> None:
    assert returns(END, END, gamma=1.0) == [6.0, 5.0, 3.0]


@pytest.mark.parametrize("terminated", [NEVER, MIDDLE])
def test_nothing_leaks_over_the_end_of_an_episode(terminated: Tensor) -> None:
    later = torch.tensor([0.0, 0.0, 1e6], dtype=torch.float64).view(1, 3, 1)
    settings = {"gamma": 0.9, "gae_lambda": 0.9}
    changed = gae(REWARD + later, VALUE - later, NEXT_VALUE + later, terminated, MIDDLE, **settings)
    assert changed[0, :2].flatten().tolist() == advantages(terminated, MIDDLE, **settings)[:2]
    shifted = bootstrapped_returns(
        REWARD + later, NEXT_VALUE + later, terminated, MIDDLE, gamma=0.9
    )
    assert shifted[0, :2].flatten().tolist() == returns(terminated, MIDDLE, gamma=0.9)[:2]


def test_replicas_and_agents_are_on_their_own() -> None:
    draw = torch.Generator().manual_seed(0)
    replicas, steps, agents = 3, 6, 2
    reward, value, next_value = (
        torch.randn(replicas, steps, agents, generator=draw) for _ in range(3)
    )
    ended = torch.rand(replicas, steps, generator=draw) < 0.3
    terminated = ended & (torch.rand(replicas, steps, generator=draw) < 0.5)
    together = gae(reward, value, next_value, terminated, ended, gamma=0.9, gae_lambda=0.8)
    for b in range(replicas):
        for n in range(agents):
            carry = 0.0
            for t in reversed(range(steps)):
                bootstrap = 0.0 if terminated[b, t] else 0.9 * next_value[b, t, n].item()
                delta = reward[b, t, n].item() + bootstrap - value[b, t, n].item()
                carry = delta + (0.0 if ended[b, t] else 0.9 * 0.8 * carry)
                assert together[b, t, n].item() == pytest.approx(carry, abs=1e-5)


# --- Eq. 6


def line(agents: int, hops: int) -> tuple[Tensor, Tensor]:
    """Padded neighbourhoods (N, K) on a line of agents."""
    width = 2 * hops + 1
    index = torch.arange(agents)[:, None] + torch.arange(-hops, hops + 1)
    mask = (index >= 0) & (index < agents)
    assert index.shape == (agents, width)
    return torch.where(mask, index, torch.arange(agents)[:, None]), mask


@pytest.mark.parametrize("hops", [0, 1, 2])
@pytest.mark.parametrize("dynamic", [False, True])
def test_the_neighbourhood_sum_is_that_of_a_loop_over_n(hops: int, dynamic: bool) -> None:
    agents = 5
    values = torch.randn(2, 3, agents, generator=torch.Generator().manual_seed(0))
    index, mask = line(agents, hops)
    if dynamic:
        index, mask = (x.expand(2, 3, *x.shape) for x in (index, mask))
    found = neighbourhood_sum(values, index, mask)
    for b in range(2):
        for t in range(3):
            for i in range(agents):
                near = [j for j in range(agents) if abs(i - j) <= hops]
                expected = sum(values[b, t, j].item() for j in near) / agents
                assert found[b, t, i].item() == pytest.approx(expected, abs=1e-6)


def test_the_neighbourhood_sum_follows_a_graph_that_changes() -> None:
    # Two agents, two steps: apart at first, then in touch. n = 2.
    values = torch.tensor([[[1.0, 10.0], [2.0, 20.0]]])
    index = torch.tensor([[0, 1], [1, 0]]).expand(1, 2, 2, 2)
    mask = torch.tensor([[[[1, 0], [1, 0]], [[1, 1], [1, 1]]]], dtype=torch.bool)
    assert neighbourhood_sum(values, index, mask).tolist() == [[[0.5, 5.0], [11.0, 11.0]]]


def test_values_beyond_the_neighbourhood_may_be_unknown() -> None:
    index, mask = line(3, 1)
    values = torch.tensor([1.0, 2.0, torch.nan])
    found = neighbourhood_sum(values[None, None], index, mask)[0, 0]
    assert found[0].item() == 1.0 and found[1:].isnan().all()


# --- both together, as DPPO learns from them


def test_advantages_are_of_the_reduced_value_and_returns_of_the_own_reward_by_hand() -> None:
    """Three agents on a line, kappa = 1, V_i = s_i, gamma = lambda = 0.5.

    V~ is (3, 6, 5), (1, 3, 3) and, where the stretch ends, (2, 3, 1); rewards
    are (1, 3, 2) and (1, 4, 4) in the neighbourhoods: sums over 3.
    """
    team = Team(
        "dppo",
        agents=3,
        features=[FeatureSpec()],
        value_hidden=[],
        gamma=0.5,
        gae_lambda=0.5,
        normalize_values=False,
        normalize_advantages=False,
    )
    critic = team.algorithm.critic.layers[0]
    with torch.no_grad():
        critic.weight.zero_()
        critic.weight[:, 0] = 1.0
    rollout = team.rollout(replicas=1, steps=2)
    rollout.obs = torch.tensor([[3.0, 6.0, 9.0], [0.0, 3.0, 6.0]])[None, ..., None]
    rollout.next_obs = torch.tensor([[0.0, 3.0, 6.0], [6.0, 0.0, 3.0]])[None, ..., None]
    rollout.reward = torch.tensor([[[3.0, 0.0, 6.0], [0.0, 3.0, 9.0]]])
    data = team.algorithm._prepare(rollout)
    # delta = -1.5 for all at first, then 1 + 1 - 1, 4 + 1.5 - 3 and 4 + 0.5 - 3.
    expected = [[-1.25, 1.0], [-0.875, 2.5], [-1.125, 1.5]]
    assert data["advantage"].tolist() == [pytest.approx(row, abs=1e-6) for row in expected]
    expected = [[4.5, 3.0], [1.5, 3.0], [11.25, 10.5]]
    assert data["returns"].tolist() == [pytest.approx(row, abs=1e-6) for row in expected]
