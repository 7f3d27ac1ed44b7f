"""Whole trainings: simulation steps a second, where the time goes, and memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trafficrl.benchmarks.environment import ENDLESS
from trafficrl.benchmarks.measuring import Block, Case, Done, Group, Ratio
from trafficrl.config import load_scenario
from trafficrl.training.fleet import Fleet
from trafficrl.training.run_directory import RunDirectory
from trafficrl.training.setup import make_algorithm
from trafficrl.training.shard import acting_weights
from trafficrl.training.trainer import Trainer

PARTS = ("collect", "update", "validate_and_save")
ITERATIONS = 3
# What has the policies learn in the first iteration.
LEARNS_AT_ONCE = {"dmpo": ("warmup_iterations=0", "max_model_error=null")}
VEHICLES = 1000
SHARES = {"dppo": "", "dsac": "", "dmpo": "base."}
# Short updates: memory does not grow with their number.
FEW = {
    "dppo": ("rollout_steps=200", "epochs=2"),
    "dsac": ("rollout_steps=200", "updates_per_interval=0.2"),
    "dmpo": (
        *("base.rollout_steps=200", "inner_iterations=2", "model.max_updates=20"),
        "branches=256",
        *LEARNS_AT_ONCE["dmpo"],
    ),
}
COLLECTED = 24_000  # simulation steps of a block


def training(scenario: str, algorithm: str) -> Group:
    """The first iterations with the shipped settings, in this process, with one validation.

    Policies learn from the first on: without DMPO's iterations for the model alone, and
    whatever the model's error.
    """
    settings = [f"algorithms.{algorithm}.{one}" for one in LEARNS_AT_ONCE.get(algorithm, ())]
    return Group([_case(f"{scenario}, {algorithm}", scenario, algorithm, ITERATIONS, settings)])


def thousand(algorithm: str, *, shared: bool) -> Group:
    """Iterations of ``VEHICLES`` with all that a training has in memory."""
    ring = [f"vehicles.0.count={VEHICLES}", f"network.length_m={260.0 / 22 * VEHICLES:.1f}"]
    share = f"{SHARES[algorithm]}share_parameters={str(shared).lower()}"
    settings = [f"algorithms.{algorithm}.{one}" for one in (share, *FEW[algorithm])]
    name = f"ring of {VEHICLES}, {algorithm}, {'shared' if shared else 'separate'} weights"
    return Group([_case(name, "ring", algorithm, 2, [*ring, "episode.steps=200", *settings])])


def _case(
    name: str, scenario: str, algorithm: str, iterations: int, overrides: Sequence[str]
) -> Case:
    @contextmanager
    def prepare() -> Iterator[Block]:
        chosen = [f"training.algorithm={algorithm}", "training.validate_episodes=1", *overrides]
        config = load_scenario(scenario, chosen)
        settings: Any = getattr(config.algorithms, algorithm)
        total = iterations * settings.rollout_steps * config.training.replicas
        lengths = [f"training.{one}={total}" for one in ("total_steps", "validate_every_steps")]
        config = load_scenario(scenario, [*chosen, *lengths])
        with tempfile.TemporaryDirectory(prefix="trafficrl-bench-") as folder:
            run = RunDirectory(Path(folder) / "run")
            trainer = Trainer(config, run)
            try:
                run.create(config, {"algorithm": algorithm, "device": "cpu"})
                yield lambda: _train(trainer)
            finally:
                trainer.close()

    return Case(name, "simulation steps", prepare, warm=False)


def _train(trainer: Trainer) -> Done:
    trainer.train()
    timings = trainer.run.timings()
    spent = {part: sum(row[f"{part}_s"] for row in timings) for part in PARTS}
    whole = sum(spent.values())
    return Done(trainer.sim_steps, {f"share_of_{part}": s / whole for part, s in spent.items()})


def workers() -> Group:
    """Two simulations of a ring that two processes collect at the same time, or one by one."""
    config = load_scenario("ring", ["training.algorithm=dppo", "training.simulations=2", ENDLESS])

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
