"""Whole trainings: simulation steps a second, where the time goes, and memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trafficrl.benchmarks.measuring import Block, Case, Done, Group, Ratio
from trafficrl.config import load_scenario
from trafficrl.training.fleet import Fleet
from trafficrl.training.run_directory import RunDirectory
from trafficrl.training.setup import make_algorithm
from trafficrl.training.shard import acting_weights
from trafficrl.training.trainer import Trainer

PARTS = ("collect", "update", "validate_and_save")
ITERATIONS = 3
COLLECTED = 24_000  # simulation steps of a block


def training(scenario: str, algorithm: str) -> Group:
    """The first iterations with the shipped settings, in this process, with one validation."""

    @contextmanager
    def prepare() -> Iterator[Block]:
        with tempfile.TemporaryDirectory(prefix="trafficrl-bench-") as folder:
            yield lambda: _train(scenario, algorithm, Path(folder))

    return Group([Case(f"{scenario}, {algorithm}", "simulation steps", prepare, warm=False)])


def _train(scenario: str, algorithm: str, folder: Path) -> Done:
    settings = getattr(load_scenario(scenario).algorithms, algorithm)
    total = ITERATIONS * settings.rollout_steps * load_scenario(scenario).training.replicas
    config = load_scenario(
        scenario,
        [
            f"training.algorithm={algorithm}",
            f"training.total_steps={total}",
            f"training.validate_every_steps={total}",
            "training.validate_episodes=1",
        ],
    )
    run = RunDirectory(folder / "run")
    trainer = Trainer(config, run)
    try:
        run.create(config, {"algorithm": algorithm, "device": "cpu"})
        trainer.train()
    finally:
        trainer.close()
    spent = {part: sum(row[f"{part}_s"] for row in run.timings()) for part in PARTS}
    whole = sum(spent.values())
    shares = {f"share_of_{part}": seconds / whole for part, seconds in spent.items()}
    return Done(trainer.sim_steps, shares)


def workers() -> Group:
    """Two simulations of a ring that two processes collect at the same time, or one by one."""
    config = load_scenario(
        "ring", ["training.algorithm=dppo", "training.simulations=2", "episode.steps=1000000000"]
    )

    def case(count: int) -> Case:
        @contextmanager
        def prepare() -> Iterator[Block]:
            fleet = Fleet(config, count)
            learner = make_algorithm("dppo", config, fleet.widths, seed=0)
            weights = acting_weights(learner, config.n_agents)

            def block() -> int:
                steps = COLLECTED // 2
                return fleet.collect(weights, sim_steps=steps, since=0, iteration=1).sim_steps

            try:
                yield block
            finally:
                fleet.close()

        return Case(f"workers = {count}", "simulation steps", prepare, clock="wall")

    ratio = Ratio("two workers against one", "workers = 2", "workers = 1", 1.7, faster=True)
    return Group([case(1), case(2)], [ratio])
