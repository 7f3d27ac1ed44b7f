"""What networks see: own features, neighbours as differences, laps as angles."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from trafficrl.nn.encoding import FeatureSpec, ObsEncoder

PLAIN = FeatureSpec()
AGENTS = 5


def line(agents: int = AGENTS) -> tuple[Tensor, Tensor]:
    """Agent, the one ahead (i - 1), the one behind (i + 1): index and mask (N, 3)."""
    own = torch.arange(agents)[:, None]
    index = own + torch.tensor([0, -1, 1])
    mask = (index >= 0) & (index < agents)
    return torch.where(mask, index, own), mask


def random_obs(*leading: int, features: int = 2, seed: int = 0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(*leading, AGENTS, features, generator=draw)


# --- neighbours


def test_neighbours_are_differences_times_the_gain_by_hand() -> None:
    encoder = ObsEncoder([PLAIN, FeatureSpec(gain=10.0)])
    obs = torch.tensor([[1.0, 0.5], [4.0, 0.25], [2.0, 1.0]])  # from the front to the back
    inputs = encoder.neighbourhood(obs[None], *line(3))
    assert encoder.width == 2
    assert inputs[:, 0].tolist() == [
        # own         ahead          behind
        [1.0, 0.5, 0.0, 0.0, 3.0, -2.5],
        [4.0, 0.25, -3.0, 2.5, -2.0, 7.5],
        [2.0, 1.0, 2.0, -7.5, 0.0, 0.0],
    ]


@pytest.mark.parametrize("period", [0.0, 1.0])
@pytest.mark.parametrize("changing", [False, True])
def test_an_absent_neighbour_is_0_whatever_stands_there(period: float, changing: bool) -> None:
    encoder = ObsEncoder([PLAIN, FeatureSpec(period=period)])
    index = torch.tensor([[0, 1, 1], [1, 0, 2], [2, 0, 0]])
    mask = torch.tensor([[1, 0, 0], [1, 1, 1], [1, 0, 1]], dtype=torch.bool)
    if changing:
        index, mask = index[None], mask[None]
    obs = torch.tensor([[0.5, 0.1], [torch.nan, torch.nan], [2.0, 0.4]])[None]
    inputs = encoder.neighbourhood(obs, index, mask).view(3, 3, encoder.width)
    assert (inputs[0, 1:] == 0).all() and (inputs[2, 1] == 0).all()
    assert inputs[[0, 2]].isfinite().all() and (inputs[2, 2] != 0).all()


def test_a_neighbour_in_the_same_state_is_not_an_absent_one_where_laps_are_seen() -> None:
    encoder = ObsEncoder([FeatureSpec(period=1.0)])
    inputs = encoder.neighbourhood(torch.full((1, 3, 1), 0.3), *line(3)).view(3, 3, 2)
    assert inputs[0, 1].tolist() == [0.0, 0.0] and inputs[1, 1].tolist() == [0.0, 1.0]


def test_a_lone_agent_sees_itself() -> None:
    encoder = ObsEncoder([PLAIN, PLAIN])
    obs, own = random_obs(4), torch.arange(AGENTS)[:, None]
    for index in (own, own.expand(4, AGENTS, 1)):
        inputs = encoder.neighbourhood(obs, index, torch.ones_like(index, dtype=torch.bool))
        assert torch.equal(inputs, obs.transpose(0, 1))


@pytest.mark.parametrize("agent", range(AGENTS))
def test_inputs_do_not_depend_on_agents_beyond_the_neighbourhood(agent: int) -> None:
    encoder = ObsEncoder([PLAIN, FeatureSpec(period=1.0), FeatureSpec(gain=5.0)])
    obs = random_obs(4, features=3).requires_grad_()
    weights = torch.randn(4, 3 * encoder.width, generator=torch.Generator().manual_seed(1))
    (encoder.neighbourhood(obs, *line())[agent] * weights).sum().backward()
    gradient = obs.grad.abs().amin((0, 2)), obs.grad.abs().amax((0, 2))
    near = torch.tensor([abs(agent - other) <= 1 for other in range(AGENTS)])
    assert (gradient[0][near] > 0).all() and (gradient[1][~near] == 0).all()


@pytest.mark.parametrize("leading", [(4,), (2, 3)])
def test_links_that_change_and_links_that_do_not_agree(leading: tuple[int, ...]) -> None:
    encoder = ObsEncoder([FeatureSpec(period=2.0), FeatureSpec(gain=3.0)])
    obs, (index, mask) = random_obs(*leading), line()
    fixed = encoder.neighbourhood(obs, index, mask)
    every = (*leading, AGENTS, 3)
    assert fixed.shape == (AGENTS, math.prod(leading), 3 * encoder.width)
    assert torch.equal(encoder.neighbourhood(obs, index.expand(every), mask.expand(every)), fixed)


def test_every_state_is_seen_through_its_own_links() -> None:
    encoder, obs = ObsEncoder([PLAIN, PLAIN]), random_obs(2)
    index, mask = line()
    alone = torch.zeros_like(mask)
    alone[:, 0] = True
    both = encoder.neighbourhood(obs, index.expand(2, -1, -1), torch.stack([mask, alone]))
    assert torch.equal(both[:, :1], encoder.neighbourhood(obs[:1], index, mask))
    assert torch.equal(both[:, 1:], encoder.neighbourhood(obs[1:], index, alone))


# --- laps


@pytest.mark.parametrize("period", [1.0, 4.0])
def test_nothing_jumps_where_a_lap_ends(period: float) -> None:
    """Agent 0 drives over the end of the lap; agent 1 is behind, at 0.97."""
    encoder = ObsEncoder([FeatureSpec(period=period)])
    before, after = torch.tensor([0.999, 0.97]), torch.tensor([0.001, 0.97])
    seen = encoder.neighbourhood(
        period * torch.stack([before, after])[..., None],
        torch.tensor([[0, 1], [1, 0]]),
        torch.ones(2, 2, dtype=torch.bool),
    )
    assert (seen[:, 0] - seen[:, 1]).abs().max() < 2 * math.pi * 0.0021
    # Agent 1 sees itself and, 0.031 laps ahead, agent 0.
    turn = 2 * math.pi
    expected = [math.sin(turn * 0.97), math.cos(turn * 0.97)]
    expected += [math.sin(turn * 0.031), math.cos(turn * 0.031)]
    assert seen[1, 1].tolist() == pytest.approx(expected, abs=1e-5)


def test_places_of_a_lap_are_told_apart() -> None:
    encoder = ObsEncoder([FeatureSpec(period=1.0)])
    seen = encoder.own(torch.arange(0.0, 1.0, 0.01)[:, None])
    apart = torch.cdist(seen, seen) + 2 * torch.eye(100)
    assert apart.min() > 0.05


def test_features_that_do_not_wrap_come_first_and_stay_as_they_are() -> None:
    encoder = ObsEncoder([FeatureSpec(period=1.0), PLAIN, FeatureSpec(gain=9.0)])
    own = encoder.own(torch.tensor([0.25, 7.0, -3.0]))
    assert encoder.width == 4
    assert own.tolist() == pytest.approx([7.0, -3.0, 1.0, 0.0], abs=1e-6)
