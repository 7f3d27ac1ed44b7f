"""Deterministic evaluation on episodes that no training or validation has seen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from trafficrl.config import ScenarioConfig
from trafficrl.envs.array_env import ArrayEnv
from trafficrl.evaluation.driver import Driver
from trafficrl.evaluation.statistics import bootstrap_interval
from trafficrl.training.episodes import EpisodeRecorder, EpisodeSummary
from trafficrl.training.seeding import numpy_stream


class Metric(NamedTuple):
    """How a figure comes from an episode, and what it is counted in."""

    of: Callable[[EpisodeSummary], float]
    unit: str


METRICS = {
    "return_mean": Metric(lambda e: e.return_, "reward, all vehicles and steps"),
    "return_per_step": Metric(lambda e: e.return_ / e.steps, "reward, all vehicles"),
    "mean_speed_mps": Metric(lambda e: e.mean_speed_mps, "m/s, last third of the episode"),
    "speed_std_mps": Metric(lambda e: e.speed_std_mps, "m/s, last third of the episode"),
    "mean_speed_episode_mps": Metric(lambda e: e.mean_speed_episode_mps, "m/s, whole episode"),
    "collisions": Metric(lambda e: e.collisions, "vehicles"),
    "override_fraction": Metric(lambda e: e.override_fraction, "of commands, by SUMO"),
    "episode_steps": Metric(lambda e: e.steps, "simulation steps"),
}


def run_episodes(
    driver: Driver,
    config: ScenarioConfig,
    *,
    episodes: int,
    seed: int = 0,
    on_episode: Callable[[EpisodeSummary], None] = lambda episode: None,
) -> list[EpisodeSummary]:
    """Drive ``episodes`` episodes; episode k depends on ``seed`` and k alone."""
    env = ArrayEnv(config, replicas=1)
    recorder = EpisodeRecorder(env)
    summaries: list[EpisodeSummary] = []
    try:
        driver.prepare(env)
        for index in range(episodes):
            rng = numpy_stream("evaluation", seed, index)
            obs = env.reset(rng)
            recorder.begin()
            driver.begin(env, rng)
            while not env.done:
                step = driver.step(env, obs)
                obs = step.obs
                for summary in recorder.add(step):
                    summaries.append(summary)
                    on_episode(summary)
    finally:
        env.close()
    return summaries


def summarize(summaries: Sequence[EpisodeSummary]) -> dict[str, dict[str, float]]:
    """Mean and 95 % interval over episodes of every metric."""
    table = {}
    for name, metric in METRICS.items():
        values = np.array([metric.of(summary) for summary in summaries], dtype=np.float64)
        low, high = bootstrap_interval(values)
        table[name] = {"mean": float(values.mean()), "low": low, "high": high}
    return table


def report(
    name: str,
    config: ScenarioConfig,
    summaries: Sequence[EpisodeSummary],
    *,
    seed: int,
    overrides: Sequence[str] = (),
) -> dict[str, Any]:
    """What ``trafficrl evaluate --json`` writes: means flat, intervals beside them."""
    table = summarize(summaries)
    return {
        "controller": name,
        "scenario": config.name,
        "overrides": list(overrides),
        "speed_mode": config.simulation.speed_mode,
        "control_interval_s": config.episode.control_interval_s,
        "episodes": len(summaries),
        "seed": seed,
        **{metric: row["mean"] for metric, row in table.items()},
        "intervals_95": {metric: [row["low"], row["high"]] for metric, row in table.items()},
    }
