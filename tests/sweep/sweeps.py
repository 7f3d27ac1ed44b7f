"""Sweeps that take a moment, and an executor whose trainings come to known scores."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from trafficrl.config import dump_scenario, load_scenario
from trafficrl.config.yaml_source import parse_yaml, to_yaml
from trafficrl.sweep.directory import SweepDirectory
from trafficrl.sweep.executor import End, Job
from trafficrl.sweep.loading import load_sweep
from trafficrl.sweep.plan import Plan
from trafficrl.sweep.runner import Runner
from trafficrl.sweep.search import make_search

LR, LAMBDA = "algorithms.dppo.policy_lr", "algorithms.dppo.gae_lambda"
KINDS, ROLLOUT = "training.algorithm", "algorithms.dppo.rollout_steps"
# Two updates of 80 steps, a validation after the second.
SMALL: dict[str, Any] = {
    "vehicles.0.count": 6,
    "network.length_m": 120.0,
    "episode.steps": 60,
    "episode.control_interval_s": 0.5,
    "training.algorithm": "dppo",
    "training.replicas": 2,
    "training.total_steps": 160,
    "training.validate_every_steps": 160,
    "training.validate_episodes": 1,
    "algorithms.dppo.rollout_steps": 40,
    "algorithms.dppo.policy_hidden": [8],
    "algorithms.dppo.value_hidden": [8],
    "algorithms.dppo.epochs": 2,
    "algorithms.dppo.minibatches": 2,
}
GRID = {"kind": "grid", "values": {LR: [1e-3, 1e-2], LAMBDA: [0.5, 0.9]}}


def write_sweep(path: Path, **sections: Any) -> Path:
    """A sweep file of the small ring, with other sections where they are given."""
    search = sections.get("search", GRID)
    searched = search.get("values", {}) | search.get("ranges", {})
    fixed = {key: value for key, value in SMALL.items() if key not in searched}
    content = {"scenario": "ring", "set": fixed, "search": search, "seeds": [0, 1], **sections}
    path.write_text(to_yaml(content))
    return path


def plan_of(folder: Path, **sections: Any) -> Plan:
    return load_sweep(write_sweep(folder / "sweep.yaml", **sections))


Behaviour = Callable[[dict[str, Any], int], float | str]


class Scripted:
    """Ends one training a wait, the last begun first, with the score that ``behave`` gives.

    A text in its place is the last line of one that fails, or how it was lost if it
    begins with "lost ". The whole program is interrupted at the training ``stop_after``.
    ``started`` has the points and seeds in their order.
    """

    slots = 1

    def __init__(self, behave: Behaviour, stop_after: int = -1) -> None:
        self._behave, self._running = behave, list[tuple[Job, dict[str, Any]]]()
        self.started: list[tuple[dict[str, Any], int]] = []
        self._stop_after = stop_after

    def start(self, job: Job) -> None:
        point = {}
        for setting in job.settings:
            key, _, value = setting.partition("=")
            point[key] = parse_yaml(value, "x").plain()
        self.started.append((point, job.seed))
        self._running.append((job, point))

    def wait(self, seconds: float) -> Sequence[End]:
        if len(self.started) == self._stop_after:
            raise KeyboardInterrupt
        job, point = self._running.pop()
        said = self._behave(point, job.seed)
        if isinstance(said, str):
            lost = said.removeprefix("lost ")
            return [End(job, lost=lost) if lost != said else End(job, error=said)]
        run = Path(job.run)
        run.mkdir(parents=True, exist_ok=True)
        config = load_scenario(job.scenario, [*job.settings, f"training.seed={job.seed}"])
        (run / "scenario.yaml").write_text(dump_scenario(config))
        validation = dict.fromkeys(("collisions", "mean_speed_mps"), 0.0) | {"return": said}
        row = {"iteration": 1, "sim_steps": 160}
        row |= {f"validation_{key}": value for key, value in validation.items()}
        (run / "metrics.jsonl").write_text(json.dumps(row) + "\n")
        return [End(job)]

    def stop(self) -> None:
        self._running.clear()

    def close(self) -> None:
        self._running.clear()


def session(
    plan: Plan, path: Path, executor: Scripted, *, jobs: int = 1, retry_failed: bool = False
) -> Runner:
    """One session of a sweep, interrupted where the executor says so."""
    directory = SweepDirectory(path).create(plan)
    try:
        runner = Runner(plan, directory, make_search(plan), retry_failed=retry_failed)
        with suppress(KeyboardInterrupt):
            runner.run(executor, jobs)
    finally:
        directory.lock.release()
    return runner


def a_job(folder: Path) -> Job:
    run = str(folder / "seed-0")
    return Job(0, 0, "ring", [f"{LR}=0.1", f"{LAMBDA}=1"], run, f"{run}.txt")
