"""Every algorithm trains on every task, with the settings that ship."""

from __future__ import annotations

import math

import pytest

from trafficrl.algorithms import ALGORITHMS
from trafficrl.config import load_scenario
from trafficrl.training.progress import Progress
from trafficrl.training.run_directory import RunDirectory
from trafficrl.training.trainer import Trainer

TASKS = [
    "catchup",
    "slowdown",
    "ring",
    "ring_free",
    "ring_local",
    "figure_eight",
    "figure_eight_free",
]
# Two updates on short episodes; of what ships, only what takes long is smaller.
SHORT = [
    "episode.steps=60",
    "training.replicas=2",
    "training.total_steps=240",
    "training.validate_every_steps=240",
    "training.validate_episodes=2",
]
SMALLER = {
    "dmpo": [
        "algorithms.dmpo.warmup_iterations=0",
        "algorithms.dmpo.inner_iterations=1",
        "algorithms.dmpo.model_probability=1.0",
        "algorithms.dmpo.max_model_error=null",
        "algorithms.dmpo.branches=8",
        "algorithms.dmpo.branch_length=3",
        "algorithms.dmpo.model.max_updates=5",
        "algorithms.dmpo.base.rollout_steps=60",
    ],
    "dsac": ["algorithms.dsac.batch_size=16"],
}


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
@pytest.mark.parametrize("task", TASKS)
def test_every_algorithm_trains_on_every_task(tmp_path, task: str, algorithm: str) -> None:
    changes = [*SHORT, f"training.algorithm={algorithm}", *SMALLER.get(algorithm, [])]
    if algorithm != "dmpo":
        changes.append(f"algorithms.{algorithm}.rollout_steps=60")
    config = load_scenario(task, changes)
    run = RunDirectory(tmp_path / "run").create(config, {})
    trainer = Trainer(run.scenario(), run)
    updates: list[Progress] = []
    try:
        trainer.train(updates.append)
    finally:
        trainer.close()
    assert [update.sim_steps for update in updates] == [120, 240]
    losses = updates[-1].metrics
    learned = [value for name, value in losses.items() if name.endswith("grad_norm")]
    assert learned and all(math.isfinite(norm) and norm > 0.0 for norm in learned)
    assert updates[-1].validation is not None
