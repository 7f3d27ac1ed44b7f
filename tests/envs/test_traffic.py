"""What an episode begins with: lengths, warm-up, and drivers that are no agents."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from trafficrl.envs.array_env import ArrayEnv
from trafficrl.types import VEHICLE_LENGTH

OpenArray = Callable[..., ArrayEnv]

MIXED = (
    "vehicles=[{controller: learned, count: 1}, "
    "{controller: idm, count: 21, parameters: {noise: 0.2}}]"
)


def test_lengths_are_drawn_for_each_replica_and_episode(open_array: OpenArray) -> None:
    env = open_array("ring", "network.length_range_m=[220, 270]", replicas=3)
    drawn = []
    for _ in range(4):
        env.reset()
        lengths = env.states.path_length
        # Ring and traffic have that length: headways and vehicles fill it.
        occupied = (env.states.headway + VEHICLE_LENGTH).sum(axis=1)
        np.testing.assert_allclose(occupied, lengths, rtol=0, atol=1e-6)
        drawn += lengths.tolist()
    assert min(drawn) >= 220
    assert max(drawn) <= 270
    assert len(set(np.round(drawn, 3))) > 6
    np.testing.assert_allclose(drawn, np.round(drawn), atol=1e-5)
    again = open_array("ring", "network.length_range_m=[220, 270]", replicas=3)
    again.reset()
    assert again.states.path_length.tolist() == drawn[:3]


def test_vehicles_circulate_on_drawn_lengths(open_array: OpenArray) -> None:
    env = open_array("ring", "network.length_range_m=[220, 270]", "episode.steps=900", replicas=2)
    for _ in range(2):
        env.reset()
        while not env.done:
            env.step(np.full((2, 22, 1), 0.3))
        assert (env.states.distance > env.states.path_length[:, None]).all()
        occupied = (env.states.headway + VEHICLE_LENGTH).sum(axis=1)
        np.testing.assert_allclose(occupied, env.states.path_length, rtol=0, atol=1e-5)


def test_the_clock_starts_after_the_warm_up(open_array: OpenArray) -> None:
    env = open_array("ring_wave", "warmup.duration_s=30")
    for _ in range(2):
        env.reset()
        states = env.states
        assert (states.time, env.steps) == (0.0, 0)
        assert not states.distance.any()
        assert not states.collided.any()
        assert states.speed.min() > 1.0
        before = states.position
        env.step(np.zeros((1, 22, 1)))
        travelled = np.mod(env.states.position - before, 260.0)
        np.testing.assert_allclose(env.states.distance, travelled, rtol=0, atol=1e-6)
        assert env.states.time == pytest.approx(0.5)


def test_the_warm_up_leaves_a_stop_and_go_wave(open_array: OpenArray) -> None:
    env = open_array("ring_wave", replicas=4)
    env.reset()
    assert env.states.speed.std(axis=1).min() > 1.5
    assert env.states.speed.min(axis=1).max() < 1.5


def test_without_warm_up_all_stand_evenly_spread(open_array: OpenArray) -> None:
    env = open_array("ring", "start.jitter_m=0")
    env.reset()
    assert not env.states.speed.any()
    np.testing.assert_allclose(env.states.headway, 260 / 22 - 5, rtol=0, atol=1e-6)


@pytest.mark.parametrize("replicas", [1, 2])
def test_one_agent_drives_among_noisy_humans(replicas: int, open_array: OpenArray) -> None:
    env = open_array(
        "ring", MIXED, "episode.steps=600", "episode.control_interval_s=0.1", replicas=replicas
    )
    assert env.agent_names == ("cav_0",)
    obs = env.reset()
    assert obs.shape == (replicas, 1, env.obs_dim)
    speeds = []
    while not env.done:
        step = env.step(np.full((replicas, 1, 1), 0.05))
        assert step.reward.shape == (replicas, 1)
        assert step.overridden.shape == step.collided.shape == (replicas, 22)
        assert not step.collided.any()
        speeds.append(env.states.speed)
    humans = np.array(speeds)[..., 1:]
    assert humans[-1].min() > 0.0
    # White noise of their own: no two humans, nor those of two replicas, drive alike.
    last = humans[-1].ravel()
    assert len(np.unique(last)) == len(last)
    assert env.vehicle_graphs()[0].graph.number_of_nodes() == 1


def test_humans_repeat_with_the_seed_and_differ_without(open_array: OpenArray) -> None:
    env = open_array("ring", MIXED, "episode.steps=100")
    ends = []
    for seed in (1, 1, 2):
        env.reset(np.random.default_rng(seed))
        while not env.done:
            env.step(np.zeros((1, 1, 1)))
        ends.append(env.states.speed.tolist())
    assert ends[0] == ends[1] != ends[2]


def test_agents_anywhere_in_the_order_are_driven_and_rewarded(open_array: OpenArray) -> None:
    """Groups of humans in front of and between the agents shift nothing."""
    groups = (
        "vehicles=[{controller: idm, count: 3}, {controller: learned, count: 2}, "
        "{controller: idm, count: 4}, {controller: learned, count: 1}]"
    )
    env = open_array("ring", groups, "start.jitter_m=0", "episode.control_interval_s=0.1")
    env.reset()
    step = env.step(np.array([[[0.1], [0.2], [0.3]]]))
    assert env.agents.tolist() == [3, 4, 9]
    assert env.states.speed[0, env.agents] == pytest.approx([0.01, 0.02, 0.03])
    # The speed, less 2.5 over 2.5 m/s.
    assert step.obs[0, :, 0] == pytest.approx([-0.996, -0.992, -0.988])
    asked = step.reward_terms["absolute_acceleration"][0]
    assert asked / asked[0] == pytest.approx([1.0, 2.0, 3.0])
    # Two neighbours, and nobody beside the third.
    assert env.vehicle_graphs()[0].adjacency.sum(axis=1).tolist() == [2, 2, 1]


@pytest.mark.parametrize(("arrangement", "agents"), [("spread", [1, 4]), ("in_order", [0, 1])])
def test_each_vehicle_is_driven_by_the_controller_of_its_place(
    arrangement: str, agents: list[int], open_array: OpenArray
) -> None:
    groups = (
        "vehicles=[{controller: learned, count: 2}, "
        "{controller: idm, count: 4, parameters: {max_acceleration: 0.5}}]"
    )
    env = open_array(
        *("ring", groups, f"arrangement={arrangement}", "start.jitter_m=0"),
        "episode.control_interval_s=0.1",
    )
    env.reset()
    env.step(np.full((1, 2, 1), 0.2))
    assert env.agents.tolist() == agents
    expected = np.full(6, 0.05 * (1 - (2 / (260 / 6 - VEHICLE_LENGTH)) ** 2))
    expected[agents] = 0.02
    assert env.states.speed[0] == pytest.approx(expected)


def test_rotated_starts_turn_the_whole_formation(open_array: OpenArray) -> None:
    env = open_array("ring", "start.jitter_m=0", "start.rotate=true")
    env.reset()
    first = env.states.position
    env.reset()
    turn = np.mod(env.states.position - first, 260.0)
    np.testing.assert_allclose(turn, turn[0, 0], rtol=0, atol=1e-6)
    assert 1.0 < turn[0, 0] < 259.0
