"""Evaluation repeats, says what the issue asks for, and agrees with known reference points."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import numpy as np
import pytest

from trafficrl import load_scenario
from trafficrl.envs.array_env import ArrayEnv
from trafficrl.evaluation.drivers import ConstantDriver, make_driver
from trafficrl.evaluation.evaluate import Figures, report, run_episodes, summarize
from trafficrl.evaluation.metrics import METRICS
from trafficrl.evaluation.trajectory import Trajectory
from trafficrl.training.episodes import EpisodeRecorder


def episodes(
    driver: str, scenario: str, *overrides: str, count: int = 1, seed: int = 0
) -> list[Figures]:
    config = load_scenario(scenario, overrides)
    return run_episodes(make_driver(driver)[0], config, episodes=count, seed=seed)


def same(one: list[Figures], other: list[Figures]) -> bool:
    """Equal figures, undefined ones included."""
    pairs = zip(one, other, strict=True)
    return all(np.array_equal(list(a.values()), list(b.values()), equal_nan=True) for a, b in pairs)


def figures(**keys: Any) -> Figures:
    values = dict.fromkeys(METRICS, np.nan) | {
        "return_mean": -50.0,
        "return_per_step": -0.5,
        "mean_speed_mps": 4.0,
        "speed_std_mps": 0.5,
        "mean_speed_episode_mps": 3.0,
        "collisions": 0.0,
        "override_fraction": 0.0,
    }
    return {**values, **keys}


# Repeatability ------------------------------------------------------------------------


def test_an_episode_depends_on_its_seed_and_number_alone() -> None:
    short = "episode.steps=200"
    two = episodes("idm:noise=0.2", "ring", short, count=2, seed=3)
    other = episodes("idm:noise=0.2", "ring", short, count=1, seed=4)
    three = episodes("idm:noise=0.2", "ring", short, count=3, seed=3)
    assert same(two, three[:2])
    returns = [one["return_mean"] for one in [*three, *other]]
    assert len(set(returns)) == 4


def test_an_episode_does_not_depend_on_what_was_driven_before() -> None:
    """Drivers that use no randomness meet the starts that any other driver meets."""
    config = load_scenario("catchup", ["episode.steps=100"])
    driver = make_driver("constant:3")[0]
    alone = run_episodes(driver, config, episodes=2, seed=1)
    run_episodes(make_driver("idm:noise=1.0")[0], config, episodes=1, seed=9)
    assert same(run_episodes(driver, config, episodes=2, seed=1), alone)
    assert alone[0]["return_mean"] != alone[1]["return_mean"]


def test_each_finished_episode_is_told() -> None:
    told: list[Trajectory] = []
    config = load_scenario("ring", ["episode.steps=20"])
    found = run_episodes(ConstantDriver(0.1), config, episodes=3, on_episode=told.append)
    assert [one.speed.mean() for one in told] == [one["mean_speed_episode_mps"] for one in found]
    assert [one.episode for one in told] == [0, 1, 2]


# Figures ------------------------------------------------------------------------------


def test_constant_acceleration_on_the_ring_has_its_known_return() -> None:
    """Commands of 1 m/s2 that SUMO overrides: 4 a/22 is paid 22 * 3000 times."""
    (episode,) = episodes("constant:1", "ring", "start.jitter_m=0")
    assert episode["return_mean"] == pytest.approx(-9150, rel=0.01)
    assert episode["mean_speed_mps"] == pytest.approx(4.82, rel=0.01)
    assert episode["override_fraction"] > 0.9
    assert (episode["episode_steps"], episode["collisions"]) == (3000, 0)


def test_idm_on_the_ring_has_its_known_return() -> None:
    (episode,) = episodes("idm", "ring", "start.jitter_m=0")
    assert episode["return_mean"] == pytest.approx(2650, rel=0.01)
    assert episode["mean_speed_mps"] == pytest.approx(4.82, rel=0.01)
    assert episode["speed_std_mps"] < 0.01
    assert episode["mean_speed_episode_mps"] < episode["mean_speed_mps"]
    assert (episode["override_fraction"], episode["collisions"]) == (0.0, 0)


def test_standing_still_costs_and_earns_nothing() -> None:
    (episode,) = episodes("constant:0", "ring", "episode.steps=50")
    names = ("return_mean", "mean_speed_mps", "speed_std_mps")
    assert [episode[name] for name in names] == [0.0, 0.0, 0.0]


def test_the_return_leaves_training_only_terms_out() -> None:
    close = ["start.headway_m=8.0", "start.first_headway_factor=[1.0, 1.0]", "episode.steps=10"]
    (episode,) = episodes("constant:0", "catchup", *close)
    # 8 vehicles keep h = 8 m and v = v* for 10 steps: -(8 - 20)^2 each, not 5 (10 - 8)^2 more.
    assert episode["return_mean"] == pytest.approx(-8 * 10 * 144.0, rel=1e-6)


def test_speeds_are_those_of_the_last_third_and_of_all_vehicles() -> None:
    mixed = "vehicles=[{controller: learned, count: 1}, {controller: idm, count: 1}]"
    (episode,) = episodes(
        "constant:1", "ring", mixed, "start.jitter_m=0", "episode.steps=30",
        "episode.control_interval_s=0.1", "vehicles.1.parameters={max_acceleration: 0.5}",
    )  # fmt: skip
    # Both drive almost freely: 0.1 k and 0.05 k m/s after k steps.
    learned, human = 0.1 * np.arange(1, 31), 0.05 * np.arange(1, 31)
    both = np.array([learned, human])
    assert episode["mean_speed_mps"] == pytest.approx(both[:, 20:].mean(), rel=0.01)
    assert episode["speed_std_mps"] == pytest.approx(both[:, 20:].std(), rel=0.01)
    assert episode["mean_speed_episode_mps"] == pytest.approx(both.mean(), rel=0.01)


def test_an_episode_is_as_long_as_it_was_driven() -> None:
    """A collision after 37 steps, within an interval of 5."""
    config = load_scenario("ring", ["start.jitter_m=0", "simulation.speed_mode=0"])
    action = np.zeros((1, 22, 1))
    action[0, 3] = 1.0
    with closing(ArrayEnv(config)) as env:
        env.reset()
        recorder = EpisodeRecorder(env)
        recorder.begin()
        while not env.done:
            ended = recorder.add(env.step(action))
    (episode,) = ended
    assert (episode.steps, episode.collisions) == (37, 2)
    # v = 0.1 k after k steps at 1 m/s2, one of 22 agents.
    expected = sum(4 * 0.1 * k / 20 - 4 for k in range(1, 38)) / 22
    assert episode.return_ == pytest.approx(expected)


def test_collisions_count_vehicles_and_end_the_episode() -> None:
    crowded = ["simulation.speed_mode=0", "start.jitter_m=0", "start.speed_mps=5"]
    mixed = "vehicles=[{controller: idm, count: 1}, {controller: learned, count: 1}]"
    (episode,) = episodes("constant:1", "ring", mixed, *crowded, "network.length_m=40")
    assert episode["collisions"] == 2
    assert episode["episode_steps"] < 3000


# Report -------------------------------------------------------------------------------


def test_the_report_has_what_was_asked_for() -> None:
    config = load_scenario("ring")
    two = [figures(), figures(return_mean=-150.0, return_per_step=-1.5, collisions=2.0)]
    result = report("idm", config, two, seed=5)
    expected = {
        "return_mean": -100.0,
        "return_per_step": -1.0,
        "mean_speed_mps": 4.0,
        "speed_std_mps": 0.5,
        "mean_speed_episode_mps": 3.0,
        "collisions": 1.0,
        "override_fraction": 0.0,
        "episodes": 2,
        "seed": 5,
        "speed_mode": 1,
        "scenario": "ring",
    }
    assert {key: result[key] for key in expected} == expected
    assert set(result["intervals_95"]) == set(result["per_episode"]) == set(METRICS)
    assert set(METRICS) <= set(result)
    assert result["intervals_95"]["return_mean"] == [-150.0, -50.0]
    assert result["per_episode"]["return_mean"] == [-50.0, -150.0]


def test_what_is_not_defined_is_null_in_json() -> None:
    text = json.dumps(report("idm", load_scenario("ring"), [figures()], seed=0), allow_nan=False)
    result = json.loads(text)
    assert result["string_gain_max"] is None
    assert result["intervals_95"]["string_gain_max"] == [None, None]


def test_a_mean_is_over_the_episodes_in_which_it_is_defined() -> None:
    table = summarize([figures(ttc_min_s=2.0), figures(), figures(ttc_min_s=4.0)])
    assert table["ttc_min_s"] == (3.0, 2.0, 4.0)


@pytest.mark.parametrize("scenario", ["ring", "catchup"])
def test_an_episode_can_be_driven_without_those_before_it(scenario: str) -> None:
    config = load_scenario(scenario, ["episode.steps=20"])
    driver, found = make_driver("idm:noise=0.2")[0], []
    run_episodes(driver, config, episodes=3, seed=4, on_episode=found.append)
    run_episodes(driver, config, episodes=1, seed=4, first=2, on_episode=found.append)
    *_, third, alone = found
    assert alone.episode == third.episode == 2
    np.testing.assert_array_equal(alone.position, third.position)
    assert (alone.position != found[0].position).any()
