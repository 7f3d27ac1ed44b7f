"""A policy alone does what the run does in its evaluation, for whoever asks it well."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

import trafficrl
from trafficrl import Policy, load_policy
from trafficrl.algorithms import ALGORITHMS
from trafficrl.envs.array_env import ArrayEnv
from trafficrl.errors import CheckpointError, TrafficRLError
from trafficrl.evaluation.drivers import make_driver
from trafficrl.terms import FEATURES
from trafficrl.types import VehicleStates

LOCAL = {"speed": [1.0, 2.0], "headway": [3.0, 8.0], "acceleration": [0.0, -0.5]}


def raw_features(policy: Policy, states: VehicleStates, agents: np.ndarray) -> np.ndarray:
    columns = [FEATURES[one.feature](states, **one.parameters)[0] for one in policy.features]
    return np.stack(columns, axis=-1)[agents]


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_it_commands_what_the_run_does(trained, algorithm: str, shared: bool) -> None:
    run = trained(algorithm, shared)
    policy, (driver, config) = load_policy(run, "latest"), make_driver(str(run), "latest")
    assert policy.card.policies == (1 if shared else 6)
    assert policy.card.memory_width == (17 if algorithm == "ic3net" else 0)
    with closing(ArrayEnv(config, seed=0)) as env:
        obs = env.reset()
        driver.begin(env, np.random.default_rng(0))
        told = []
        for _ in range(8):
            raw = raw_features(policy, env.states, env.agents)
            action = policy.act(raw, env.states.leader[0])
            obs = driver.step(env, obs).obs
            commanded = env.states.commanded_acceleration[0]
            np.testing.assert_allclose(action.values, commanded, atol=1e-6)
            told.append(action.values)
    assert action.unit == "m/s2" and np.ptp(told) > 0


def test_a_choice_becomes_an_acceleration_in_the_states_of_the_moment(trained) -> None:
    run = trained("dsac", True, "catchup")
    policy, (driver, config) = load_policy(run, "latest"), make_driver(str(run), "latest")
    with closing(ArrayEnv(config, seed=0)) as env:
        obs = env.reset()
        driver.begin(env, np.random.default_rng(0))
        for _ in range(5):
            before, agents = env.states, env.agents
            raw = raw_features(policy, before, agents)
            # Human drivers and leads are not among the agents.
            leader = np.maximum(before.leader[0, agents] - 1, -1)
            action = policy.act(raw, leader)
            assert action.unit == "choice" and set(action.values) <= {0, 1, 2, 3}
            now = (
                values[0, agents] for values in (before.speed, before.headway, before.leader_speed)
            )
            accelerations = action.acceleration(*now)
            obs = driver.step(env, obs).obs
            commanded = env.states.commanded_acceleration[0, agents]
            if config.episode.control_interval_s == config.simulation.step_s:
                np.testing.assert_allclose(accelerations, commanded, atol=1e-9)


def test_the_gain_pairs_by_hand(trained) -> None:
    """V(20 m) is 15 m/s: u = 0.5 (15 - 10) + 0.5 (12 - 10), clipped to 2.5 m/s2."""
    policy = load_policy(trained("dsac", True, "catchup"), "latest")
    raw = np.zeros((4, len(policy.features)))
    action = policy.act(raw, [-1, 0, 1, 2])
    chosen = replace(action, values=np.arange(4))  # (0,0), (0.5,0), (0,0.5), (0.5,0.5)
    np.testing.assert_allclose(chosen.acceleration(10.0, 20.0, 12.0), [0.0, 2.5, 1.0, 2.5])
    free = chosen.acceleration(29.0, np.inf, np.nan)
    np.testing.assert_allclose(free, [0.0, 0.5, 0.0, 0.5])


def test_an_acceleration_is_what_it_is_whatever_the_state(trained) -> None:
    action = load_policy(trained(), "latest").act(LOCAL, [-1, 0])
    np.testing.assert_array_equal(action.acceleration(5.0, 9.0, 1.0), action.values)


def test_names_and_the_order_of_the_card_are_the_same(trained) -> None:
    policy = load_policy(trained(), "latest")
    columns = [LOCAL[one.feature] for one in policy.features]
    by_order = policy.act(np.transpose(columns), [-1, 0]).values
    np.testing.assert_array_equal(policy.act(LOCAL, [-1, 0]).values, by_order)


def test_neighbours_are_heard_and_others_are_not(trained) -> None:
    policy = load_policy(trained(), "latest")
    alone = policy.act(LOCAL, [-1, -1]).values
    behind = policy.act(LOCAL, [-1, 0]).values
    assert (alone != behind).all()
    # There is a place for its leader and one for its follower, and none for others.
    assert policy.card.neighbours == ["the vehicle itself", "its leader", "its follower"]
    linked = policy.act(LOCAL, [-1, -1], links=[(1, 0)]).values
    np.testing.assert_array_equal(alone, linked)


def test_a_range_needs_places(trained) -> None:
    policy = load_policy(trained("dppo", True, "ring", "graph.range_m=30.0"), "latest")
    with pytest.raises(TrafficRLError, match=r"xy: 2 places in m.* within 30 m"):
        policy.act(LOCAL, [-1, 0])
    near, far = (policy.act(LOCAL, [-1, -1], xy=[(0, 0), (x, 0)]).values for x in (29, 31))
    assert (near != far).all()
    linked = policy.act(LOCAL, [-1, -1], xy=[(0, 0), (31, 0)], links=[(1, 0)]).values
    np.testing.assert_array_equal(linked, near)


def test_each_vehicle_gets_a_policy_by_its_place_or_as_it_is_dealt(trained) -> None:
    policy = load_policy(trained("dppo", False), "latest")
    same = {name: [values[0]] * 6 for name, values in LOCAL.items()}
    leader = [-1] * 6
    own = policy.act(same, leader).values
    assert len(set(own)) == 6, "weights of their own"
    dealt = policy.act(same, leader, policies=[5, 4, 3, 2, 1, 0]).values
    np.testing.assert_array_equal(dealt, own[::-1])
    two = policy.act(LOCAL, [-1, -1], policies=[0, 5]).values
    np.testing.assert_array_equal(policy.act(LOCAL, [-1, -1]).values, two)


def test_a_vehicle_remembers_by_its_name_and_a_new_one_nothing(trained) -> None:
    policy = load_policy(trained("ic3net"), "latest")
    both = [policy.act(LOCAL, [-1, 0], ids="ab").values for _ in range(3)]
    assert (both[0] != both[1]).all() and (both[1] != both[2]).all()

    policy.reset()
    np.testing.assert_array_equal(policy.act(LOCAL, [-1, 0], ids="ab").values, both[0])
    turned = {name: values[::-1] for name, values in LOCAL.items()}
    second = policy.act(turned, [1, -1], ids="ba").values
    np.testing.assert_allclose(second[::-1], both[1], atol=1e-6)
    first = {name: values[:1] for name, values in LOCAL.items()}
    fresh = policy.act(first, [-1], ids="c").values
    policy.reset()
    np.testing.assert_array_equal(policy.act(first, [-1], ids="a").values, fresh)


@pytest.mark.parametrize(
    ("features", "leader", "more", "message"),
    [
        ({"speed": [1.0]}, [-1], {}, "features: speed given .should be speed in m/s, headway in m"),
        (
            {**LOCAL, "mood": [1.0, 1.0]},
            [-1, 0],
            {},
            "features: speed, headway, acceleration, mood",
        ),
        ({**LOCAL, "speed": [1.0]}, [-1, 0], {}, "each should have one value a vehicle"),
        ({**LOCAL, "headway": [3.0, np.inf]}, [-1, 0], {}, "'headway' of vehicle 1 is inf.*100"),
        ([[1.0, 2.0]], [-1], {}, r"of shape \(1, 2\) \(should be \(N, 3\)"),
        (LOCAL, [-1], {}, "leader: should be 2 numbers"),
        (LOCAL, [-1, 2], {}, r"from -1 \(nobody\) to 1"),
        (LOCAL, [-1, 0], {"links": [(0, 2)]}, "links: should be pairs of vehicles, from 0 to 1"),
        (LOCAL, [-1, 0], {"links": [1, 2, 3]}, "links: should be pairs of vehicles"),
        (LOCAL, [-1, 0], {"links": [[[0, 1]]]}, "links: should be pairs of vehicles"),
        (LOCAL, [-1, 0], {"links": [(0, 0.5)]}, "links: should be pairs of vehicles"),
        (LOCAL, [-1, 0], {"links": [(0, 1), (0,)]}, "links: should be an array of numbers"),
        ({**LOCAL, "speed": ["fast", "slow"]}, [-1, 0], {}, "features: speed: .* of numbers"),
        ({**LOCAL, "speed": [[1.0], [1.0, 2.0]]}, [-1, 0], {}, "features: speed: .* of numbers"),
        ({**LOCAL, "speed": [10**400, 1]}, [-1, 0], {}, "features: speed: .* of numbers"),
        ([[1.0, 2.0, 3.0], [1.0]], [-1, 0], {}, "features: should be an array of numbers"),
        ("text", [-1], {}, "features: should be an array of numbers"),
        (LOCAL, [[-1], [0, 1]], {}, "leader: should be an array of numbers"),
        (LOCAL, [-1, None], {}, "leader: should be 2 numbers"),
        (LOCAL, [-1, 1], {}, "leader: vehicle 1 is its own .should be -1 for nobody"),
        (LOCAL, [-1, 0], {"ids": [[1], [2]]}, "ids: 2 different texts or numbers"),
        (LOCAL, [-1, 0], {"ids": 3}, "ids: 2 different texts or numbers"),
        (LOCAL, [-1, 0], {"policies": "ab"}, "policies: should be an array of numbers"),
        (LOCAL, [-1, 0], {"ids": "aa"}, "ids: 2 different texts or numbers"),
        (LOCAL, [-1, 0], {"policies": [0, 1]}, "policies: should be 2 numbers from 0 to 0"),
    ],
)
def test_mistakes_are_named_on_one_line(trained, features, leader, more, message) -> None:
    with pytest.raises(TrafficRLError, match=message) as caught:
        load_policy(trained(), "latest").act(features, leader, **more)
    assert "\n" not in str(caught.value)


def test_where_there_is_no_policy(trained, tmp_path) -> None:
    with pytest.raises(CheckpointError, match=r"oldest\.pt: no such checkpoint"):
        load_policy(trained(), "oldest")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_policy(tmp_path / "nothing")
    with pytest.raises(CheckpointError, match="not a run directory"):
        load_policy(tmp_path)


def test_every_feature_has_a_unit_and_a_meaning() -> None:
    assert {FEATURES.unit(name) for name in FEATURES} == {"m", "m/s", "m/s2", "1"}
    assert trafficrl.Policy is Policy
