"""What a rollout holds, from episodes in real SUMO."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest
import torch

from trafficrl.algorithms.rollout import Links, Rollout
from trafficrl.training.collector import fold_absorbed
from trafficrl.training.shard import Shard

INTERVALS = 12  # of 5 steps, in an episode of 60


@pytest.fixture
def shard(training) -> Iterator[Callable[..., Shard]]:
    """``shard(task, *overrides)``, closed when the test ends."""
    with ExitStack() as stack:

        def make(task: str = "ring", *overrides: str) -> Shard:
            return stack.enter_context(closing(Shard(training("run", task, *overrides).config)))

        yield make


def test_a_rollout_goes_through_the_ends_of_episodes(shard) -> None:
    one = shard()
    collected = one.collector.collect(100)
    rollout = collected.rollout
    replicas, agents = 2, 6
    assert rollout.obs.shape == (replicas, 20, agents, one.env.obs_dim)
    assert rollout.action.shape == (replicas, 20, agents, 1)
    for name in ("log_prob", "reward"):
        assert getattr(rollout, name).shape == (replicas, 20, agents)
    ends = torch.arange(20) == INTERVALS - 1
    assert torch.equal(rollout.truncated, ends.expand(replicas, 20))
    assert not rollout.terminated.any() and rollout.active.all()
    assert collected.sim_steps == 100 * replicas
    assert [(one.episode, one.replica, one.steps) for one in collected.episodes] == [
        (0, 0, 60),
        (1, 1, 60),
    ]


def test_next_obs_is_what_followed_even_where_an_episode_ended(shard) -> None:
    rollout = shard().collector.collect(100).rollout
    continues = torch.equal(rollout.next_obs[:, :-1], rollout.obs[:, 1:])
    assert not continues, "the last observation of an episode is not the first of the next"
    for first, last in ((0, INTERVALS), (INTERVALS, 20)):
        inside = slice(first, last - 1)
        assert torch.equal(rollout.next_obs[:, inside], rollout.obs[:, first + 1 : last])
    # A standing start (a speed of 0 is observed as -1), but not where the episode was cut.
    assert (rollout.obs[:, INTERVALS, :, 0] == -1).all()
    assert rollout.next_obs[:, INTERVALS - 1, :, 0].max() > -1


def test_memories_go_on_within_an_episode_and_start_from_nothing(shard) -> None:
    one = shard("ic3net")
    rollouts = [one.collector.collect(50).rollout for _ in range(2)]
    memory, following = (
        torch.cat([getattr(rollout, name) for rollout in rollouts], dim=1)
        for name in ("memory", "next_memory")
    )
    assert memory.shape == following.shape == (2, 20, 6, one.actor.memory_width)
    assert following.abs().sum(-1).min() > 0
    begins = torch.arange(1, 20) == INTERVALS
    expected = torch.where(begins[:, None, None], 0.0, following[:, :-1])
    assert torch.equal(memory[:, 1:], expected) and (memory[:, 0] == 0).all()


@pytest.mark.parametrize("task", ["ring", "catchup"])
def test_log_probabilities_are_those_of_the_policy(shard, task: str) -> None:
    one = shard(task)
    rollout = one.collector.collect(40).rollout
    inputs = one.actor.encoder.neighbourhood(rollout.obs, *rollout.links.policy)
    action, log_prob = (x.flatten(0, 1).transpose(0, 1) for x in (rollout.action, rollout.log_prob))
    found = one.actor.policy.evaluate(inputs, action)[0]
    torch.testing.assert_close(found, log_prob, rtol=1e-4, atol=1e-5)


def test_a_replica_that_has_ended_waits_without_reward(shard) -> None:
    one = shard(
        "ring",
        "simulation.speed_mode=0",
        "network.length_m=45.0",
        "algorithms.dppo.initial_action_std=3.0",
        "episode.steps=200",
    )
    collected = one.collector.collect(200)
    rollout = collected.rollout
    waiting = ~rollout.active
    assert rollout.terminated.any() and waiting.any(), "no replica had to wait"
    assert (rollout.reward[waiting] == 0).all()
    assert not (rollout.terminated | rollout.truncated)[waiting].any()
    assert collected.sim_steps < 2 * 200


def test_links_stay_one_where_the_order_of_vehicles_fixes_them(shard) -> None:
    links = shard().collector.collect(40).rollout.links
    assert links.policy[0].shape == (6, 3)
    assert links.policy[0][0].tolist() == [0, 5, 1]  # self, leader, follower


def test_links_follow_a_graph_that_changes(shard) -> None:
    links = shard("in_range").collector.collect(40).rollout.links
    for (index, mask), hops in ((links.policy, 1), (links.value, 3)):
        # Room for k vehicles ahead and k behind, and for all others off the chain.
        assert index.shape == mask.shape == (2, 8, 6, 2 * hops + 6)
        assert mask[..., 0].all() and (index[..., 0] == torch.arange(6)).all()
    assert (links.policy[1] != links.policy[1][:, :1]).any()


@pytest.mark.parametrize(("limit", "width"), [("null", 8), ("2", 3)])
def test_links_have_their_time_even_where_nothing_changes(shard, limit: str, width: int) -> None:
    one = shard("ring", "graph.range_m=30.0", f"graph.max_neighbours={limit}")
    links = one.collector.collect(40).rollout.links
    assert links.policy[0].shape == (2, 8, 6, width)


def test_what_follows_a_collision_is_paid_with_the_step_that_led_there() -> None:
    """Steps 0 to 5; held from after step 1 to step 3; a new episode of two steps follows."""
    steps, gamma = 6, 0.5
    flags = torch.zeros(1, steps, dtype=torch.bool)
    held, absorbed, truncated = flags.clone(), flags.clone(), flags.clone()
    held[0, 2:4] = True
    absorbed[0, 1:4] = True
    truncated[0, 3] = truncated[0, 5] = True
    column = torch.zeros(1, steps, 1, 1)
    none = torch.zeros(1, 1, dtype=torch.long), torch.ones(1, 1, dtype=torch.bool)
    links = Links(none, none)
    rollout = Rollout(
        obs=column,
        action=column,
        log_prob=column[..., 0],
        reward=torch.tensor([1.0, -10.0, -8.0, -4.0, 2.0, 3.0]).view(1, steps, 1),
        next_obs=column,
        terminated=flags.clone(),
        truncated=truncated,
        active=~flags,
        memory=column,
        next_memory=column,
        links=links,
        next_links=links,
    )
    fold_absorbed(rollout, held, absorbed, gamma)
    # -10 + 0.5 (-8 + 0.5 * -4) at the collision; the new episode is as it was.
    counts = rollout.active[0]
    assert counts.tolist() == [True, True, False, False, True, True]
    assert rollout.reward[0, counts, 0].tolist() == [1.0, -15.0, 2.0, 3.0]
    assert rollout.terminated[0].tolist() == [False, True, False, False, False, False]
    assert rollout.truncated[0].tolist() == [False, False, False, False, False, True]


def test_a_crash_in_the_platoon_terminates_for_the_learner_and_goes_on_for_the_task(
    shard,
) -> None:
    crash = ("episode.collision_headway_m=25.0", "training.replicas=1")
    collected = shard("catchup", *crash).collector.collect(60)
    rollout = collected.rollout
    assert rollout.terminated.sum() == 1 and not rollout.truncated.any()
    assert rollout.active.sum() == rollout.terminated[0].nonzero()[0, 0] + 1
    assert collected.episodes[0].steps == 60
