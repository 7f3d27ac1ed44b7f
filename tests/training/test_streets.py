"""Learning on streets, where vehicles circulate, and who hears whom where they come and go."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from trafficrl.algorithms import ALGORITHMS
from trafficrl.config import load_scenario
from trafficrl.envs.array_env import ArrayEnv
from trafficrl.errors import TrafficRLError
from trafficrl.training.links import LinkTracker
from trafficrl.training.progress import Progress
from trafficrl.training.run_directory import RunDirectory
from trafficrl.training.trainer import Trainer

SHORT = [
    "episode.steps=60",
    "training.total_steps=120",
    "training.validate_every_steps=120",
    "training.validate_episodes=1",
    "vehicles.0.count=10",
]
SMALLER = {
    "dmpo": [
        "algorithms.dmpo.base={kind: dppo, rollout_steps: 60}",
        "algorithms.dmpo.warmup_iterations=0",
        "algorithms.dmpo.inner_iterations=1",
        "algorithms.dmpo.max_model_error=null",
        "algorithms.dmpo.branches=8",
        "algorithms.dmpo.branch_length=3",
        "algorithms.dmpo.model.max_updates=5",
    ],
    "dsac": ["algorithms.dsac.batch_size=16"],
}


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
def test_every_algorithm_trains_on_streets(tmp_path: Path, algorithm: str) -> None:
    changes = [*SHORT, f"training.algorithm={algorithm}", *SMALLER.get(algorithm, [])]
    if algorithm != "dmpo":
        changes.append(f"algorithms.{algorithm}.rollout_steps=60")
    run = RunDirectory(tmp_path / "run").create(load_scenario("transfer/grid", changes), {})
    trainer = Trainer(run.scenario(), run)
    updates: list[Progress] = []
    try:
        trainer.train(updates.append)
    finally:
        trainer.close()
    losses = updates[-1].metrics
    learned = [value for name, value in losses.items() if name.endswith("grad_norm")]
    assert learned and all(math.isfinite(norm) for norm in learned)
    assert updates[-1].validation is not None


def test_nobody_learns_where_vehicles_come_and_go(tmp_path: Path) -> None:
    with pytest.raises(TrafficRLError, match="merge: vehicles come and go"):
        Trainer(load_scenario("transfer/merge"), RunDirectory(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_links_leave_out_who_is_not_there_and_keep_their_shape() -> None:
    env = ArrayEnv(load_scenario("transfer/merge", ["warmup=null", "episode.steps=300"]), seed=0)
    try:
        env.reset()
        tracker = LinkTracker(env, value_hops=2)
        shapes, changed, last = set(), 0, None
        while not env.done:
            env.step(np.full((1, 80, 1), 0.5))
            links = tracker.now()
            index, mask = links.policy
            shapes |= {(index.shape, links.value[0].shape)}
            present = torch.from_numpy(env.states.present)
            assert torch.equal(mask[..., 0], present)  # an agent hears itself where it is
            assert not mask[~present].any()
            assert present.gather(1, index.long().flatten(1))[mask.flatten(1)].all()
            changed += links is not last
            last = links
        assert len(shapes) == 1
        assert index.shape[-1] == 3  # itself, its leader, its follower
        assert changed > 5
    finally:
        env.close()
