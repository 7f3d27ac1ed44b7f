"""DSAC by hand: targets, losses, temperatures, and what its critics are shown."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, TanhTransform, TransformedDistribution

from trafficrl.algorithms import DSAC
from trafficrl.algorithms.rollout import Links
from trafficrl.nn.encoding import FeatureSpec
from trafficrl.nn.policies import MAX_LOG_STD, MIN_LOG_STD, TanhGaussianPolicy

from .conftest import streams
from .systems import Team, moved, parameters_of

PLAIN = [FeatureSpec()]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pair(n_choices: int = 2, **changes: Any) -> DSAC:
    """Two agents with one feature and networks that are nothing but their biases."""
    one = Team(
        "dsac",
        agents=2,
        features=PLAIN,
        n_choices=n_choices,
        **{
            "policy_hidden": [],
            "value_hidden": [],
            "gamma": 0.5,
            "normalize_rewards": False,
            **changes,
        },
    )
    with torch.no_grad():
        for part in (one.algorithm.policy, one.algorithm.critic, one.algorithm.target):
            for parameter in part.parameters():
                parameter.zero_()
    return one.algorithm


def set_bias(network: Any, values: list[list[float]]) -> None:
    """Outputs of each row of a network, whatever the input."""
    with torch.no_grad():
        network.layers[-1].bias.copy_(torch.tensor(values)[:, None])


def batch_of(one: DSAC, **columns: Any) -> dict[str, Any]:
    """One sample of two agents, by hand."""
    action = torch.zeros(2, 1, dtype=torch.long) if one.spec.n_choices else torch.zeros(2, 1, 1)
    links = Team("dsac", agents=2, features=PLAIN, value_hops=one.value_hops).links()
    return {
        "obs": torch.zeros(1, 2, 1),
        "next_obs": torch.zeros(1, 2, 1),
        "action": action,
        "reward": torch.tensor([[1.0], [2.0]]),
        "alive": torch.ones(1),
        "links": links,
        "next_links": links,
        **columns,
    }


# --- targets and losses by hand


def choosing() -> DSAC:
    """pi = (1/4, 3/4) and (1/2, 1/2); the smaller of both Q is (1, 2) and (-1, 0)."""
    one = pair()
    set_bias(one.policy.net, [[0.0, math.log(3.0)], [5.0, 5.0]])
    first, second = [[1.0, 4.0], [-1.0, 3.0]], [[3.0, 2.0], [6.0, 0.0]]
    set_bias(one.critic, [*first, *second])
    set_bias(one.target, [*first, *second])
    return one


def test_the_soft_target_of_choices_by_hand() -> None:
    one = choosing()
    temperature = torch.tensor([[0.5], [2.0]])
    found = one._soft_target(batch_of(one), temperature, generator())
    # V = sum pi (min Q - temperature log pi); y = r + V / 2
    first = 0.25 * (1.0 - 0.5 * math.log(0.25)) + 0.75 * (2.0 - 0.5 * math.log(0.75))
    second = 0.5 * (-1.0 + 2.0 * math.log(2.0)) + 0.5 * (0.0 + 2.0 * math.log(2.0))
    assert found.flatten().tolist() == pytest.approx([1.0 + first / 2, 2.0 + second / 2])
    over = one._soft_target(batch_of(one, alive=torch.zeros(1)), temperature, generator())
    assert over.flatten().tolist() == [1.0, 2.0]


def test_the_policy_loss_of_choices_by_hand() -> None:
    one = choosing()
    batch, temperature = batch_of(one), torch.tensor([[0.5], [2.0]])
    inputs = one.encoder.neighbourhood(batch["obs"], *batch["links"].policy)
    loss, entropy = one._policy_loss(inputs, batch, temperature, generator())
    first = 0.25 * (0.5 * math.log(0.25) - 1.0) + 0.75 * (0.5 * math.log(0.75) - 2.0)
    second = -2.0 * math.log(2.0) + 0.5
    assert loss.tolist() == pytest.approx([first, second])
    surprise = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    assert entropy.tolist() == pytest.approx([surprise, math.log(2.0)])


def test_the_soft_target_of_continuous_actions_by_hand() -> None:
    """min Q = 3 and -1, whatever the action: y = r + (min Q - temperature log pi) / 2."""
    one = pair(n_choices=0)
    set_bias(one.target, [[3.0], [4.0], [5.0], [-1.0]])
    temperature, batch = torch.tensor([[0.5], [2.0]]), batch_of(one)
    inputs = one.encoder.neighbourhood(batch["next_obs"], *batch["next_links"].policy)
    _, log_prob = one.policy.sample(inputs, generator(3))
    found = one._soft_target(batch, temperature, generator(3))
    p, q = log_prob.flatten().tolist()
    expected = [1.0 + (3.0 - 0.5 * p) / 2, 2.0 + (-1.0 - 2.0 * q) / 2]
    assert found.flatten().tolist() == pytest.approx(expected)
    loss, entropy = one._policy_loss(inputs, batch, temperature, generator(3))
    assert loss.tolist() == pytest.approx([0.5 * p, 2.0 * q])  # critics are 0 still
    set_bias(one.critic, [[1.0], [2.0], [4.0], [-3.0]])
    loss, _ = one._policy_loss(inputs, batch, temperature, generator(3))
    assert loss.tolist() == pytest.approx([0.5 * p - 1.0, 2.0 * q + 3.0])
    assert entropy.tolist() == pytest.approx([-p, -q])


def test_targets_carry_no_gradient() -> None:
    for n_choices in (0, 2):
        one = pair(n_choices)
        found = one._soft_target(batch_of(one), torch.ones(2, 1), generator())
        assert not found.requires_grad


@pytest.mark.parametrize(("hops", "expected"), [(0, [0.5, 2.0, 4.0]), (1, [2.5, 6.5, 6.0])])
def test_rewards_are_summed_over_the_critics_neighbourhood(
    hops: int, expected: list[float]
) -> None:
    """(1/n) sum over kappa hops of rewards 1.5, 6, 12 on a line of n = 3 (Eq. 6)."""
    team = Team("dsac", agents=3, value_hops=hops, normalize_rewards=False)
    rollout = team.rollout(replicas=1, steps=1)
    rollout.reward = torch.tensor([[[1.5, 6.0, 12.0]]])
    team.algorithm.remember(rollout, streams())
    found = team.algorithm._batch(team.algorithm.replay, torch.tensor([0]))["reward"]
    assert found.flatten().tolist() == pytest.approx(expected)


def test_only_an_episode_that_terminated_is_not_bootstrapped() -> None:
    team = Team("dsac")
    rollout = team.rollout(replicas=1, steps=4)
    rollout.terminated[0, 1] = rollout.truncated[0, 2] = True
    team.algorithm.remember(rollout, streams())
    batch = team.algorithm._batch(team.algorithm.replay, torch.arange(4))
    assert batch["alive"].tolist() == [1.0, 0.0, 1.0, 1.0]


@pytest.mark.parametrize("n_choices", [0, 2])
def test_a_step_of_the_critics_goes_towards_the_target(n_choices: int) -> None:
    """Both Q are 0 and targets 1 and -2 (gamma = 0): the first step of Adam is its rate."""
    one = pair(n_choices, gamma=1e-9, value_lr=0.01)
    one._step(batch_of(one, reward=torch.tensor([[1.0], [-2.0]])), generator())
    bias = one.critic.layers[-1].bias[:, 0]
    wanted = [0.01, -0.01, 0.01, -0.01]  # first critics of both agents, then second ones
    assert bias[:, 0].tolist() == pytest.approx(wanted, rel=1e-4)
    if n_choices:  # what was not chosen learns nothing
        assert bias[:, 1].tolist() == [0.0] * 4


def test_both_critics_of_an_agent_start_apart_and_learn_apart() -> None:
    team = Team("dsac")
    before = parameters_of(team.algorithm)
    team.update(team.rollout())
    for weights in (before, parameters_of(team.algorithm)):
        first, second = weights["critic.layers.0.weight"].chunk(2)
        assert (first != second).flatten(1).any(1).all()


# --- temperatures


@pytest.mark.parametrize("n_choices", [0, 3])
def test_an_entropy_above_the_target_lowers_the_temperature_by_hand(n_choices: int) -> None:
    """The first step of Adam is its rate: log 0.1 becomes log 0.1 - 0.01, or + 0.01."""
    for target, sign in ((0.0, -1.0), (0.999, 1.0)):
        goal = target if n_choices else (-9.0 if sign < 0 else 0.68)
        name = "target_entropy_of_choices" if n_choices else "target_entropy_per_dim"
        team = Team(
            "dsac",
            n_choices=n_choices,
            initial_temperature=0.1,
            temperature_lr=0.01,
            policy_lr=1e-9,
            initial_action_std=0.2,
            **{name: goal},
        )
        if n_choices and sign > 0:  # a policy that is sure of itself
            with torch.no_grad():
                team.algorithm.policy.net.layers[-1].bias[..., 0] = 5.0
        team.algorithm.remember(team.rollout(), streams())
        team.algorithm._steps(team.algorithm.replay, 1, streams())
        found = team.algorithm.log_temperature.flatten().tolist()
        assert found == pytest.approx([math.log(0.1) + sign * 0.01] * 5, rel=1e-5)


def test_the_temperature_settles_where_the_entropy_is_the_target() -> None:
    """One state, Q = 0: the entropy comes down from log 3 or up to 0.5 log 3."""
    team = Team(
        "dsac",
        agents=1,
        n_choices=3,
        features=PLAIN,
        gamma=1e-9,
        target_entropy_of_choices=0.5,
        policy_lr=0.01,
        value_lr=0.01,
        temperature_lr=0.01,
    )
    rollout = team.rollout(replicas=4, steps=50)
    rollout.reward = (rollout.action == 1).float()
    team.algorithm.remember(rollout, streams())
    log = {}
    for number in range(6):
        log = team.algorithm._steps(team.algorithm.replay, 100, streams(number))
    assert log["entropy"] == pytest.approx(0.5 * math.log(3.0), rel=0.1)


def test_target_entropies_by_hand() -> None:
    choices = Team("dsac", n_choices=4, target_entropy_of_choices=0.25).algorithm
    assert choices._target_entropy() == pytest.approx(0.25 * math.log(4.0))
    assert Team("dsac", target_entropy_per_dim=-1.5).algorithm._target_entropy() == -1.5


# --- target networks and units


def test_targets_follow_the_critics_by_hand() -> None:
    """From 2, with the critic at 10 and tau = 0.25: 4, then 5.5."""
    one = pair(target_smoothing=0.25)
    with torch.no_grad():
        for critic, target in zip(one.critic.parameters(), one.target.parameters(), strict=True):
            critic.fill_(10.0)
            target.fill_(2.0)
    for expected in (4.0, 5.5):
        one._follow()
        for target in one.target.parameters():
            torch.testing.assert_close(target, torch.full_like(target, expected))


def test_targets_start_as_the_critics_and_get_no_gradient() -> None:
    team = Team("dsac")
    one = team.algorithm
    for a, b in zip(one.critic.parameters(), one.target.parameters(), strict=True):
        assert torch.equal(a, b) and a is not b
    team.update(team.rollout())
    assert all(parameter.grad is None for parameter in one.target.parameters())


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("n_choices", [0, 3])
def test_a_new_scale_leaves_predictions_in_units_of_the_reward(
    shared: bool, n_choices: int
) -> None:
    team = Team("dsac", n_choices=n_choices, share_parameters=shared)
    one = team.algorithm
    rollout, larger = team.rollout(), team.rollout(seed=2)
    larger.reward *= torch.tensor([100.0, 1.0, 3.0, 1.0, 0.01])
    one.remember(rollout, streams())
    one._steps(one.replay, 3, streams())

    def in_rewards() -> list[Tensor]:
        obs, links = rollout.obs.flatten(0, 1), team.links()
        action = rollout.action.flatten(0, 1).transpose(0, 1)
        networks = (one.critic, one.target)
        with torch.no_grad():
            values = [one.reward_scale * one._q(q, obs, action, links) for q in networks]
            return [*values, one.reward_scale * one.log_temperature.exp()]

    scale, before = one.reward_scale.clone(), in_rewards()
    one.remember(larger, streams())
    assert not torch.allclose(one.reward_scale, scale)
    for a, b in zip(before, in_rewards(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_the_scale_of_rewards_by_hand() -> None:
    """Root mean squares 3, then 9: sqrt(0.9 * 9 + 0.1 * 81); the first one counts in full."""
    team = Team("dsac", agents=1)
    for size, expected in ((3.0, 3.0), (9.0, (0.9 * 9.0 + 0.1 * 81.0) ** 0.5)):
        rollout = team.rollout(replicas=1, steps=4)
        rollout.reward = size * torch.tensor([1.0, -1.0, 1.0, -1.0]).view(1, 4, 1)
        rollout.active[0, 3] = False
        rollout.reward[0, 3] = 1e6  # a waiting replica does not count
        team.algorithm.remember(rollout, streams())
        assert team.algorithm.reward_scale.item() == pytest.approx(expected)


@pytest.mark.parametrize("n_choices", [0, 3])
def test_the_unit_of_rewards_does_not_matter(n_choices: int) -> None:
    runs = []
    for unit in (1.0, 1000.0):
        team = Team("dsac", n_choices=n_choices)
        rollout = team.rollout()
        rollout.reward *= unit
        team.update(rollout)
        runs.append(parameters_of(team.algorithm))
    for name, weights in runs[0].items():
        torch.testing.assert_close(weights, runs[1][name], rtol=1e-3, atol=1e-4)


# --- what the critics are shown


def shown(one: DSAC, obs: Tensor, action: Tensor, links: Any) -> Tensor:
    """The input of the critics, for the first of each agent: (N, S, inputs)."""
    both = one._q_all(lambda x: x, obs, action, links)
    assert torch.equal(both[0], both[1])
    return both[0]


def test_critics_see_neighbours_states_and_one_hot_choices_by_hand() -> None:
    team = Team("dsac", agents=3, features=PLAIN, n_choices=3)
    obs, choice = torch.tensor([[[10.0], [20.0], [40.0]]]), torch.tensor([[2], [0], [1]])
    found = shown(team.algorithm, obs, choice, team.links())
    # own state, differences of the one ahead and behind, and their choices; not the own one
    assert found[:, 0].tolist() == [
        [10.0, 0.0, 10.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0],
        [20.0, -10.0, 20.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0],
        [40.0, -20.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0],
    ]


def test_critics_see_neighbours_states_and_scaled_actions_by_hand() -> None:
    team = Team("dsac", agents=3, features=PLAIN, action_center=1.0, action_scale=2.0)
    obs = torch.tensor([[[10.0], [20.0], [40.0]]])
    action = torch.tensor([[[3.0]], [[1.0]], [[-1.0]]])  # 1, 0 and -1 of the range
    found = shown(team.algorithm, obs, action, team.links())
    # own state, differences, actions of the one ahead and behind, own action
    assert found[:, 0].tolist() == [
        [10.0, 0.0, 10.0, 0.0, 0.0, 1.0],
        [20.0, -10.0, 20.0, 1.0, -1.0, 0.0],
        [40.0, -20.0, 0.0, 0.0, 0.0, -1.0],
    ]


@pytest.mark.parametrize("n_choices", [0, 3])
def test_without_hops_critics_see_their_own_agent_alone(n_choices: int) -> None:
    team = Team("dsac", features=PLAIN, n_choices=n_choices, value_hops=0)
    rollout = team.rollout(replicas=1, steps=4)
    action = rollout.action[0].transpose(0, 1)
    found = shown(team.algorithm, rollout.obs[0], action, team.links())
    parts = [rollout.obs[0].transpose(0, 1)]
    if not n_choices:
        parts.append(action)
    assert torch.equal(found, torch.cat(parts, -1))


def test_the_value_of_a_choice_is_its_own_output() -> None:
    team = Team("dsac", n_choices=3)
    obs, links, one = team.obs(6), team.links(), team.algorithm
    choice = torch.randint(3, (5, 6), generator=generator())
    every, given = (
        one._q_all(one.critic, obs, choice, links),
        one._q(one.critic, obs, choice, links),
    )
    for q in range(2):
        for n in range(5):
            for s in range(6):
                assert given[q, n, s] == every[q, n, s, choice[n, s]]


def test_choices_learn_the_same_with_fixed_links_and_links_that_change_alike() -> None:
    """A graph that is the same in each state, once as (N, K) and once as (B, T, N, K)."""
    for n_choices in (0, 3):
        runs = []
        for changing in (False, True):
            team = Team("dsac", n_choices=n_choices, value_hops=2)
            rollout = team.rollout()
            if changing:
                a, b, c, d = (
                    x.expand(3, 6, *x.shape) for x in (*rollout.links.policy, *rollout.links.value)
                )
                rollout.links = rollout.next_links = Links((a, b), (c, d))
            team.update(rollout)
            runs.append(parameters_of(team.algorithm))
        for name, weights in runs[0].items():
            torch.testing.assert_close(weights, runs[1][name])


# --- squashed policies


def squashed(mean: float, log_std: float, *, center: float = 0.0, scale: float = 1.0) -> Any:
    """A policy of the given moments before the squashing."""
    policy = TanhGaussianPolicy(
        1,
        1,
        [],
        1,
        activation="tanh",
        center=center,
        scale=scale,
        initial_mean=center,
        initial_std=scale,
        generator=generator(),
    )
    with torch.no_grad():
        policy.net.layers[0].weight.zero_()
        policy.net.layers[0].bias.copy_(torch.tensor([[[mean, log_std]]]))
    return policy


@pytest.mark.parametrize(("mean", "log_std"), [(0.0, -1.0), (0.5, 0.0), (-1.0, -0.5), (0.0, 0.7)])
@pytest.mark.parametrize(("center", "scale"), [(0.0, 1.0), (2.0, 5.0)])
@torch.no_grad()
def test_a_squashed_density_integrates_to_1(
    mean: float, log_std: float, center: float, scale: float
) -> None:
    """By the trapezoid rule over sorted samples of the action scaled to [-1, 1]."""
    policy = squashed(mean, log_std, center=center, scale=scale)
    action, log_prob = policy.sample(torch.zeros(1, 200_000, 1), generator(3))
    assert ((action - center).abs() <= scale).all()
    x, order = ((action.flatten().double() - center) / scale).sort()
    density = log_prob.flatten().double()[order].exp()
    assert torch.trapezoid(density, x).item() == pytest.approx(1.0, abs=0.01)
    # and it is that of torch.distributions
    inside = x.abs() < 0.999
    reference = TransformedDistribution(
        Normal(torch.tensor(mean).double(), math.exp(log_std)), TanhTransform()
    )
    torch.testing.assert_close(
        density.log()[inside], reference.log_prob(x[inside]), rtol=1e-3, atol=5e-3
    )
    assert policy.mode(torch.zeros(1, 1, 1)).item() == pytest.approx(
        center + scale * math.tanh(mean), rel=1e-5, abs=1e-6
    )


def test_log_densities_far_out_are_finite_and_so_are_their_gradients() -> None:
    for mean in (-30.0, 30.0):
        policy = squashed(mean, 0.0)
        action, log_prob = policy.sample(torch.zeros(1, 100, 1), generator())
        # log(1 - tanh(u)^2) tends to log 4 - 2 |u|
        assert log_prob.isfinite().all() and log_prob.min() > 30.0
        (log_prob.sum() + action.sum()).backward()
        assert all(parameter.grad.isfinite().all() for parameter in policy.parameters())


def test_spreads_stay_within_their_bounds() -> None:
    for log_std, expected in ((-99.0, MIN_LOG_STD), (99.0, MAX_LOG_STD)):
        policy = squashed(0.0, log_std)
        assert policy._moments(torch.zeros(1, 1, 1))[1].item() == pytest.approx(expected)


def test_a_fresh_policy_has_the_mean_and_spread_asked_for() -> None:
    team = Team(
        "dsac",
        action_center=1.0,
        action_scale=4.0,
        initial_action_mean=2.0,
        initial_action_std=0.2,
    )
    obs = team.obs(2000)
    action = team.algorithm.act(obs, team.links(), torch.zeros(2000, 5, 0), generator()).action
    mode = team.algorithm.act(obs, team.links(), torch.zeros(2000, 5, 0), None).action
    assert action.mean().item() == pytest.approx(2.0, abs=0.05)
    assert action.std().item() == pytest.approx(0.2, rel=0.1)
    assert (mode - 2.0).abs().max() < 0.3


def test_gradients_reach_the_policy_through_its_action() -> None:
    """With Q = a and no entropy the mean moves up."""
    one = pair(n_choices=0, policy_lr=0.01, initial_temperature=1e-9, value_hops=0)
    with torch.no_grad():
        one.critic.layers[0].weight[:, -1] = 1.0
    batch = batch_of(one)
    one._step(batch, generator())
    bias = one.policy.net.layers[-1].bias
    assert bias[:, 0, 0].tolist() == pytest.approx([0.01, 0.01], rel=1e-3)


# --- replay and update


@pytest.mark.parametrize(("rate", "steps"), [(1.0, 15), (0.2, 3), (0.001, 1)])
def test_gradient_steps_are_in_proportion_to_what_was_collected(rate: float, steps: int) -> None:
    team = Team("dsac", updates_per_interval=rate)
    rollout = team.rollout(replicas=3, steps=6)
    rollout.active[0, 3:] = False
    calls = []
    step = team.algorithm._step
    team.algorithm._step = lambda *given: calls.append(given) or step(*given)
    team.update(rollout)
    assert len(calls) == steps
    assert all(batch["obs"].shape == (16, 5, 2) for batch, _ in calls)


def test_the_newest_intervals_are_replayed() -> None:
    team = Team("dsac", replay_size=20)
    for seed in range(3):
        rollout = team.rollout(seed)
        rollout.obs[..., 0] = seed
        team.update(rollout)
    assert len(team.algorithm.replay) == 20
    numbers, counts = team.algorithm.replay.columns["obs"][:, 0, 0].unique(return_counts=True)
    assert numbers.tolist() == [1.0, 2.0] and counts.tolist() == [2, 18]


@pytest.mark.parametrize("n_choices", [0, 3])
def test_samples_of_a_waiting_replica_do_not_count(n_choices: int) -> None:
    runs = []
    for poison in (0.0, 7.0):
        team = Team("dsac", n_choices=n_choices)
        rollout = team.rollout()
        rollout.terminated[1, 2] = True
        rollout.active[1, 3:] = False
        for name in ("obs", "next_obs", "reward"):
            getattr(rollout, name)[~rollout.active] += poison
        team.update(rollout)
        runs.append(parameters_of(team.algorithm))
    assert not any(moved(*runs, 5))


@pytest.mark.parametrize("kind", ["line", "ring", "changes"])
@pytest.mark.parametrize("n_choices", [0, 3])
@pytest.mark.parametrize("shared", [False, True])
def test_an_update_moves_everything_whatever_the_setting(
    kind: str, n_choices: int, shared: bool
) -> None:
    team = Team("dsac", kind, n_choices=n_choices, share_parameters=shared, value_hops=2)
    before = parameters_of(team.algorithm)
    log = team.update(team.rollout())
    assert all(math.isfinite(value) for value in log.values())
    for name, weights in parameters_of(team.algorithm).items():
        assert (weights != before[name]).flatten(1).any(1).all(), name


def test_one_set_of_weights_does_for_each_agent_what_the_same_weights_do() -> None:
    for n_choices in (0, 3):
        team, own = (
            Team("dsac", n_choices=n_choices, share_parameters=shared, value_lr=1e-12)
            for shared in (True, False)
        )
        for name in ("policy", "critic", "target"):
            parts = (getattr(one.algorithm, name).parameters() for one in (team, own))
            for whole, each in zip(*parts, strict=True):
                twins = len(whole)  # 1, or 2 with both critics
                rows = [w.expand(5, *w.shape[1:]) for w in whole.detach().chunk(twins)]
                each.data.copy_(torch.cat(rows))
        rollout = team.rollout()
        losses = []
        for one in (team.algorithm, own.algorithm):
            one.remember(rollout, streams())
            one.reward_scale = torch.ones_like(one.reward_scale)
            losses.append(one._steps(one.replay, 1, streams()))
        for name in ("value_loss", "policy_loss", "entropy", "q_mean"):
            assert losses[0][name] == pytest.approx(losses[1][name], rel=1e-4)


@pytest.mark.parametrize("kind", ["line", "changes"])
@pytest.mark.parametrize("n_choices", [0, 3])
def test_a_saved_algorithm_learns_on_as_the_original(kind: str, n_choices: int) -> None:
    one, other = (Team("dsac", kind, n_choices=n_choices, seed=seed) for seed in (0, 1))
    one.update(one.rollout())
    file = io.BytesIO()
    torch.save(one.algorithm.state_dict(), file)
    file.seek(0)
    other.algorithm.load_state_dict(torch.load(file, weights_only=True))
    rollout = one.rollout(seed=5)
    assert one.update(rollout) == other.update(rollout)
    mine, theirs = parameters_of(one.algorithm), parameters_of(other.algorithm)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert torch.equal(one.algorithm.reward_scale, other.algorithm.reward_scale)
