"""Evaluation repeats, says what the issue asks for, and agrees with known reference points."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np
import pytest

from trafficrl import load_scenario
from trafficrl.envs.array_env import ArrayEnv
from trafficrl.evaluation.drivers import ConstantDriver, make_driver
from trafficrl.evaluation.evaluate import METRICS, report, run_episodes, summarize
from trafficrl.evaluation.statistics import bootstrap_interval
from trafficrl.training.episodes import EpisodeRecorder, EpisodeSummary


def episodes(
    driver: str, scenario: str, *overrides: str, count: int = 1, seed: int = 0
) -> list[EpisodeSummary]:
    config = load_scenario(scenario, overrides)
    return run_episodes(make_driver(driver)[0], config, episodes=count, seed=seed)


def summary(**keys: Any) -> EpisodeSummary:
    values: dict[str, Any] = {
        "episode": 0,
        "replica": 0,
        "steps": 100,
        "return_": -50.0,
        "mean_speed_mps": 4.0,
        "speed_std_mps": 0.5,
        "mean_speed_episode_mps": 3.0,
        "collisions": 0,
        "override_fraction": 0.0,
    }
    return EpisodeSummary(**{**values, **keys})


# Repeatability ------------------------------------------------------------------------


def test_an_episode_depends_on_its_seed_and_number_alone() -> None:
    short = "episode.steps=200"
    two = episodes("idm:noise=0.2", "ring", short, count=2, seed=3)
    other = episodes("idm:noise=0.2", "ring", short, count=1, seed=4)
    three = episodes("idm:noise=0.2", "ring", short, count=3, seed=3)
    assert two == three[:2]
    returns = [one.return_ for one in [*three, *other]]
    assert len(set(returns)) == 4


def test_an_episode_does_not_depend_on_what_was_driven_before() -> None:
    """Drivers that use no randomness meet the starts that any other driver meets."""
    config = load_scenario("catchup", ["episode.steps=100"])
    driver = make_driver("constant:3")[0]
    alone = run_episodes(driver, config, episodes=2, seed=1)
    run_episodes(make_driver("idm:noise=1.0")[0], config, episodes=1, seed=9)
    assert run_episodes(driver, config, episodes=2, seed=1) == alone
    assert alone[0].return_ != alone[1].return_


def test_each_finished_episode_is_told() -> None:
    told: list[EpisodeSummary] = []
    config = load_scenario("ring", ["episode.steps=20"])
    found = run_episodes(ConstantDriver(0.1), config, episodes=3, on_episode=told.append)
    assert told == found
    assert [one.episode for one in found] == [0, 1, 2]


# Figures ------------------------------------------------------------------------------


def test_constant_acceleration_on_the_ring_has_its_known_return() -> None:
    """Commands of 1 m/s2 that SUMO overrides: 4 a/22 is paid 22 * 3000 times."""
    (episode,) = episodes("constant:1", "ring", "start.jitter_m=0")
    assert episode.return_ == pytest.approx(-9150, rel=0.01)
    assert episode.mean_speed_mps == pytest.approx(4.82, rel=0.01)
    assert episode.override_fraction > 0.9
    assert (episode.steps, episode.collisions) == (3000, 0)


def test_idm_on_the_ring_has_its_known_return() -> None:
    (episode,) = episodes("idm", "ring", "start.jitter_m=0")
    assert episode.return_ == pytest.approx(2650, rel=0.01)
    assert episode.mean_speed_mps == pytest.approx(4.82, rel=0.01)
    assert episode.speed_std_mps < 0.01
    assert episode.mean_speed_episode_mps < episode.mean_speed_mps
    assert (episode.override_fraction, episode.collisions) == (0.0, 0)


def test_standing_still_costs_and_earns_nothing() -> None:
    (episode,) = episodes("constant:0", "ring", "episode.steps=50")
    assert (episode.return_, episode.mean_speed_mps, episode.speed_std_mps) == (0.0, 0.0, 0.0)


def test_the_return_leaves_training_only_terms_out() -> None:
    close = ["start.headway_m=8.0", "start.first_headway_factor=[1.0, 1.0]", "episode.steps=10"]
    (episode,) = episodes("constant:0", "catchup", *close)
    # 8 vehicles keep h = 8 m and v = v* for 10 steps: -(8 - 20)^2 each, not 5 (10 - 8)^2 more.
    assert episode.return_ == pytest.approx(-8 * 10 * 144.0, rel=1e-6)


def test_speeds_are_those_of_the_last_third_and_of_all_vehicles() -> None:
    mixed = "vehicles=[{controller: learned, count: 1}, {controller: idm, count: 1}]"
    (episode,) = episodes(
        "constant:1", "ring", mixed, "start.jitter_m=0", "episode.steps=30",
        "episode.control_interval_s=0.1", "vehicles.1.parameters={max_acceleration: 0.5}",
    )  # fmt: skip
    # Both drive almost freely: 0.1 k and 0.05 k m/s after k steps.
    learned, human = 0.1 * np.arange(1, 31), 0.05 * np.arange(1, 31)
    both = np.array([learned, human])
    assert episode.mean_speed_mps == pytest.approx(both[:, 20:].mean(), rel=0.01)
    assert episode.speed_std_mps == pytest.approx(both[:, 20:].std(), rel=0.01)
    assert episode.mean_speed_episode_mps == pytest.approx(both.mean(), rel=0.01)


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
    assert episode.collisions == 2
    assert episode.steps < 3000


# Intervals ----------------------------------------------------------------------------


def test_bootstrap_interval_of_a_large_sample_is_the_normal_one() -> None:
    values = np.random.default_rng(0).normal(10.0, 2.0, 400)
    low, high = bootstrap_interval(values)
    error = values.std() / 20.0
    assert low == pytest.approx(values.mean() - 1.96 * error, abs=0.1 * error)
    assert high == pytest.approx(values.mean() + 1.96 * error, abs=0.1 * error)


def test_bootstrap_interval_of_coin_flips_is_the_binomial_one() -> None:
    """The mean of 100 flips resampled: 2.5 % of B(100, 0.5) lies below 40 and above 60."""
    low, high = bootstrap_interval([0.0, 1.0] * 50)
    assert (low, high) == (0.40, 0.60)


def test_bootstrap_interval_repeats_and_narrows_with_confidence() -> None:
    values = [1.0, 2.0, 4.0, 8.0]
    assert bootstrap_interval(values) == bootstrap_interval(values)
    low, high = bootstrap_interval(values)
    inner_low, inner_high = bootstrap_interval(values, confidence=0.5)
    assert low < inner_low < np.mean(values) < inner_high < high


@pytest.mark.parametrize("values", [[3.0], [3.0, 3.0, 3.0]])
def test_bootstrap_interval_of_equal_values_is_a_point(values: list[float]) -> None:
    assert bootstrap_interval(values) == (3.0, 3.0)


# Report -------------------------------------------------------------------------------


def test_the_report_has_what_was_asked_for() -> None:
    config = load_scenario("ring")
    result = report("idm", config, [summary(), summary(return_=-150.0, collisions=2)], seed=5)
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
    assert set(result["intervals_95"]) == set(METRICS)
    assert result["intervals_95"]["return_mean"] == [-150.0, -50.0]


def test_return_per_step_is_over_each_episodes_own_length() -> None:
    table = summarize([summary(return_=-10.0, steps=10), summary(return_=-300.0, steps=100)])
    assert table["return_per_step"]["mean"] == pytest.approx((-1.0 - 3.0) / 2)
