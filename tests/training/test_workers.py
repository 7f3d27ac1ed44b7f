"""Collection in processes of their own: the same data, whatever becomes of a worker."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trafficrl.config import ScenarioConfig, load_scenario
from trafficrl.errors import SimulationError, TrafficRLError
from trafficrl.training.channel import unpack
from trafficrl.training.fleet import Fleet
from trafficrl.training.processes import Process
from trafficrl.training.progress import Progress
from trafficrl.training.run_directory import RunDirectory
from trafficrl.training.setup import make_algorithm
from trafficrl.training.shard import Shard, State, Weights, acting_weights
from trafficrl.training.trainer import Trainer
from trafficrl.training.workers import Call, RemoteShard, WorkerLost

from .runs import (
    TASKS,
    assert_errors_say_where,
    assert_same,
    assert_same_end,
    kill_replacements,
)

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


def fresh_weights(config: ScenarioConfig) -> Weights:
    """Of policies that have not learned."""
    shape = Fleet(config, workers=1)
    try:
        settings = config.training
        algorithm = make_algorithm(settings.algorithm, config, shape.widths, seed=settings.seed)
    finally:
        shape.close()
    return acting_weights(algorithm, config.n_agents)


def process_of(shard: RemoteShard) -> BaseProcess:
    assert isinstance(shard.worker, Process)
    return shard.worker.process


def kill_worker(shard: RemoteShard) -> None:
    os.kill(process_of(shard).pid or 0, signal.SIGKILL)
    process_of(shard).join()


def pid(trainer: Trainer, index: int = 0) -> int:
    member = trainer.fleet.members[index]
    assert isinstance(member, RemoteShard)
    return process_of(member).pid or 0


@pytest.mark.parametrize("task", ["ring", "dmpo", "ic3net", "in_range"])
def test_a_worker_collects_what_this_process_would(tmp_path: Path, task: str) -> None:
    train(tmp_path / "here", task, workers=0)
    train(tmp_path / "there", task, workers=1)
    assert_same_end(tmp_path / "here", tmp_path / "there")


def test_a_killed_worker_costs_nothing_leaves_no_files_and_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the second update, in the middle of an episode."""
    told: list[str] = []
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))

    def kill(trainer: Trainer, progress: Progress) -> None:
        told.extend(progress.workers_lost)
        if progress.iteration == 2:
            os.kill(pid(trainer), signal.SIGKILL)

    train(tmp_path / "whole", "ring", workers=0)
    trainer = train(tmp_path / "killed", "ring", workers=1, act=kill)
    assert_same_end(tmp_path / "whole", tmp_path / "killed")
    assert trainer.fleet.lost == 1
    assert told == ["the worker of simulation 0 ended by signal 9 and was replaced"]
    assert not list(temporary.iterdir())


def test_a_hung_worker_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it hangs it is waited for only a moment, and the next one as long as before.

    Its requests, of a megabyte of weights, are more than a pipe takes that nobody reads.
    """
    replace = RemoteShard._replace

    def stop(trainer: Trainer, progress: Progress) -> None:
        if progress.iteration == 1:
            os.kill(pid(trainer), signal.SIGSTOP)
            (member,) = trainer.fleet.members
            assert isinstance(member, RemoteShard) and member._timeout == 60.0
            member._timeout = 0.5

    def replace_in_time(shard: RemoteShard, *, give_up: bool) -> None:
        shard._timeout = 60.0
        replace(shard, give_up=give_up)

    monkeypatch.setattr(RemoteShard, "_replace", replace_in_time)
    settings = "training.worker_timeout_s=60", "algorithms.dppo.policy_hidden=[256,256]"
    trainer = train(tmp_path / "hung", "ring", *settings, workers=1, act=stop)
    train(tmp_path / "whole", "ring", *settings, workers=0)
    assert_same_end(tmp_path / "whole", tmp_path / "hung")
    assert trainer.fleet.lost == 1


def test_the_number_of_workers_does_not_matter(tmp_path: Path) -> None:
    for workers in (1, 2):
        train(tmp_path / str(workers), "in_range", "training.simulations=2", workers=workers)
    assert_same_end(tmp_path / "1", tmp_path / "2")


def test_simulations_draw_for_themselves() -> None:
    """Random starts and actions of the second are none of the first, and both are merged."""
    scenario, small = TASKS["in_range"]
    config = load_scenario(scenario, [*small, "training.simulations=2", "training.replicas=2"])
    fleet, shard = Fleet(config, workers=2), Shard(config)
    weights = fresh_weights(config)
    try:
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
    replaced = kill_replacements(monkeypatch, kill_worker)

    def kill(trainer: Trainer, progress: Progress) -> None:
        if progress.iteration == 2:
            os.kill(pid(trainer), signal.SIGKILL)

    trainer = train(tmp_path / "run", "ring", workers=1, act=kill)
    assert replaced == [False, True, True]
    assert trainer.sim_steps == 480
    assert (trainer.fleet.lost, trainer.fleet.given_up) == (3, 2)
    timings = [
        json.loads(line) for line in (tmp_path / "run/timing.jsonl").read_text().splitlines()
    ]
    assert timings[-1]["episodes_given_up"] == 2


def test_workers_that_always_die_end_the_training_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = RemoteShard._replace

    def replace_and_kill(shard: RemoteShard, *, give_up: bool) -> None:
        replace(shard, give_up=give_up)
        kill_worker(shard)

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


def state_within_an_episode(task: str = "ring") -> tuple[ScenarioConfig, State]:
    """A scenario and a state of it with a running episode."""
    scenario, small = TASKS[task]
    config = load_scenario(scenario, small)
    shard = Shard(config)
    try:
        shard.collector.collect(20)
        return config, shard.collector.state_dict()
    finally:
        shard.close()


def test_each_time_that_an_episode_is_given_up_others_are_drawn() -> None:
    _, state = state_within_an_episode()
    draws = []
    for _ in range(4):
        rng = np.random.default_rng()
        rng.bit_generator.state = state["environment"]
        draws.append(rng.random())
        state = Shard.without_episode(state)
        assert state["actions"] is None and state["memory"] is None
    assert len(set(draws)) == 4


def test_what_would_be_saved_is_what_the_worker_goes_on_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where two workers are lost in a row while they validate."""
    config, state = state_within_an_episode()
    replace, killed = RemoteShard._replace, [False]

    def replace_and_kill(shard: RemoteShard, *, give_up: bool) -> None:
        replace(shard, give_up=give_up)
        if not killed[0]:
            killed[0] = True
            kill_worker(shard)

    fleet = Fleet(config, workers=1)
    try:
        fleet.load_state_dict([state])
        [member] = fleet.members
        assert isinstance(member, RemoteShard)
        monkeypatch.setattr(RemoteShard, "_replace", replace_and_kill)
        kill_worker(member)
        fleet.validate(fresh_weights(config), iteration=1)
        assert fleet.given_up == 1
        [saved] = fleet.state_dict()
        member.start(Call("open"))
        assert_same(saved, member.result().state)
        assert saved["actions"] is None
    finally:
        fleet.close()


def test_a_state_that_takes_workers_down_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here every worker that is to drive the episode again is killed as it is asked."""
    config, state = state_within_an_episode()
    ask = Process.ask

    def ask_and_kill(worker: Process, request: bytes) -> None:
        ask(worker, request)
        state = unpack(request)["state"]
        if state is not None and state["actions"] is not None:
            os.kill(worker.process.pid or 0, signal.SIGKILL)
            worker.process.join()

    monkeypatch.setattr(Process, "ask", ask_and_kill)
    fleet = Fleet(config, workers=1)
    try:
        fleet.load_state_dict([state])
        assert (fleet.lost, fleet.given_up) == (2, 1)
        assert fleet.state_dict()[0]["actions"] is None
    finally:
        fleet.close()


Event = tuple[str, int]  # what happened to the worker of which simulation


@pytest.fixture
def events(monkeypatch: pytest.MonkeyPatch) -> list[Event]:
    """What is done with workers from now on: asked for something, answered, ended."""
    seen: list[Event] = []

    def watch(name: str, told: Callable[..., str]) -> None:
        original = getattr(Process, name)

        def method(worker: Process, *arguments: Any) -> Any:
            seen.append((told(*arguments), int(worker.process.name.partition("-")[2])))
            return original(worker, *arguments)

        monkeypatch.setattr(Process, name, method)

    def asked(request: bytes) -> str:
        call = unpack(request)
        return call["method"] if call["state"] is None else f"{call['method']} from a state"

    watch("ask", asked)
    watch("answer", lambda timeout: "answer")
    watch("end", lambda: "end")
    return seen


def three_simulations() -> ScenarioConfig:
    scenario, small = TASKS["ring"]
    return load_scenario(scenario, [*small, "training.simulations=3"])


def test_lost_workers_are_replaced_beside_each_other(events: list[Event]) -> None:
    """Nothing waits for the first replacement before the second makes the call."""
    config = three_simulations()
    weights = fresh_weights(config)
    rollouts = []
    for lost in ([], [0, 2]):
        fleet = Fleet(config, workers=3)
        try:
            fleet.collect(weights, sim_steps=40, since=0, iteration=1)
            for index in lost:
                member = fleet.members[index]
                assert isinstance(member, RemoteShard)
                kill_worker(member)
            events.clear()
            rollouts.append(fleet.collect(weights, sim_steps=40, since=120, iteration=2).rollout)
            seen = list(events)
            assert (fleet.lost, fleet.given_up) == (len(lost), 0)
        finally:
            fleet.close()
    assert torch.equal(rollouts[0].obs, rollouts[1].obs)
    assert seen == [
        *(("collect", index) for index in range(3)),
        *(("answer", 0), ("end", 0), ("collect from a state", 0), ("answer", 1)),
        *(("answer", 2), ("end", 2), ("collect from a state", 2)),
        *(("answer", 0), ("answer", 2)),
    ]


def test_all_are_restored_at_once_though_one_is_lost_meanwhile(
    events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = three_simulations()
    weights = fresh_weights(config)
    fleet = Fleet(config, workers=3)
    try:
        fleet.collect(weights, sim_steps=40, since=0, iteration=1)
        states = fleet.state_dict()
        whole = fleet.collect(weights, sim_steps=40, since=120, iteration=2)
        ask, last = Process.ask, fleet.members[1]
        assert isinstance(last, RemoteShard)
        first = last.worker

        def ask_and_kill(worker: Process, request: bytes) -> None:
            if worker is not first:
                ask(worker, request)
                return
            os.kill(first.process.pid or 0, signal.SIGSTOP)  # or it might answer before
            ask(worker, request)
            kill_worker(last)

        monkeypatch.setattr(Process, "ask", ask_and_kill)
        events.clear()
        fleet.load_state_dict(states)
        restored = [("open from a state", index) for index in range(3)]
        assert events[:3] == restored and events.count(restored[1]) == 2
        assert (fleet.lost, fleet.given_up) == (1, 0)
        assert_same(fleet.state_dict(), states)
        again = fleet.collect(weights, sim_steps=40, since=120, iteration=2)
        assert torch.equal(again.rollout.obs, whole.rollout.obs)
        events.clear()
    finally:
        fleet.close()
    assert events[:3] == [("close", index) for index in range(3)]


def test_the_time_of_a_worker_begins_when_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """However late it is looked at: an answer that is there counts, and none is not waited for."""
    config, _ = state_within_an_episode()
    worker = Process(config.model_dump_json(), 0)
    try:
        worker.ask(Call("open").request)
        assert worker._connection.poll(100.0)
        now = time.monotonic
        with monkeypatch.context() as patch:
            patch.setattr(time, "monotonic", lambda: now() + 1e6)
            assert unpack(worker.answer(1000.0))["value"].widths
        os.kill(worker.process.pid or 0, signal.SIGSTOP)
        worker.ask(Call("open").request)
        monkeypatch.setattr(time, "monotonic", lambda: now() + 1e6)
        with pytest.raises(WorkerLost, match="did not answer within 1000 s"):
            worker.answer(1000.0)
    finally:
        worker.end()


def test_a_sumo_of_its_own_that_ends_is_a_lost_worker(tmp_path: Path) -> None:
    def kill(trainer: Trainer, progress: Progress) -> None:
        if progress.iteration == 2:
            found = subprocess.run(
                ["pgrep", "-P", str(pid(trainer)), "-x", "sumo"], capture_output=True, text=True
            )
            os.kill(int(found.stdout), signal.SIGKILL)

    traci = "simulation.backend=traci"
    trainer = train(tmp_path / "killed", "ring", traci, workers=1, act=kill)
    train(tmp_path / "whole", "ring", traci, workers=0)
    assert_same_end(tmp_path / "whole", tmp_path / "killed")
    assert trainer.fleet.lost == 1


def test_signals_that_a_whole_job_gets_do_not_end_workers(tmp_path: Path) -> None:
    def terminate(trainer: Trainer, progress: Progress) -> None:
        os.kill(pid(trainer), signal.SIGTERM)
        os.kill(pid(trainer), signal.SIGINT)

    assert train(tmp_path / "run", "ring", workers=1, act=terminate).fleet.lost == 0


def test_what_nobody_thought_of_in_a_worker_says_where_it_was() -> None:
    assert_errors_say_where(1)


def test_a_worker_does_not_outlive_its_parent(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from trafficrl.config import load_scenario\n"
        "from trafficrl.training.fleet import Fleet\n"
        "if __name__ == '__main__':\n"
        "    fleet = Fleet(load_scenario('ring'), workers=1)\n"
        "    print(fleet.members[0].worker.process.pid, flush=True)\n"
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
