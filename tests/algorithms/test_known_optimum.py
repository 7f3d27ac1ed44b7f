"""Learners on problems whose best policy is known: all come close, and a model saves real steps."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from trafficrl.algorithms import DMPO, DPPO, DSAC
from trafficrl.config.algorithms import DMPOSettings, PPOSettings, SACSettings

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

REPLICAS, STEPS = 32, 10  # of a rollout
PPO: dict[str, Any] = {
    "policy_hidden": [16],
    "value_hidden": [16],
    "gamma": GAMMA,
    "gae_lambda": 0.9,
    "policy_lr": 3e-3,
    "value_lr": 3e-3,
    "lr_schedule": "linear",
    "epochs": 5,
    "target_kl": None,
}
SAC: dict[str, Any] = {
    "policy_hidden": [16],
    "value_hidden": [64, 64],
    "activation": "relu",
    "gamma": GAMMA,
    "policy_lr": 1e-3,
    "value_lr": 1e-3,
    "temperature_lr": 3e-3,
    "initial_temperature": 0.05,
    "target_entropy_per_dim": -3.0,
    "target_smoothing": 0.02,
    "batch_size": 128,
}
MODEL: dict[str, Any] = {
    "lr": 3e-3,
    "batch_size": 128,
    "sequence_length": 2,
    "max_updates": 200,
    "check_every": 25,
    "patience": 2,
}
IMAGINING = {"model": MODEL, "inner_iterations": 8, "branch_length": 3}
# Algorithm, its settings, and how many rollouts it gets.
LEARNERS = {
    "dppo": (DPPO, PPOSettings(**PPO), 25),
    "dsac": (DSAC, SACSettings(**{**SAC, "policy_lr": 5e-4}, updates_per_interval=0.1), 22),
    "dmpo on dppo": (
        DMPO,
        DMPOSettings(
            base={"kind": "dppo", **PPO}, **{**IMAGINING, "branch_length": 5}, branches=256
        ),
        3,
    ),
    "dmpo on dsac": (
        DMPO,
        DMPOSettings(base={"kind": "dsac", **SAC, "inner_updates": 25}, **IMAGINING, branches=512),
        3,
    ),
}


def best_1_hop_cost(x: Tensor) -> float:
    """The optimal linear policy, cut to what an agent sees: as good as the whole of it."""
    gain = best_gain()
    found = cost(lambda x: -x @ (gain * (system() != 0)).T, x)
    assert found == pytest.approx(cost(lambda x: -x @ gain.T, x), rel=1e-4)
    # What comes within 5 % of it has to look at the neighbours, and to act.
    assert cost(lambda x: -x * gain.diagonal(), x) > 1.15 * found
    assert cost(torch.zeros_like, x) > 3.0 * found
    return found


@pytest.mark.parametrize("name", LEARNERS)
def test_a_line_of_linear_systems_is_controlled_within_5_percent_of_the_optimum(
    line, name: str
) -> None:
    algorithm, settings, rollouts = LEARNERS[name]
    draw = torch.Generator().manual_seed(0)
    x = starts(500, draw)
    one = line(AGENTS, obs_dim=1, algorithm=algorithm, settings=settings)
    for update in range(rollouts):
        rollout = linear_rollout(one, draw, REPLICAS, STEPS)
        one.update(rollout, seed=update, progress=update / rollouts)
    learned = cost(lambda x: one.act(x[..., None]).action[..., 0], x)
    best = best_1_hop_cost(x)
    assert 0.999 * best < learned < 1.05 * best


def test_a_model_saves_more_than_half_of_the_real_steps(line) -> None:
    """With twice the rollouts that suffice with a model, PPO without one is not there yet."""
    algorithm, settings, _ = LEARNERS["dppo"]
    draw = torch.Generator().manual_seed(0)
    x = starts(500, draw)
    one = line(AGENTS, obs_dim=1, algorithm=algorithm, settings=settings)
    twice = 2 * max(rollouts for name, (*_, rollouts) in LEARNERS.items() if "dmpo" in name)
    assert twice < LEARNERS["dppo"][2]
    for update in range(twice):
        rollout = linear_rollout(one, draw, REPLICAS, STEPS)
        one.update(rollout, seed=update, progress=update / twice)
    assert cost(lambda x: one.act(x[..., None]).action[..., 0], x) > 1.1 * best_1_hop_cost(x)


@pytest.mark.parametrize("seed", [0, 1])
def test_two_agents_learn_to_choose_alike_and_right(line, seed: int) -> None:
    """The coordination game, by discrete DSAC.

    Agents that are sure too early settle for the same choice in both states,
    which nobody gains by leaving alone: hence the higher temperature.
    """
    changes = {"value_hidden": [32], "policy_lr": 1e-2, "value_lr": 1e-2}
    settings = SACSettings(
        **{**SAC, **changes, "initial_temperature": 0.5, "temperature_lr": 1e-3},
        updates_per_interval=0.1,
    )
    draw = torch.Generator().manual_seed(seed)
    one = line(2, obs_dim=1, n_choices=2, seed=seed, algorithm=DSAC, settings=settings)
    for update in range(14):
        one.update(coordination_rollout(one, draw), seed=update)
    rollout = coordination_rollout(one, draw)
    state = rollout.obs.flatten(0, 1)
    assert torch.equal(one.act(state).action, state[..., 0].long())
    assert (rollout.action == rollout.obs[..., 0]).float().mean() > 0.9
