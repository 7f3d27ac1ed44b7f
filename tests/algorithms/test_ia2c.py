"""IA2C: one gradient step a rollout, of each agent on its own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trafficrl.algorithms import IA2C
from trafficrl.algorithms.rollout import Links, Rollout
from trafficrl.config.algorithms import A2CSettings

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
    agents: int = AGENTS,
    obs_dim: int = 2,
    n_choices: int = 0,
    seed: int = 0,
    action_scale: float = 1.0,
    **settings,
) -> IA2C:
    spec = spec_on_a_line(agents, obs_dim, n_choices, action_scale)
    return IA2C(
        spec,
        A2CSettings(**{"policy_hidden": [8], "value_hidden": [8], **settings}),
        generator=torch.Generator().manual_seed(seed),
        device="cpu",
    )


def rollout_of(obs: Tensor, action: Tensor, reward: Tensor, links: Links, ends: bool) -> Rollout:
    """Steps with obs (B, T + 1, N, O); ``ends``: every step is an episode."""
    nothing = obs[:, :-1, :, :0]
    ended = torch.full(obs[:, :-1, 0, 0].shape, ends)
    return Rollout(
        obs=obs[:, :-1],
        action=action,
        log_prob=torch.zeros_like(reward),
        reward=reward,
        next_obs=obs[:, 1:],
        terminated=ended,
        truncated=torch.zeros_like(ended),
        active=torch.ones_like(ended),
        memory=nothing,
        next_memory=nothing,
        links=links,
        next_links=links,
    )


def random_rollout(one: IA2C, *, changing: bool = False, seed: int = 1) -> Rollout:
    replicas, steps, agents = 3, 6, one.spec.n_agents
    draw = torch.Generator().manual_seed(seed)
    obs = torch.randn(replicas, steps + 1, agents, one.spec.obs_dim, generator=draw)
    reward = torch.randn(replicas, steps, agents, generator=draw)
    now, links = links_on_a_line(agents), links_on_a_line(agents)
    if changing:
        now, links = (links_on_a_line(agents, shape) for shape in ((replicas,), (replicas, steps)))
    nothing = torch.zeros(replicas, agents, 0)
    acted = [one.act(obs[:, t], now, nothing, draw).action for t in range(steps)]
    return rollout_of(obs, torch.stack(acted, 1), reward, links, ends=False)


def moved(before: dict[str, Tensor], after: dict[str, Tensor], part: str) -> list[bool]:
    """Which agents' weights of ``part`` have changed."""
    changed = torch.zeros(AGENTS, dtype=torch.bool)
    for name in before:
        if name.startswith(part):
            changed |= (before[name] != after[name]).flatten(1).any(1)
    return changed.tolist()


def test_one_update_is_one_step_along_the_gradient_by_hand() -> None:
    """Mean 0, std 1, V = 0 everywhere; with lambda = 0 the advantage is the reward."""
    one = make(
        agents=2,
        obs_dim=1,
        policy_hidden=[],
        value_hidden=[],
        gamma=0.5,
        gae_lambda=0.0,
        entropy_coef=0.1,
        policy_lr=0.01,
        value_lr=0.02,
        initial_action_std=1.0,
        normalize_advantages=False,
        normalize_values=False,
    )
    policy, critic = one.policy.net.layers[0], one.critic.layers[0]
    with torch.no_grad():
        for layer in (policy, critic):
            layer.weight.zero_()
    obs = torch.tensor([[3.0, 1.0], [-1.0, 1.0], [0.0, 0.0]]).view(1, 3, 2, 1)
    action = torch.tensor([[1.0, -2.0], [0.5, 3.0]]).view(1, 2, 2, 1)
    reward = torch.tensor([[[2.0, 1.0], [-1.0, 4.0]]])
    one.update(rollout_of(obs, action, reward, links_on_a_line(2), ends=False), streams(), 0.0)
    # grad log pi = a at mean 0: -(2 * 1 - 1 * 0.5) / 2 and -(1 * -2 + 4 * 3) / 2
    assert policy.bias.grad.flatten().tolist() == pytest.approx([-0.75, -5.0])
    # times the own observation: -(2 * 1 * 3 + 1 * 0.5 * 1) / 2 and -(-2 + 12) / 2
    assert policy.weight.grad[:, 0, 0].tolist() == pytest.approx([-3.25, -5.0])
    # a^2 - 1 for the log of the spread, and 0.1 of the entropy
    expected = [-(2 * 0 - 1 * -0.75) / 2 - 0.1, -(1 * 3 + 4 * 8) / 2 - 0.1]
    assert one.policy.log_std.grad.flatten().tolist() == pytest.approx(expected)
    # Returns are 1.5, -1 and 3, 4; the loss is their mean square.
    assert critic.bias.grad.flatten().tolist() == pytest.approx([-0.5, -7.0])
    # Adam's first step is the learning rate, whatever the size of the gradient.
    assert policy.bias.flatten().tolist() == pytest.approx([0.01] * 2, rel=1e-4)
    assert critic.bias.flatten().tolist() == pytest.approx([0.02] * 2, rel=1e-4)
    assert one.state_dict()["policy_optim"]["steps"].tolist() == [1, 1]
    assert one.state_dict()["value_optim"]["steps"].tolist() == [1, 1]


def test_a_reward_reaches_nobody_else() -> None:
    plain, changed = make(), make()
    rollout, other = random_rollout(plain), random_rollout(changed)
    other.reward[..., 1] += torch.arange(6.0)
    plain.update(rollout, streams(), 0.0)
    changed.update(other, streams(), 0.0)
    for part in ("policy", "critic"):
        assert moved(weights(plain), weights(changed), part) == [False, True, False, False]


def test_a_value_needs_the_own_observation_alone() -> None:
    one = make()
    obs = torch.randn(2, 3, AGENTS, 2, requires_grad=True)
    one.values(obs, links_on_a_line(AGENTS))[..., 1].sum().backward()
    assert (obs.grad.abs().amax((0, 1, 3)) > 0).tolist() == [False, True, False, False]


def test_samples_of_a_waiting_replica_do_not_count() -> None:
    one, other = make(), make()
    rollout, changed = random_rollout(one), random_rollout(other)
    for each in (rollout, changed):
        each.terminated[1, 2] = True
        each.active[1, 3:] = False
    changed.reward[1, 3:] += 7.0
    changed.obs[1, 3:] += 7.0
    assert one.update(rollout, streams(), 0.0) == other.update(changed, streams(), 0.0)


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


@pytest.mark.parametrize("share_parameters", [False, True])
def test_agents_learn_to_do_what_the_one_before_them_sees(share_parameters: bool) -> None:
    """Reward -(a_i - o_{i-1})^2, the first does what it sees itself: own plus difference."""
    one = make(
        obs_dim=1,
        policy_hidden=[],
        share_parameters=share_parameters,
        policy_lr=0.002,
        entropy_coef=0.0,
        action_scale=10.0,  # actions stay far from their bounds
    )
    draw, links = torch.Generator().manual_seed(0), links_on_a_line(AGENTS)
    nothing = torch.zeros(64, AGENTS, 0)
    for _ in range(400):
        obs = torch.randn(64, 2, AGENTS, 1, generator=draw)
        action = one.act(obs[:, 0], links, nothing, draw).action[:, None]
        best = torch.cat([obs[:, 0, :1], obs[:, 0, :-1]], 1)
        reward = -(action[:, 0] - best).square()[..., 0][:, None]
        one.update(rollout_of(obs, action, reward, links, ends=True), streams(), 0.0)
    error = one.act(obs[:, 0], links, nothing, None).action - best
    assert error.square().mean() < 0.02  # doing nothing has 1


def test_nobody_helps_at_a_cost_of_its_own() -> None:
    """Choice 1 costs an agent 0.4 and gives the other 1; each learns for itself."""
    one = make(agents=2, obs_dim=1, n_choices=2, policy_lr=0.02)
    draw, links = torch.Generator().manual_seed(0), links_on_a_line(2)
    for _ in range(60):
        obs = torch.randn(128, 2, 2, 1, generator=draw)
        action = one.act(obs[:, 0], links, torch.zeros(128, 2, 0), draw).action[:, None]
        reward = action.flip(-1) - 0.4 * action
        one.update(rollout_of(obs, action, reward, links, ends=True), streams(), 0.0)
    assert action.float().mean() < 0.05
