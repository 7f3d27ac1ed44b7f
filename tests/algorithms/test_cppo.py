"""CPPO: one critic for the team, policies as decentralised as DPPO's."""

from __future__ import annotations

import pytest
import torch

from trafficrl.algorithms import CPPO
from trafficrl.algorithms.rollout import Rollout
from trafficrl.config.algorithms import PPOSettings

from .conftest import streams
from .lines import (
    assert_an_update_moves_everything,
    assert_learns_on_as,
    links_on_a_line,
    spec_on_a_line,
    weights,
)

AGENTS = 4


def make(
    agents: int = AGENTS, obs_dim: int = 2, n_choices: int = 0, seed: int = 0, **settings
) -> CPPO:
    spec = spec_on_a_line(agents, obs_dim, n_choices)
    small = {"policy_hidden": [8], "value_hidden": [8], "epochs": 2, "minibatches": 2}
    return CPPO(
        spec,
        PPOSettings(**{**small, **settings}),
        generator=torch.Generator().manual_seed(seed),
        device="cpu",
    )


def random_rollout(one: CPPO, *, changing: bool = False, seed: int = 1) -> Rollout:
    """Random observations and rewards under the present policy; nothing ends."""
    replicas, steps, agents = 3, 6, one.spec.n_agents
    draw = torch.Generator().manual_seed(seed)
    obs = torch.randn(replicas, steps + 1, agents, one.spec.obs_dim, generator=draw)
    now = links_on_a_line(agents, (replicas,)) if changing else links_on_a_line(agents)
    nothing = torch.zeros(replicas, agents, 0)
    acted = [one.act(obs[:, t], now, nothing, draw) for t in range(steps)]
    never = torch.zeros(replicas, steps, dtype=torch.bool)
    links = links_on_a_line(agents, (replicas, steps)) if changing else now
    return Rollout(
        obs=obs[:, :-1],
        action=torch.stack([decision.action for decision in acted], 1),
        log_prob=torch.stack([decision.log_prob for decision in acted], 1),
        reward=torch.randn(replicas, steps, agents, generator=draw),
        next_obs=obs[:, 1:],
        terminated=never,
        truncated=never.clone(),
        active=~never,
        memory=torch.zeros(replicas, steps, agents, 0),
        next_memory=torch.zeros(replicas, steps, agents, 0),
        links=links,
        next_links=links,
    )


def test_the_advantage_is_the_teams_by_hand() -> None:
    """V = o_0 + 2 o_1 is 1, 2, 3; the team's rewards are 1 and 3; gamma = lambda = 0.5."""
    one = make(
        agents=2,
        obs_dim=1,
        value_hidden=[],
        gamma=0.5,
        gae_lambda=0.5,
        normalize_advantages=False,
        normalize_values=False,
    )
    with torch.no_grad():
        one.critic.layers[0].weight.copy_(torch.tensor([1.0, 2.0]).view(1, 2, 1))
        one.critic.layers[0].bias.zero_()
    obs = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]).view(1, 3, 2, 1)
    never = torch.zeros(1, 2, dtype=torch.bool)
    rollout = Rollout(
        obs=obs[:, :-1],
        action=torch.zeros(1, 2, 2, 1),
        log_prob=torch.zeros(1, 2, 2),
        reward=torch.tensor([[[2.0, 0.0], [7.0, -1.0]]]),
        next_obs=obs[:, 1:],
        terminated=never,
        truncated=never,
        active=~never,
        memory=torch.zeros(1, 2, 2, 0),
        next_memory=torch.zeros(1, 2, 2, 0),
        links=links_on_a_line(2),
        next_links=links_on_a_line(2),
    )
    data = one._prepare(rollout)
    # delta = 1 + 2/2 - 1 = 1 and 3 + 3/2 - 2 = 2.5
    torch.testing.assert_close(data["advantage"], torch.tensor([[1.625, 2.5]] * 2))
    torch.testing.assert_close(data["returns"], torch.tensor([[3.25, 4.5]] * 2))


def test_one_value_for_all_needs_everybodys_observation() -> None:
    one = make()
    assert {len(parameter) for parameter in one.critic.parameters()} == {1}
    obs = torch.randn(2, 3, AGENTS, 2, requires_grad=True)
    values = one.values(obs, links_on_a_line(AGENTS))
    assert values.shape == (2, 3, AGENTS) and (values == values[..., :1]).all()
    values[1, 2, 0].backward()
    assert (obs.grad[1, 2] != 0).all()
    assert obs.grad.count_nonzero() == AGENTS * 2  # nothing of other times and replicas


def test_an_action_needs_the_closed_1_hop_neighbourhood_alone() -> None:
    one, obs = make(), torch.randn(3, AGENTS, 2)
    changed = obs.clone()
    changed[:, 0] += 1.0
    nothing, links = torch.zeros(3, AGENTS, 0), links_on_a_line(AGENTS)
    moved = (
        one.act(obs, links, nothing, None).action != one.act(changed, links, nothing, None).action
    )
    assert moved.all(0).flatten().tolist() == [True, True, False, False]


def test_the_kl_stop_is_each_agents_own() -> None:
    one = make(target_kl=0.5)
    rollout = random_rollout(one)
    rollout.log_prob[..., 2] -= 1.0  # a KL estimate of e - 2 = 0.72
    before = weights(one)
    metrics = one.update(rollout, streams(), 0.0)
    moved = torch.zeros(AGENTS, dtype=torch.bool)
    for name, after in weights(one).items():
        if name.startswith("policy"):
            moved |= (after != before[name]).flatten(1).any(1)
    assert moved.tolist() == [True, True, False, True]
    assert metrics["kl_stopped"] == pytest.approx(1 / AGENTS)


@pytest.mark.parametrize("changing", [False, True])
@pytest.mark.parametrize("n_choices", [0, 3])
@pytest.mark.parametrize("share_parameters", [False, True])
def test_an_update_moves_everything_whatever_the_setting(
    share_parameters: bool, n_choices: int, changing: bool
) -> None:
    one = make(share_parameters=share_parameters, n_choices=n_choices)
    assert_an_update_moves_everything(one, random_rollout(one, changing=changing))


@pytest.mark.parametrize("n_choices", [0, 3])
def test_a_saved_algorithm_learns_on_as_the_original(n_choices: int) -> None:
    one, other = (make(n_choices=n_choices, seed=seed) for seed in (0, 1))
    assert_learns_on_as(one, other, random_rollout)


def test_agents_learn_to_help_at_a_cost_of_their_own() -> None:
    """Choice 1 costs an agent 0.4 and gives the other 1: bad for itself, good for the team."""
    replicas, steps = 32, 4
    one = make(agents=2, obs_dim=1, n_choices=2, policy_lr=1e-2, target_kl=None)
    draw, links = torch.Generator().manual_seed(0), links_on_a_line(2)
    over = torch.ones(replicas, steps, dtype=torch.bool)
    nothing = torch.zeros(replicas, steps, 2, 0)
    for _ in range(20):
        obs = torch.randn(replicas, steps, 2, 1, generator=draw)
        acted = [one.act(obs[:, t], links, nothing[:, t], draw) for t in range(steps)]
        action = torch.stack([decision.action for decision in acted], 1)
        log_prob = torch.stack([decision.log_prob for decision in acted], 1)
        reward = action.flip(-1) - 0.4 * action
        ends = over, ~over, over
        rollout = Rollout(obs, action, log_prob, reward, obs, *ends, nothing, nothing, links, links)
        one.update(rollout, streams(), 0.0)
    assert action.float().mean() > 0.95
