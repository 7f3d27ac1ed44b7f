"""Gaussian and categorical policies against torch.distributions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Normal

from trafficrl.nn.policies import CategoricalPolicy, GaussianPolicy

AGENTS, INPUTS, ACTIONS, CHOICES = 3, 4, 2, 5
MEAN, STD = 0.15, 0.3


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def gaussian(**changes: float | bool) -> GaussianPolicy:
    settings = {
        "center": 0.5,
        "scale": 2.0,
        "initial_mean": MEAN,
        "initial_std": STD,
        "min_std": 1e-3,
        "learn_std": True,
        **changes,
    }
    return GaussianPolicy(
        AGENTS, INPUTS, [8], ACTIONS, activation="tanh", generator=generator(), **settings
    )


def categorical() -> CategoricalPolicy:
    return CategoricalPolicy(AGENTS, INPUTS, [8], CHOICES, activation="tanh", generator=generator())


def shaken(policy: torch.nn.Module) -> torch.nn.Module:
    """The policy with weights far from their start, different for every agent."""
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator(7)))
    return policy


def inputs(samples: int) -> Tensor:
    return torch.randn(AGENTS, samples, INPUTS, generator=generator(1))


def same_inputs(samples: int) -> Tensor:
    return inputs(1).expand(AGENTS, samples, INPUTS)


def test_gaussian_figures_are_those_of_independent_normals() -> None:
    policy, x = shaken(gaussian()), inputs(6)
    action = torch.randn(AGENTS, 6, ACTIONS, generator=generator(2))
    log_prob, entropy = policy.evaluate(x, action)
    reference = Normal(policy.mode(x), policy.log_std.exp())
    torch.testing.assert_close(log_prob, reference.log_prob(action).sum(-1))
    torch.testing.assert_close(entropy, reference.entropy().sum(-1))


def test_categorical_figures_are_those_of_torch() -> None:
    policy, x = shaken(categorical()), inputs(6)
    action = torch.randint(0, CHOICES, (AGENTS, 6), generator=generator(2))
    log_prob, entropy = policy.evaluate(x, action)
    reference = Categorical(logits=policy.net(x))
    torch.testing.assert_close(log_prob, reference.log_prob(action))
    torch.testing.assert_close(entropy, reference.entropy())


@pytest.mark.parametrize("make", [gaussian, categorical])
def test_a_sample_carries_its_own_log_probability(make) -> None:
    policy, x = shaken(make()), inputs(6)
    action, log_prob = policy.sample(x, generator(3))
    torch.testing.assert_close(log_prob, policy.evaluate(x, action)[0])


@pytest.mark.parametrize("make", [gaussian, categorical])
def test_the_generator_alone_decides_the_samples(make) -> None:
    policy, x = shaken(make()), inputs(6)
    torch.manual_seed(1)
    first = policy.sample(x, generator(3))
    torch.manual_seed(2)
    again, other = policy.sample(x, generator(3)), policy.sample(x, generator(4))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], other[0])


def test_gaussian_samples_have_the_mean_and_spread_they_should() -> None:
    policy, many = shaken(gaussian()), 40_000
    action, _ = policy.sample(same_inputs(many), generator(3))
    std = policy.log_std.detach().exp()
    error = 5 / many**0.5  # five standard errors
    assert ((action.mean(1, keepdim=True) - policy.mode(inputs(1))).abs() < error * std).all()
    assert ((action.std(1, keepdim=True) / std - 1).abs() < error).all()


def test_categorical_samples_have_the_frequencies_they_should() -> None:
    policy, many = shaken(categorical()), 40_000
    action, _ = policy.sample(same_inputs(many), generator(3))
    frequency = torch.nn.functional.one_hot(action, CHOICES).float().mean(1)
    p = Categorical(logits=policy.net(inputs(1))[:, 0]).probs
    assert ((frequency - p).abs() <= 5 * (p * (1 - p) / many).sqrt() + 1e-6).all()


@pytest.mark.parametrize("make", [gaussian, categorical])
def test_no_action_is_more_probable_than_the_mode(make) -> None:
    policy, x = shaken(make()), inputs(50)
    highest, _ = policy.evaluate(x, policy.mode(x))
    for seed in range(20):
        action, _ = policy.sample(x, generator(seed))
        assert (policy.evaluate(x, action)[0] <= highest + 1e-6).all()


def test_a_fresh_gaussian_has_the_configured_mean_and_spread() -> None:
    policy, x = gaussian(), inputs(50)
    assert ((policy.mode(x) - MEAN).abs() < 0.1).all()  # scale 2, gain 0.01
    entropy = policy.evaluate(x, policy.mode(x))[1]
    expected = Normal(torch.zeros(ACTIONS), STD).entropy().sum()
    torch.testing.assert_close(entropy, expected.expand(AGENTS, 50))


def test_a_fresh_categorical_is_nearly_uniform() -> None:
    probability = torch.softmax(categorical().net(inputs(50)), -1)
    assert ((probability - 1 / CHOICES).abs() < 0.02).all()


def test_the_network_moves_the_mean_within_the_range_of_the_action() -> None:
    """By ``scale`` for each unit of the network at the centre, and never beyond the bounds."""
    policy, x = gaussian(center=1.0, scale=3.0, initial_mean=1.0), inputs(5)
    torch.testing.assert_close(policy.mode(x) - 1.0, 3.0 * policy.net(x), rtol=1e-3, atol=1e-4)
    policy = shaken(policy)
    torch.testing.assert_close(policy.mode(x), 1.0 + 3.0 * policy.net(x).tanh())
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.mul_(100.0)
    assert policy.mode(x).min() >= -2.0
    assert policy.mode(x).max() <= 4.0


@pytest.mark.parametrize("mean", [-9.0, 9.0])
def test_an_initial_mean_near_or_beyond_a_bound_stays_where_it_can_move(mean: float) -> None:
    policy = gaussian(center=0.0, scale=2.0, initial_mean=mean)
    torch.testing.assert_close(
        policy.mode(inputs(5)),
        torch.full((AGENTS, 5, ACTIONS), mean / 9 * 1.8),
        rtol=0.01,
        atol=0.0,
    )


def test_the_spread_never_falls_below_its_minimum() -> None:
    policy, x = gaussian(min_std=0.2), same_inputs(5000)
    with torch.no_grad():
        policy.log_std.fill_(-20.0)
    action, _ = policy.sample(x, generator(3))
    torch.testing.assert_close(
        action.std(1), torch.full((AGENTS, ACTIONS), 0.2), rtol=0.05, atol=0.0
    )
    log_prob = policy.evaluate(x, policy.mode(x))[0]
    at_mean = Normal(torch.tensor(0.0), 0.2).log_prob(torch.tensor(0.0)) * ACTIONS
    torch.testing.assert_close(log_prob, at_mean.expand_as(log_prob))


@pytest.mark.parametrize("learn_std", [True, False])
def test_only_a_learned_spread_gets_a_gradient(learn_std: bool) -> None:
    policy, x = gaussian(learn_std=learn_std), inputs(5)
    log_prob, entropy = policy.evaluate(x, torch.ones(AGENTS, 5, ACTIONS))
    (log_prob + entropy).sum().backward()
    assert (policy.log_std.grad is not None) == learn_std


def test_what_is_drawn_with_all_probabilities_is_the_sample_bit_for_bit() -> None:
    policy, x = shaken(categorical()), inputs(6)
    action, log_p = policy.draw(x, generator(2))
    sampled, log_prob = policy.sample(x, generator(2))
    assert torch.equal(action, sampled) and torch.equal(log_p, policy.log_probabilities(x))
    assert torch.equal(log_p.gather(-1, action[..., None])[..., 0], log_prob)
