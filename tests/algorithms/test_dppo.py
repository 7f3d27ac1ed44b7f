"""What DPPO's agents see and share, and that it can be saved."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from trafficrl.algorithms.dppo import clipped_surrogate

AGENTS = 5


def own_gradients(module: torch.nn.Module, agent: int) -> tuple[float, float]:
    """Largest gradient among the agent's parameters, and among all others'."""
    others = [other for other in range(AGENTS) if other != agent]
    gradients = [parameter.grad for parameter in module.parameters()]
    return (
        min(g[agent].abs().max().item() for g in gradients),
        max(g[others].abs().max().item() for g in gradients),
    )


@pytest.mark.parametrize("agent", range(AGENTS))
@pytest.mark.parametrize("n_choices", [0, 3])
def test_the_loss_of_an_agent_moves_its_own_policy_alone(line, agent: int, n_choices: int) -> None:
    one = line(AGENTS, n_choices=n_choices)
    rollout, policy = one.rollout(), one.algorithm.policy
    batch = one.algorithm._prepare(rollout)
    log_prob, entropy = policy.evaluate(batch["policy_inputs"], batch["action"])
    loss = clipped_surrogate(log_prob - batch["log_prob"], batch["advantage"], 0.2) + entropy
    loss[agent].mean().backward()
    own, others = own_gradients(policy, agent)
    assert own > 0 and others == 0


@pytest.mark.parametrize("agent", range(AGENTS))
def test_the_loss_of_an_agent_moves_its_own_critic_alone(line, agent: int) -> None:
    one = line(AGENTS)
    rollout = one.rollout()
    one.algorithm.values(rollout.obs, rollout.links)[..., agent].square().mean().backward()
    own, others = own_gradients(one.algorithm.critic, agent)
    assert own > 0 and others == 0


@pytest.mark.parametrize("agent", range(AGENTS))
@pytest.mark.parametrize("hops", [0, 1, 2])
def test_a_value_depends_on_its_neighbourhood_and_on_all_of_it(line, agent: int, hops: int) -> None:
    one = line(AGENTS, value_hops=hops)
    obs = one.rollout().obs.requires_grad_()
    one.algorithm.values(obs, one.links)[..., agent].sum().backward()
    seen = obs.grad.abs().amax((0, 1, 3)) > 0
    assert seen.tolist() == [abs(agent - other) <= hops for other in range(AGENTS)]


@pytest.mark.parametrize("agent", range(AGENTS))
@pytest.mark.parametrize("n_choices", [0, 3])
@pytest.mark.parametrize("seed", [None, 3])
def test_an_action_needs_the_closed_1_hop_neighbourhood_alone(
    line, agent: int, n_choices: int, seed: int | None
) -> None:
    one = line(AGENTS, n_choices=n_choices, value_hops=3)
    near = torch.tensor([abs(agent - other) <= 1 for other in range(AGENTS)])
    obs = one.rollout().obs[:, 0]
    unknown = torch.where(near[:, None], obs, torch.nan)

    def act(obs: Tensor) -> tuple[Tensor, Tensor]:
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        if n_choices and generator is not None:  # torch cannot draw from NaN
            obs = obs.nan_to_num(1e3)
        decision = one.act(obs, generator)
        return decision.action, decision.log_prob

    for full, partial in zip(act(obs), act(unknown), strict=True):
        assert torch.equal(full[:, agent], partial[:, agent])


def test_actions_and_log_probabilities_have_their_shapes(line) -> None:
    obs = torch.randn(4, AGENTS, 2)
    generator = torch.Generator()
    gaussian, choices = line(AGENTS), line(AGENTS, n_choices=3)
    for one, shape in ((gaussian, (4, AGENTS, 1)), (choices, (4, AGENTS))):
        for given in (generator, None):
            decision = one.act(obs, given)
            assert decision.action.shape == shape and decision.log_prob.shape == (4, AGENTS)
            assert decision.memory.shape == (4, AGENTS, 0)
    values = gaussian.algorithm.values(torch.randn(4, 7, AGENTS, 2), gaussian.links)
    assert values.shape == (4, 7, AGENTS)


def test_without_a_generator_an_action_is_the_mode_every_time(line) -> None:
    one = line(AGENTS)
    obs = one.rollout().obs[:, 0]
    first, second = (one.act(obs) for _ in range(2))
    assert torch.equal(first.action, second.action)
    assert (first.log_prob == 0).all()
    samples = [one.act(obs, torch.Generator().manual_seed(s)).action for s in range(50)]
    torch.testing.assert_close(torch.stack(samples).mean(0), first.action, rtol=0, atol=0.4)


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        (1.0, 2.0, 2.0),
        (1.5, 2.0, 2.4),  # a good action gains nothing beyond 1.2
        (1.5, -2.0, -3.0),  # a bad action that became likelier is corrected in full
        (0.5, 2.0, 1.0),
        (0.5, -2.0, -1.6),  # a bad action gains nothing below 0.8
        (1.1, 2.0, 2.2),
        (0.9, -2.0, -1.8),
    ],
)
def test_the_clipped_surrogate_by_hand(ratio: float, advantage: float, expected: float) -> None:
    log_ratio = torch.tensor(ratio, dtype=torch.float64).log()
    found = clipped_surrogate(log_ratio, torch.tensor(advantage, dtype=torch.float64), 0.2)
    assert found.item() == pytest.approx(expected)


@pytest.mark.parametrize("n_choices", [0, 3])
def test_a_saved_algorithm_learns_on_as_the_original(line, n_choices: int) -> None:
    one, other = (line(AGENTS, n_choices=n_choices, seed=seed) for seed in (0, 1))
    one.update(one.rollout())
    other.algorithm.load_state_dict(one.algorithm.state_dict())
    rollout = one.rollout(seed=5)
    assert one.update(rollout) == other.update(rollout)
    mine, theirs = one.weights(), other.weights()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert torch.equal(
        one.algorithm.values(rollout.obs, one.links), other.algorithm.values(rollout.obs, one.links)
    )
