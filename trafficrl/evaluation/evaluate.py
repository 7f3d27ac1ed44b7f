"""Deterministic evaluation on episodes that no training or validation has seen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trafficrl.config import ScenarioConfig
from trafficrl.envs.array_env import ArrayEnv
from trafficrl.errors import SimulationError
from trafficrl.evaluation.driver import Driver
from trafficrl.evaluation.metrics import METRICS
from trafficrl.evaluation.metrics.waves import head_to_tail
from trafficrl.evaluation.statistics import Estimate, estimate
from trafficrl.evaluation.trajectory import Trajectory, TrajectoryRecorder
from trafficrl.simulation.sumo_warnings import Tally
from trafficrl.training.seeding import numpy_stream

Figures = dict[str, float]
"""Every metric of one episode, NaN where it is not defined."""


def run_episodes(
    driver: Driver,
    config: ScenarioConfig,
    *,
    episodes: int,
    seed: int = 0,
    first: int = 0,
    places: bool = False,
    on_episode: Callable[[Trajectory], None] = lambda trajectory: None,
    warnings: Tally | None = None,
) -> list[Figures]:
    """Drive ``episodes`` episodes from ``first`` on; episode k depends on ``seed`` and k alone.

    ``on_episode`` is given each trajectory, with coordinates and lanes if ``places``;
    to ``warnings`` those of SUMO are added. ``SimulationError`` where no vehicle is
    there in any of them.
    """
    env = ArrayEnv(config, replicas=1)
    recorder = TrajectoryRecorder(env, places=places)
    recorder.episodes = first
    figures: list[Figures] = []
    deserted = True
    try:
        driver.prepare(env)
        for index in range(first, first + episodes):
            env.world.warnings_belong_to({"episode": index})
            obs = begin_episode(driver, env, seed=seed, episode=index)
            recorder.begin()
            while not env.done:
                step = driver.step(env, obs)
                obs = step.obs
                for trajectory in recorder.add(step, driver.messages):
                    deserted = deserted and not trajectory.present.any()
                    figures.append(figures_of(trajectory))
                    on_episode(trajectory)
    finally:
        env.close()
        if warnings is not None:
            warnings.merge(env.world.take_warnings())
    if deserted:
        seconds = config.episode.steps * config.simulation.step_s
        raise SimulationError(
            f"{config.name}: no car departs in the {seconds:g} s of an episode "
            "(earlier departures in the route files, or more episode.steps, are needed)"
        )
    return figures


def begin_episode(driver: Driver, env: ArrayEnv, *, seed: int, episode: int) -> NDArray[np.float32]:
    """Begin evaluation episode number ``episode`` of ``seed``; returns obs (B, N, O)."""
    rng = numpy_stream("evaluation", seed, episode)
    obs = env.reset(rng)
    driver.begin(env, rng)
    return obs


def figures_of(trajectory: Trajectory) -> Figures:
    """Every metric of an episode."""
    return {name: metric.of(trajectory) for name, metric in METRICS.items()}


def summarize(episodes: Sequence[Figures]) -> dict[str, Estimate]:
    """Mean and 95 % interval over episodes of every metric."""
    return {name: estimate([figures[name] for figures in episodes]) for name in METRICS}


def report(
    name: str,
    config: ScenarioConfig,
    episodes: Sequence[Figures],
    *,
    seed: int,
    overrides: Sequence[str] = (),
    warnings: Tally | None = None,
) -> dict[str, Any]:
    """What ``trafficrl evaluate --json`` writes: means flat, intervals and episodes beside them."""
    table = summarize(episodes)
    return {
        "controller": name,
        "scenario": config.name,
        "overrides": list(overrides),
        "speed_mode": config.simulation.speed_mode,
        "control_interval_s": config.episode.control_interval_s,
        "episodes": len(episodes),
        "seed": seed,
        **{metric: known(row.value) for metric, row in table.items()},
        "intervals_95": {
            metric: [known(row.low), known(row.high)] for metric, row in table.items()
        },
        "per_episode": {
            metric: [known(figures[metric]) for figures in episodes] for metric in METRICS
        },
        "sumo_warnings": None if warnings is None else warnings.summary(),
    }


def string_gain_spectrum(trajectory: Trajectory) -> dict[str, list[float]] | None:
    """Head-to-tail gain by frequency, where the first vehicle of a line excites it."""
    found = head_to_tail(trajectory)
    if found is None:
        return None
    return {
        "frequency_hz": found.frequency[found.excited].tolist(),
        "gain": found.gain[found.excited].tolist(),
    }


def known(value: float) -> float | None:
    """``value`` as JSON has it, which has no NaN."""
    return value if math.isfinite(value) else None
