"""One update of DPPO: what may influence whose weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from trafficrl.algorithms.rollout import Rollout

AGENTS = 5


def updated(one, rollout: Rollout) -> dict[str, Tensor]:
    one.update(rollout)
    return one.weights()


def moved(before: dict[str, Tensor], after: dict[str, Tensor], part: str) -> list[bool]:
    """Which agents' weights of ``part`` have changed."""
    changed = torch.zeros(AGENTS, dtype=torch.bool)
    for name in before:
        if name.startswith(part):
            changed |= (before[name] != after[name]).flatten(1).any(1)
    return changed.tolist()


def test_an_update_moves_every_agent(line) -> None:
    one = line(AGENTS)
    before = one.weights()
    after = updated(one, one.rollout())
    assert moved(before, after, "policy") == moved(before, after, "critic") == [True] * AGENTS


def test_a_learning_rate_of_nothing_changes_nothing(line) -> None:
    one = line(AGENTS, policy_lr=1e-30, value_lr=1e-30)
    before = one.weights()
    after = updated(one, one.rollout())
    for name in before:
        torch.testing.assert_close(before[name], after[name], rtol=0, atol=1e-25)


def test_a_linear_schedule_slows_down_with_progress(line) -> None:
    def step(progress: float) -> float:
        one = line(AGENTS, lr_schedule="linear", epochs=1, minibatches=1)
        before = one.weights()
        one.update(one.rollout(), progress=progress)
        return max((one.weights()[name] - before[name]).abs().max().item() for name in before)

    assert step(0.75) == pytest.approx(step(0.0) / 4, rel=1e-2)
    assert step(1.0) == 0.0


@pytest.mark.parametrize("hops", [1, 2])
def test_what_happens_to_an_agent_reaches_nobody_beyond_twice_its_hops(line, hops: int) -> None:
    """Rewards travel over kappa hops and so do the values, which see kappa hops more."""
    plain, changed = line(AGENTS, value_hops=hops), line(AGENTS, value_hops=hops)
    rollout, other = plain.rollout(), changed.rollout()
    other.reward[..., 0] += torch.arange(6.0)
    other.obs[..., 0, :] += 1.0
    other.next_obs[..., 0, :] += 1.0
    policy = moved(updated(plain, rollout), updated(changed, other), "policy")
    critic = moved(plain.weights(), changed.weights(), "critic")
    assert policy == [agent <= 2 * hops for agent in range(AGENTS)]
    assert critic == [agent <= hops for agent in range(AGENTS)]


def test_a_reward_reaches_the_policies_within_kappa_hops_and_one_critic(line) -> None:
    plain, changed = line(AGENTS, value_hops=1), line(AGENTS, value_hops=1)
    rollout, other = plain.rollout(), changed.rollout()
    other.reward[..., 0] += torch.arange(6.0)
    policy = moved(updated(plain, rollout), updated(changed, other), "policy")
    critic = moved(plain.weights(), changed.weights(), "critic")
    assert policy == [True, True, False, False, False]
    assert critic == [True, False, False, False, False]


# --- KL stop


def stale(rollout: Rollout, agent: int, by: float = 1.0) -> Rollout:
    """The rollout as if the agent's policy had moved since: its KL estimate is e^by - 1 - by."""
    rollout.log_prob[..., agent] -= by
    return rollout


def test_an_agent_beyond_its_kl_target_is_frozen_while_others_go_on(line) -> None:
    one = line(AGENTS, target_kl=0.5)
    before = one.weights()
    metrics = one.update(stale(one.rollout(), agent=2))  # e - 2 = 0.72
    others = [agent != 2 for agent in range(AGENTS)]
    assert moved(before, one.weights(), "policy") == others
    assert moved(before, one.weights(), "critic") == [True] * AGENTS
    assert metrics["kl_stopped"] == pytest.approx(1 / AGENTS)


def test_a_frozen_agent_does_not_change_what_the_others_learn(line) -> None:
    one, other = line(AGENTS, target_kl=0.5), line(AGENTS, target_kl=0.5)
    one.update(one.rollout())
    other.update(stale(other.rollout(), agent=2))
    assert moved(one.weights(), other.weights(), "policy") == [
        agent == 2 for agent in range(AGENTS)
    ]


def test_a_policy_that_ran_away_is_frozen_with_its_weights(line) -> None:
    one = line(AGENTS, target_kl=0.5)
    before = one.weights()
    one.update(stale(one.rollout(), agent=2, by=1000.0))  # exp overflows
    assert moved(before, one.weights(), "policy") == [agent != 2 for agent in range(AGENTS)]
    assert all(weights.isfinite().all() for weights in one.weights().values())


def test_kl_counts_of_an_agent_until_it_has_stopped(line) -> None:
    """One step, which stops one agent of five: its KL has its part. Later there are the others'."""
    for epochs in (1, 4):
        one = line(AGENTS, target_kl=0.5, policy_lr=1e-9, epochs=epochs, minibatches=1)
        metrics = one.update(stale(one.rollout(), agent=2))
        of_steps = [(math.e - 2.0) / AGENTS] + [0.0] * (epochs - 1)
        assert metrics["kl"] == pytest.approx(sum(of_steps) / epochs, abs=1e-5)


@pytest.mark.parametrize("target_kl", [None, 0.8])
def test_within_the_target_nobody_stops(line, target_kl: float | None) -> None:
    one = line(AGENTS, target_kl=target_kl)
    before = one.weights()
    metrics = one.update(stale(one.rollout(), agent=2))
    assert all(moved(before, one.weights(), "policy"))
    assert metrics["kl_stopped"] == 0


def test_a_stop_holds_for_one_update(line) -> None:
    one = line(AGENTS, target_kl=0.5)
    one.update(stale(one.rollout(), agent=2))
    before = one.weights()
    one.update(one.rollout(seed=5))
    assert all(moved(before, one.weights(), "policy"))


# --- Normalisation and waiting samples


@pytest.mark.parametrize("normalize", [True, False])
def test_advantages_are_normalised_for_each_agent(line, normalize: bool) -> None:
    """With normalisation an agent's learning does not depend on the unit of its reward."""
    settings = {
        "gamma": 1e-9,
        "value_hops": 0,
        "normalize_values": False,
        "normalize_advantages": normalize,
        "target_kl": None,
    }
    runs = []
    for unit in (1.0, 100.0):
        one = line(AGENTS, **settings)
        with torch.no_grad():
            for parameter in one.algorithm.critic.parameters():
                parameter.zero_()  # advantages are rewards
        rollout = one.rollout()
        rollout.reward[..., 0] = unit * rollout.reward[..., 0] + (unit - 1.0)
        runs.append(updated(one, rollout))
    same = [
        torch.allclose(runs[0][name][0], runs[1][name][0], atol=1e-5)
        for name in runs[0]
        if name.startswith("policy")
    ]
    assert all(same) == normalize
    others = moved(*runs, "policy")[1:]
    assert not any(others)


def ended_early(one) -> Rollout:
    """Replica 1 terminates at step 2 and waits; replica 2 begins anew after step 3."""
    rollout = one.rollout()
    rollout.terminated[1, 2] = True
    rollout.active[1, 3:] = False
    rollout.truncated[2, 3] = True
    return rollout


def test_samples_of_a_waiting_replica_do_not_count(line) -> None:
    one, other = line(AGENTS), line(AGENTS)
    rollout, changed = ended_early(one), ended_early(other)
    waiting = ~changed.active
    for name in ("obs", "next_obs", "action", "log_prob", "reward"):
        getattr(changed, name)[waiting] += 7.0
    assert one.update(rollout) == other.update(changed)
    assert not any(moved(one.weights(), other.weights(), ""))


def test_samples_of_a_running_replica_count(line) -> None:
    one, other = line(AGENTS), line(AGENTS)
    rollout, changed = ended_early(one), ended_early(other)
    changed.reward[1, 2] += 7.0
    one.update(rollout)
    other.update(changed)
    assert all(moved(one.weights(), other.weights(), "policy"))


def test_fewer_samples_than_minibatches_are_no_obstacle(line) -> None:
    one = line(AGENTS, minibatches=50)
    before = one.weights()
    assert all(moved(before, updated(one, one.rollout(replicas=1, steps=3)), "critic"))
