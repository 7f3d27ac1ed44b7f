"""Trainings that take a moment: short episodes, few vehicles, small networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from trafficrl.config import load_scenario
from trafficrl.training.checkpoint import load_checkpoint
from trafficrl.training.fleet import Fleet
from trafficrl.training.progress import Progress
from trafficrl.training.run_directory import RunDirectory
from trafficrl.training.trainer import Trainer
from trafficrl.training.workers import Call, Pool, RemoteShard

RESULTS = ("metrics.jsonl", "episodes.csv")

# A rollout ends after 40 simulation steps, an episode after 60, a validation comes every 2 updates.
SMALL = [
    "episode.steps=60",
    "episode.control_interval_s=0.5",
    "training.seed=0",
    "training.algorithm=dppo",
    "training.replicas=2",
    "training.total_steps=480",
    "training.validate_every_steps=160",
    "training.validate_episodes=2",
    "algorithms.dppo.rollout_steps=40",
    "algorithms.dppo.policy_hidden=[8]",
    "algorithms.dppo.value_hidden=[8]",
    "algorithms.dppo.epochs=2",
    "algorithms.dppo.minibatches=2",
    "algorithms.dppo.policy_lr=1e-3",
    "algorithms.dppo.lr_schedule=constant",
]
RING = ["vehicles.0.count=6", "network.length_m=120.0", *SMALL]
ONE_COPY = ["training.replicas=1", "training.total_steps=240", "training.validate_every_steps=80"]
IMAGINED = [
    "algorithms.dmpo.model.max_updates=5",
    "algorithms.dmpo.inner_iterations=2",
    "algorithms.dmpo.branches=8",
    "algorithms.dmpo.branch_length=2",
]
TASKS = {
    "ring": ("ring", RING),
    "catchup": ("catchup", SMALL),
    # Edges come and go: vehicles 20 m apart, moved by up to 2 m, of different speeds.
    "in_range": (
        "ring",
        [
            "vehicles.0.count=6",
            "network.length_m=120.0",
            "start.jitter_m=2.0",
            "start.speed_mps=3.0",
            "algorithms.dppo.initial_action_std=1.0",
            "graph.range_m=19.0",
            "graph.leader_follower=false",
            *SMALL,
        ],
    ),
    "crossing": (
        "figure_eight_free",
        [*SMALL, "episode.steps=200", "start.jitter_m=0", "training.replicas=1"],
    ),
    # On streets, with shared weights, among vehicles that SUMO places and routes anew.
    "grid": ("transfer/grid", [*SMALL, *ONE_COPY, "vehicles.0.count=8"]),
    # Agents that remember, that learn from a replay, and that imagine.
    "ic3net": ("ring", [*RING, "training.algorithm=ic3net", "algorithms.ic3net.rollout_steps=40"]),
    "dsac": (
        "ring",
        [
            *RING,
            "training.algorithm=dsac",
            "algorithms.dsac.rollout_steps=40",
            "algorithms.dsac.batch_size=8",
        ],
    ),
    "cppo": ("ring", [*RING, "training.algorithm=cppo", "algorithms.cppo.rollout_steps=40"]),
    "ia2c": ("ring", [*RING, "training.algorithm=ia2c", "algorithms.ia2c.rollout_steps=40"]),
    "dmpo_on_dsac": (
        "ring",
        [
            *RING,
            "training.algorithm=dmpo",
            "algorithms.dmpo.base={kind: dsac, rollout_steps: 40, batch_size: 8, inner_updates: 3}",
            *IMAGINED,
        ],
    ),
    "dmpo": (
        "ring",
        [
            *RING,
            "training.algorithm=dmpo",
            "algorithms.dmpo.base={kind: dppo, rollout_steps: 40, epochs: 2, lr_schedule: linear}",
            *IMAGINED,
        ],
    ),
}


class Training:
    """One run of a small task in a directory of its own."""

    def __init__(self, path: Path, task: str, *overrides: str) -> None:
        scenario, small = TASKS[task]
        self.config = load_scenario(scenario, [*small, *overrides])
        self.path = path
        self.notes: list[str] = []

    def run(
        self,
        on_progress: Callable[[Trainer, Progress], None] = lambda trainer, progress: None,
        *,
        resume: bool = False,
    ) -> Training:
        """Train to the end, or until ``on_progress`` stops it; ``notes`` are of the resume."""
        directory = (
            RunDirectory.open(self.path)
            if resume
            else RunDirectory(self.path).create(self.config, {})
        )
        trainer = Trainer(directory.scenario(), directory)
        try:
            if resume:
                self.notes = trainer.resume()
            trainer.train(lambda progress: on_progress(trainer, progress))
        finally:
            trainer.close()
        return self


def assert_same_end(one: Path, other: Path) -> None:
    """The same results to the byte, and the same weights and random streams."""
    for name in RESULTS:
        assert (one / name).read_bytes() == (other / name).read_bytes()
    for name in ("latest.pt", "best.pt"):
        assert_same(load_checkpoint(one / name), load_checkpoint(other / name))


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert one == other


def kill_replacements(
    monkeypatch: pytest.MonkeyPatch, kill: Callable[[RemoteShard], object]
) -> list[bool]:
    """Have the first two workers that take the place of a lost one killed at once.

    Returns what will say, of each replacement, whether it gave up its episodes.
    """
    replaced: list[bool] = []
    replace = RemoteShard._replace

    def replace_and_kill(shard: RemoteShard, *, give_up: bool) -> None:
        replace(shard, give_up=give_up)
        replaced.append(give_up)
        if len(replaced) < 3:
            kill(shard)

    monkeypatch.setattr(RemoteShard, "_replace", replace_and_kill)
    return replaced


def assert_errors_say_where(workers: int | Pool) -> None:
    """What nobody thought of in a worker is raised here, with its place there; none is lost."""
    scenario, small = TASKS["ring"]
    fleet = Fleet(load_scenario(scenario, small), workers)
    try:
        [member] = fleet.members
        member.start(Call("collect", {"weights": {}}))
        with pytest.raises(TypeError) as raised:
            member.result()
        assert "Traceback" in raised.value.__notes__[0]
        assert fleet.lost == 0
    finally:
        fleet.close()
