"""One set of weights for all agents: what they have in common and what it fits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trafficrl.nn.encoding import FeatureSpec

AGENTS = 5
FEATURES = [FeatureSpec(), FeatureSpec(period=1.0)]


def shared(line, agents: int = AGENTS, **settings):
    return line(agents, features=FEATURES, share_parameters=True, **settings)


def as_separate(line, one):
    """Agents with weights of their own, all equal to the shared ones."""
    changes = {**one.settings.model_dump(), "share_parameters": False}
    other = line(
        one.spec.n_agents, n_choices=one.spec.n_choices, features=one.spec.features, **changes
    )
    for name in ("policy", "critic", "value_norm"):
        own = getattr(other.algorithm, name).state_dict()
        for key, value in getattr(one.algorithm, name).state_dict().items():
            own[key].copy_(value.expand_as(own[key]))
    return other


def shaken(one):
    """The same with a policy far from its start."""
    draw = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in one.algorithm.policy.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=draw))
    return one


def policy_gradients(one, batch: dict[str, Tensor]) -> list[Tensor]:
    """Gradients of a step that changes nothing."""
    one.algorithm._policy_optim.lr = 0.0
    sets = one.algorithm.sets
    one.algorithm._policy_step(batch, torch.ones(sets, dtype=torch.bool))
    return [parameter.grad.clone() for parameter in one.algorithm.policy.parameters()]


def value_gradients(one, batch: dict[str, Tensor]) -> list[Tensor]:
    one.algorithm._value_optim.lr = 0.0
    one.algorithm._value_step(batch)
    return [parameter.grad.clone() for parameter in one.algorithm.critic.parameters()]


def test_there_is_one_set_of_weights_and_statistics(line) -> None:
    one = shared(line)
    assert {len(weights) for weights in one.weights().values()} == {1}
    assert {len(weights) for weights in line(AGENTS).weights().values()} == {AGENTS}
    assert one.algorithm.value_norm.mean.shape == (1, 1)


@pytest.mark.parametrize("n_choices", [0, 3])
def test_agents_that_see_the_same_do_the_same(line, n_choices: int) -> None:
    """Agents 1, 2 and 3 have a leader and a follower each; the ends of the line have not."""
    obs = torch.randn(50, 1, 2, generator=torch.Generator().manual_seed(1)).expand(50, AGENTS, 2)
    action = shaken(shared(line, n_choices=n_choices)).act(obs).action
    assert torch.equal(action[:, 1], action[:, 2]) and torch.equal(action[:, 2], action[:, 3])
    action = shaken(line(AGENTS, features=FEATURES, n_choices=n_choices)).act(obs).action
    assert not torch.equal(action[:, 1], action[:, 2])


@pytest.mark.parametrize("n_choices", [0, 3])
def test_values_and_actions_are_those_of_agents_with_equal_weights(line, n_choices: int) -> None:
    one = shared(line, n_choices=n_choices, value_hops=2)
    one.update(one.rollout())
    other = as_separate(line, one)
    obs = one.rollout(seed=5).obs
    torch.testing.assert_close(
        one.algorithm.values(obs, one.links), other.algorithm.values(obs, one.links)
    )
    torch.testing.assert_close(one.act(obs[:, 0]).action, other.act(obs[:, 0]).action)


@pytest.mark.parametrize("n_choices", [0, 3])
def test_the_gradient_is_the_mean_of_those_of_the_agents(line, n_choices: int) -> None:
    one = shared(line, n_choices=n_choices, entropy_coef=0.1, target_kl=None)
    other = as_separate(line, one)
    batch = one.algorithm._prepare(one.rollout())
    for gradients in (policy_gradients, value_gradients):
        for whole, each in zip(gradients(one, batch), gradients(other, batch), strict=True):
            assert len(whole) == 1 and len(each) == AGENTS and each.abs().max() > 0
            torch.testing.assert_close(whole[0], each.mean(0))


def test_clipping_is_that_of_the_whole_set(line) -> None:
    """An agent whose gradient is 1000 times larger than another's keeps that weight."""
    one = shared(line, max_grad_norm=1.0)
    batch = one.algorithm._prepare(one.rollout())
    batch["advantage"][0] *= 1000.0
    gradient = torch.cat([g.flatten() for g in policy_gradients(one, batch)])
    assert gradient.norm() > 1.0
    # Adam's first moment after one step is 0.1 of the clipped gradient.
    moment = torch.cat([m.flatten() for m in one.algorithm._policy_optim._mean])
    torch.testing.assert_close(moment, 0.1 * gradient / gradient.norm(), rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(("target_kl", "stops"), [(0.1, True), (0.2, False)])
def test_the_kl_stop_is_that_of_the_whole_set(line, target_kl: float, stops: bool) -> None:
    """One agent of five has drifted by e - 2 = 0.72: 0.14 in the mean."""
    one = shared(line, target_kl=target_kl)
    rollout = one.rollout()
    rollout.log_prob[..., 2] -= 1.0
    before = one.weights()
    metrics = one.update(rollout)
    after = one.weights()
    policy = [name for name in before if name.startswith("policy")]
    assert all(torch.equal(before[name], after[name]) for name in policy) == stops
    assert not torch.equal(before["critic.layers.0.weight"], after["critic.layers.0.weight"])
    assert metrics["kl_stopped"] == float(stops)


def test_advantages_are_normalised_over_all_agents(line) -> None:
    """Agents whose advantages differ keep their difference, unlike with weights of their own."""
    one, own = shared(line), line(AGENTS, features=FEATURES)
    rollout = one.rollout()
    rollout.reward[..., 0] += 100.0
    found = one.algorithm._prepare(rollout)["advantage"]
    assert found.mean().item() == pytest.approx(0.0, abs=1e-5)
    assert found.std(correction=0).item() == pytest.approx(1.0, abs=1e-4)
    assert found[0].mean() > found[4].mean() + 1.0
    apart = own.algorithm._prepare(rollout)["advantage"]
    torch.testing.assert_close(apart.mean(1), torch.zeros(AGENTS), rtol=0, atol=1e-5)


@pytest.mark.parametrize("n_choices", [0, 3])
@pytest.mark.parametrize("other_agents", [3, 9])
def test_weights_learned_by_some_drive_another_number(
    line, n_choices: int, other_agents: int
) -> None:
    one = shared(line, n_choices=n_choices)
    one.update(one.rollout())
    other = shared(line, other_agents, n_choices=n_choices, seed=1)
    assert other.spec.policy_width == one.spec.policy_width
    other.algorithm.load_state_dict(one.algorithm.state_dict())
    # The first two of a line hear nobody behind the third.
    obs = torch.randn(4, 9, 2, generator=torch.Generator().manual_seed(1))
    ours, theirs = one.act(obs[:, :AGENTS]).action, other.act(obs[:, :other_agents]).action
    torch.testing.assert_close(ours[:, :2], theirs[:, :2])
    other.update(other.rollout())
    assert all(weights.isfinite().all() for weights in other.weights().values())


def test_a_saved_algorithm_learns_on_as_the_original(line) -> None:
    one, other = shared(line), shared(line, seed=1)
    one.update(one.rollout())
    other.algorithm.load_state_dict(one.algorithm.state_dict())
    rollout = one.rollout(seed=5)
    assert one.update(rollout) == other.update(rollout)
    mine, theirs = one.weights(), other.weights()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
