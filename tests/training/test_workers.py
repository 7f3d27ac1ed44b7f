"""Collection in processes of their own: the same data, whatever becomes of a worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from trafficrl.config import load_scenario
from trafficrl.errors import SimulationError, TrafficRLError
from trafficrl.training.fleet import Fleet
from trafficrl.training.progress import Progress
from trafficrl.training.run_directory import RunDirectory
from trafficrl.training.shard import Shard
from trafficrl.training.trainer import Trainer
from trafficrl.training.workers import RemoteShard

from .runs import TASKS, assert_same, assert_same_end

Act = Callable[[Trainer, Progress], None]


def train(
    path: Path, task: str, *overrides: str, workers: int, act: Act = lambda *_: None
) -> Trainer:
    """A run in ``path``; ``act`` after each update."""
    scenario, small = TASKS[task]
    config = load_scenario(scenario, [*small, *overrides])
    run = RunDirectory(path).create(config, {})
    trainer = Trainer(config, run, workers=workers)
    try:
        trainer.train(lambda progress: act(trainer, progress))
    finally:
        trainer.close()
    return trainer


def pid(trainer: Trainer, index: int = 0) -> int:
    member = trainer.fleet.members[index]
    assert isinstance(member, RemoteShard)
    found = member._worker.process.pid
    assert found is not None
    return found


@pytest.mark.parametrize("task", ["ring", "dmpo", "ic3net", "in_range"])
def test_a_worker_collects_what_this_process_would(tmp_path: Path, task: str) -> None:
    train(tmp_path / "here", task, workers=0)
    train(tmp_path / "there", task, workers=1)
    assert_same_end(tmp_path / "here", tmp_path / "there")


def test_a_killed_worker_costs_nothing_and_is_told_of(tmp_path: Path) -> None:
    """After the second update, in the middle of an episode."""
    told: list[str] = []

    def kill(trainer: Trainer, progress: Progress) -> None:
        told.extend(progress.workers_lost)
        if progress.iteration == 2:
            os.kill(pid(trainer), signal.SIGKILL)

    train(tmp_path / "whole", "ring", workers=0)
    trainer = train(tmp_path / "killed", "ring", workers=1, act=kill)
    assert_same_end(tmp_path / "whole", tmp_path / "killed")
    assert trainer.fleet.lost == 1
    assert told == ["the worker of simulation 0 ended by signal 9 and was replaced"]


def test_a_hung_worker_is_replaced(tmp_path: Path) -> None:
    def stop(trainer: Trainer, progress: Progress) -> None:
        if progress.iteration == 1:
            os.kill(pid(trainer), signal.SIGSTOP)

    # Long enough for a worker to start.
    trainer = train(tmp_path / "hung", "ring", "training.worker_timeout_s=20", workers=1, act=stop)
    train(tmp_path / "whole", "ring", "training.worker_timeout_s=20", workers=0)
    assert_same_end(tmp_path / "whole", tmp_path / "hung")
    assert trainer.fleet.lost == 1


@pytest.mark.parametrize("task", ["ring", "in_range"])
def test_the_number_of_workers_does_not_matter(tmp_path: Path, task: str) -> None:
    for workers in (1, 2):
        train(tmp_path / str(workers), task, "training.simulations=2", workers=workers)
    assert_same_end(tmp_path / "1", tmp_path / "2")


def test_simulations_draw_for_themselves() -> None:
    """Random starts and actions of the second are none of the first, and both are merged."""
    scenario, small = TASKS["in_range"]
    config = load_scenario(scenario, [*small, "training.simulations=2", "training.replicas=2"])
    fleet = Fleet(config, workers=2)
    try:
        weights = {}
        shard = Shard(config)
        for name, part in shard.actor.acting_parts.items():
            weights[name] = dict(part.state_dict())
        collected = fleet.collect(weights, sim_steps=60, since=0, iteration=1)
        alone = shard.collect(weights, sim_steps=60, since=0, iteration=1).collected
        shard.close()
    finally:
        fleet.close()
    obs = collected.rollout.obs
    assert obs.shape[0] == 4
    assert torch.equal(obs[:2], alone.rollout.obs)
    assert not torch.equal(obs[2:], obs[:2])
    assert sorted(episode.replica for episode in collected.episodes) == [0, 1, 2, 3]
    assert collected.sim_steps == 2 * alone.sim_steps
    assert collected.rollout.links.policy[0].shape[0] == 4


def test_a_worker_that_dies_again_gives_up_its_episode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever takes it down again at the same place."""
    replaced: list[bool] = []
    replace = RemoteShard._replace

    def replace_and_kill(shard: RemoteShard, *, give_up_episode: bool) -> None:
        replace(shard, give_up_episode=give_up_episode)
        replaced.append(give_up_episode)
        if len(replaced) < 3:
            os.kill(shard._worker.process.pid or 0, signal.SIGKILL)
            shard._worker.process.join()

    def kill(trainer: Trainer, progress: Progress) -> None:
        if progress.iteration == 2:
            os.kill(pid(trainer), signal.SIGKILL)

    monkeypatch.setattr(RemoteShard, "_replace", replace_and_kill)
    trainer = train(tmp_path / "run", "ring", workers=1, act=kill)
    assert replaced == [False, True, True]
    assert trainer.sim_steps == 480 and trainer.fleet.lost == 3


def test_workers_that_always_die_end_the_training_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = RemoteShard._replace

    def replace_and_kill(shard: RemoteShard, *, give_up_episode: bool) -> None:
        replace(shard, give_up_episode=give_up_episode)
        os.kill(shard._worker.process.pid or 0, signal.SIGKILL)
        shard._worker.process.join()

    def kill(trainer: Trainer, progress: Progress) -> None:
        os.kill(pid(trainer), signal.SIGKILL)

    monkeypatch.setattr(RemoteShard, "_replace", replace_and_kill)
    with pytest.raises(SimulationError, match="4 workers in a row were lost, the last as it ended"):
        train(tmp_path / "run", "ring", workers=1, act=kill)
    assert (tmp_path / "run" / "latest.pt").exists()


def test_errors_of_a_worker_are_those_of_the_simulation(tmp_path: Path) -> None:
    overrides = ["network.length_m=60", "vehicles.0.count=11", "start.jitter_m=0"]
    messages = []
    for workers in (0, 1):
        with pytest.raises(TrafficRLError) as raised:
            train(tmp_path / str(workers), "ring", *overrides, workers=workers)
        messages.append((type(raised.value), str(raised.value)))
    assert messages[0] == messages[1]


def test_several_simulations_need_workers(tmp_path: Path) -> None:
    with pytest.raises(TrafficRLError, match=r"training.simulations: 2 need workers"):
        train(tmp_path / "run", "ring", "training.simulations=2", workers=0)


def test_an_episode_that_is_given_up_has_other_draws_after_it() -> None:
    scenario, small = TASKS["ring"]
    shard = Shard(load_scenario(scenario, small))
    try:
        state = shard.collector.state_dict()
    finally:
        shard.close()
    other = Shard.without_episode({**state, "actions": torch.zeros(3), "memory": torch.zeros(2)})
    assert other["actions"] is None and other["memory"] is None
    assert other["environment"] != state["environment"]
    assert_same(other["generator"], state["generator"])


def test_a_worker_does_not_outlive_its_parent(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from trafficrl.config import load_scenario\n"
        "from trafficrl.training.fleet import Fleet\n"
        "if __name__ == '__main__':\n"
        "    fleet = Fleet(load_scenario('ring'), workers=1)\n"
        "    print(fleet.members[0]._worker.process.pid, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    file = tmp_path / "parent.py"
    file.write_text(script)
    command = [sys.executable, str(file)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 20.0
    while os.path.exists(f"/proc/{worker}") and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not os.path.exists(f"/proc/{worker}")
