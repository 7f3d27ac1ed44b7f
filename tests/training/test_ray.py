"""Collection in a Ray cluster of two machines: the same data, whatever becomes of an actor."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trafficrl import cluster
from trafficrl.config import load_scenario
from trafficrl.errors import SimulationError, TrafficRLError
from trafficrl.training import ray_actors
from trafficrl.training.progress import Progress
from trafficrl.training.ray_actors import Actor, Actors
from trafficrl.training.run_directory import RunDirectory
from trafficrl.training.trainer import Trainer
from trafficrl.training.workers import Pool, RemoteShard

from .runs import TASKS, assert_same_end

Act = Callable[[Trainer, Progress], None]
MACHINE = {"num_cpus": 1, "object_store_memory": 80_000_000}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture(scope="module")
def machines() -> Iterator[Any]:
    """A cluster of two machines, one CPU each; ``client`` is its address from elsewhere."""
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # or other tests keep its workers from starting
        port = free_port()
        made = Cluster()
        made.add_node(**MACHINE, include_dashboard=False, ray_client_server_port=port)
        made.client = f"ray://127.0.0.1:{port}"
        made.other = made.add_node(**MACHINE)
        patch.setenv("RAY_ADDRESS", made.address)
        yield made
        made.shutdown()


@pytest.fixture
def pool(machines: Any) -> Iterator[Actors]:
    """Workers in the cluster, to which the test is connected."""
    with cluster.connect("ray://auto"):
        yield Actors()


def train(
    path: Path,
    workers: int | Pool,
    *overrides: str,
    task: str = "ring",
    act: Act = lambda *_: None,
) -> Trainer:
    """A run of two simulations in ``path``; ``act`` after each update."""
    scenario, small = TASKS[task]
    config = load_scenario(scenario, [*small, "training.simulations=2", *overrides])
    trainer = Trainer(config, RunDirectory(path).create(config, {}), workers=workers)
    try:
        trainer.train(lambda progress: act(trainer, progress))
    finally:
        trainer.close()
    return trainer


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of processes on this machine."""
    path = tmp_path_factory.mktemp("whole") / "run"
    train(path, 2)
    return path


def whereabouts(trainer: Trainer) -> list[tuple[str, int]]:
    """Node and process of each worker."""
    from ray._private import state

    found = [state.actors(actor_of(one).handle._actor_id.hex()) for one in trainer.fleet.members]
    return [(one["Address"]["NodeID"], one["Pid"]) for one in found]


def actor_of(member: object) -> Actor:
    assert isinstance(member, RemoteShard) and isinstance(member.worker, Actor)
    return member.worker


def kill_once_asked(actor: Actor, pid: int) -> None:
    """Kill the actor's process while it does what it is asked next."""

    def ask(request: bytes) -> None:
        Actor.ask(actor, request)
        time.sleep(0.02)
        os.kill(pid, signal.SIGKILL)

    actor.ask = ask  # type: ignore[method-assign]


def test_actors_collect_what_processes_would_though_one_is_killed(
    tmp_path: Path, pool: Actors, finished: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """On both machines; in the middle of a rollout. No files are left, and Ray says nothing."""
    before = set(Path(tempfile.gettempdir()).glob(f"{ray_actors.FOLDERS}*"))
    nodes, told = set(), []

    def kill(trainer: Trainer, progress: Progress) -> None:
        told.extend(progress.workers_lost)
        nodes.update(node for node, _ in whereabouts(trainer))
        if progress.iteration == 1:
            kill_once_asked(actor_of(trainer.fleet.members[1]), whereabouts(trainer)[1][1])

    trainer = train(tmp_path / "run", pool, act=kill)
    assert_same_end(finished, tmp_path / "run")
    assert len(nodes) == 2
    assert (trainer.fleet.lost, trainer.fleet.given_up) == (1, 0)
    [loss] = told
    assert loss.startswith("the worker of simulation 1 on ") and loss.endswith(" and was replaced")
    assert "its worker process has died" in loss
    assert set(Path(tempfile.gettempdir()).glob(f"{ray_actors.FOLDERS}*")) == before
    assert capfd.readouterr() == ("", "")
