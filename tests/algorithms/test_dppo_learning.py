"""DPPO on problems whose best policy is known."""

from __future__ import annotations

import pytest
import torch

from .systems import (
    AGENTS,
    GAMMA,
    best_gain,
    coordination_rollout,
    cost,
    linear_rollout,
    starts,
    system,
)


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
