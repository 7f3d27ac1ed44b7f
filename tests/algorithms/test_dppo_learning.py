"""DPPO on problems whose best policy is known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from trafficrl.algorithms.rollout import Rollout

AGENTS, GAMMA, EFFORT = 5, 0.9, 0.1


def system() -> Tensor:
    """x' = A x + a: half of the own state and half of the neighbours' mean, on a line."""
    matrix = 0.5 * torch.eye(AGENTS)
    for agent in range(AGENTS):
        near = [other for other in (agent - 1, agent + 1) if 0 <= other < AGENTS]
        matrix[agent, near] = 0.5 / len(near)
    return matrix


def starts(count: int, draw: torch.Generator) -> Tensor:
    return 2.0 * torch.rand(count, AGENTS, generator=draw) - 1.0


def linear_rollout(one, draw: torch.Generator, replicas: int = 32, steps: int = 10) -> Rollout:
    """Episodes that are cut after ``steps``; the cost of agent i is x_i^2 + EFFORT a_i^2."""
    states, decisions, rewards = [starts(replicas, draw)], [], []
    for _ in range(steps):
        x = states[-1]
        decisions.append(one.act(x[..., None], draw))
        a = decisions[-1].action[..., 0]
        rewards.append(-(x.square() + EFFORT * a.square()))
        states.append(x @ system().T + a)
    obs = torch.stack(states, dim=1)[..., None]
    truncated = torch.zeros(replicas, steps, dtype=torch.bool)
    truncated[:, -1] = True
    reward = torch.stack(rewards, dim=1)
    return one.record(obs[:, :-1], decisions, reward, obs[:, 1:], truncated=truncated)


def cost(policy: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """Discounted cost of all agents, the mean over the starts ``x`` (S, N)."""
    total = 0.0
    for step in range(100):
        a = policy(x)
        total += GAMMA**step * (x.square() + EFFORT * a.square()).sum(-1).mean().item()
        x = x @ system().T + a
    return total


def best_gain() -> Tensor:
    """The optimal K of a = -K x, by Riccati's recursion in the discounted system."""
    identity = torch.eye(AGENTS, dtype=torch.float64)
    a, b = GAMMA**0.5 * system().double(), GAMMA**0.5 * identity
    p, gain = identity, identity
    for _ in range(1000):
        gain = torch.linalg.solve(EFFORT * identity + b.T @ p @ b, b.T @ p @ a)
        closed = a - b @ gain
        p = identity + EFFORT * gain.T @ gain + closed.T @ p @ closed
    return gain.float()


def test_a_line_of_linear_systems_is_controlled_within_4_percent_of_the_optimum(line) -> None:
    draw = torch.Generator().manual_seed(0)
    x, gain = starts(500, draw), best_gain()
    optimum = cost(lambda x: -x @ gain.T, x)
    # What 1-hop policies can do is as good, ignoring the neighbours or resting is not.
    assert cost(lambda x: -x @ (gain * (system() != 0)).T, x) == pytest.approx(optimum, rel=1e-4)
    assert cost(lambda x: -x * gain.diagonal(), x) > 1.15 * optimum
    assert cost(torch.zeros_like, x) > 3.0 * optimum

    one = line(
        AGENTS,
        obs_dim=1,
        gamma=GAMMA,
        gae_lambda=0.9,
        policy_lr=3e-3,
        value_lr=3e-3,
        lr_schedule="linear",
        epochs=5,
        minibatches=4,
        target_kl=None,
    )
    updates = 50
    for update in range(updates):
        one.update(linear_rollout(one, draw), seed=update, progress=update / updates)
    learned = cost(lambda x: one.act(x[..., None]).action[..., 0], x)
    assert optimum <= learned < 1.04 * optimum


def coordination_rollout(one, draw: torch.Generator, replicas: int = 64) -> Rollout:
    """One-step episodes: 1 if both agents choose the state, 0.5 if both the other, else 0."""
    steps = 4
    state = torch.randint(0, 2, (replicas, steps, 1), generator=draw).expand(-1, -1, 2)
    obs = state[..., None].float()
    decisions = [one.act(obs[:, t], draw) for t in range(steps)]
    action = torch.stack([decision.action for decision in decisions], dim=1)
    agree = (action[..., :1] == action[..., 1:]).float()
    reward = agree * (0.5 + 0.5 * (action == state))
    over = torch.ones(replicas, steps, dtype=torch.bool)
    return one.record(obs, decisions, reward, obs, terminated=over)


@pytest.mark.parametrize("seed", [0, 1])
def test_two_agents_learn_to_choose_alike_and_right(line, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    one = line(2, obs_dim=1, n_choices=2, seed=seed, policy_lr=1e-2, target_kl=None, value_hops=1)
    for update in range(40):
        one.update(coordination_rollout(one, draw), seed=update)
    rollout = coordination_rollout(one, draw)
    batch = one.algorithm._prepare(rollout)
    right = rollout.obs[..., 0].flatten(0, 1).T.long()
    log_prob, _ = one.algorithm.policy.evaluate(batch["policy_inputs"], right)
    assert log_prob.exp().min() > 0.95
