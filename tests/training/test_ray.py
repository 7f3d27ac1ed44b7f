"""Collection in a Ray cluster of two machines: the same data, whatever becomes of an actor."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ray_clusters import MACHINE, elsewhere, two_machines
from trafficrl import cluster
from trafficrl.config import load_scenario
from trafficrl.errors import TrafficRLError
from trafficrl.training import ray_actors
from trafficrl.training.own_folder import NAME as OWN_FOLDERS
from trafficrl.training.progress import Progress
from trafficrl.training.ray_actors import Actor, Actors
from trafficrl.training.run_directory import RunDirectory
from trafficrl.training.trainer import Trainer
from trafficrl.training.workers import Pool, RemoteShard

from .runs import TASKS, assert_errors_say_where, assert_same_end, kill_replacements

Act = Callable[[Trainer, Progress], None]


@pytest.fixture(scope="module")
def machines() -> Iterator[Any]:
    """A cluster of two machines, one CPU each."""
    with two_machines() as made:
        yield made


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
        time.sleep(0.005)
        os.kill(pid, signal.SIGKILL)

    actor.ask = ask  # type: ignore[method-assign]


def test_actors_collect_what_processes_would_though_one_is_killed(
    tmp_path: Path, pool: Actors, finished: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """On both machines; in the middle of a rollout. No files are left, and Ray says nothing."""
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
    assert not list(Path(os.environ["TMPDIR"]).glob(f"{OWN_FOLDERS}*"))
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
@pytest.mark.parametrize("task", ["dmpo", "ic3net", "in_range"])
def test_other_algorithms_and_graphs_come_to_the_same(
    tmp_path: Path, pool: Actors, task: str
) -> None:
    train(tmp_path / "here", 2, task=task)
    train(tmp_path / "there", pool, task=task)
    assert_same_end(tmp_path / "here", tmp_path / "there")


@pytest.mark.slow
def test_from_elsewhere_it_is_the_same(tmp_path: Path, finished: Path) -> None:
    """By the Ray Client server of a cluster that `ray start` made; an actor is lost on the way."""
    import ray

    def kill(trainer: Trainer, progress: Progress) -> None:
        if progress.iteration == 1:
            ray.kill(actor_of(trainer.fleet.members[0]).handle)

    with elsewhere() as address, cluster.connect(address):
        trainer = train(tmp_path / "run", Actors(), act=kill)
    assert_same_end(finished, tmp_path / "run")
    assert trainer.fleet.lost == 1


@pytest.mark.slow
def test_an_actor_that_is_lost_again_gives_up_its_episodes(
    tmp_path: Path, pool: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    replaced = kill_replacements(monkeypatch, lambda shard: ray.kill(actor_of(shard).handle))

    def kill(trainer: Trainer, progress: Progress) -> None:
        if progress.iteration == 2:
            ray.kill(actor_of(trainer.fleet.members[0]).handle)

    trainer = train(tmp_path / "run", pool, act=kill)
    assert replaced == [False, True, True]
    assert trainer.sim_steps == 480
    assert (trainer.fleet.lost, trainer.fleet.given_up) == (3, 2)


@pytest.mark.slow
def test_a_hung_actor_is_replaced(tmp_path: Path, pool: Actors) -> None:
    def stop(trainer: Trainer, progress: Progress) -> None:
        if progress.iteration == 1:
            os.kill(whereabouts(trainer)[0][1], signal.SIGSTOP)

    timeout = "training.worker_timeout_s=25"  # long enough for an actor to start
    trainer = train(tmp_path / "hung", pool, timeout, act=stop)
    train(tmp_path / "whole", 2, timeout)
    assert_same_end(tmp_path / "whole", tmp_path / "hung")
    assert trainer.fleet.lost == 1


@pytest.mark.slow
def test_a_machine_that_is_lost_costs_nothing_where_there_is_another(
    tmp_path: Path, machines: Any, pool: Actors, finished: Path
) -> None:
    told: list[str] = []

    def remove(trainer: Trainer, progress: Progress) -> None:
        told.extend(progress.workers_lost)
        if progress.iteration == 1:
            gone, machines.other = machines.other, machines.add_node(**MACHINE)
            machines.remove_node(gone, allow_graceful=False)

    trainer = train(tmp_path / "run", pool, act=remove)
    assert_same_end(finished, tmp_path / "run")
    assert (trainer.fleet.lost, trainer.fleet.given_up) == (1, 0)
    assert len(told) == 1


@pytest.mark.slow
def test_a_replacement_that_finds_no_cpu_is_waited_for_with_a_warning(
    tmp_path: Path, machines: Any
) -> None:
    told: list[str] = []

    def remove(trainer: Trainer, progress: Progress) -> None:
        if progress.iteration == 1:
            machines.remove_node(machines.other, allow_graceful=False)

    try:
        with cluster.connect("ray://auto"), pytest.raises(TrafficRLError, match="no worker began"):
            train(tmp_path / "run", Actors(told.append), "training.worker_timeout_s=40", act=remove)
    finally:
        machines.other = machines.add_node(**MACHINE)
    # One before it as well, if Ray still counts the lost machine by then.
    assert re.fullmatch(
        "the cluster has 1 CPUs on 1 machines, 0 of them free, and training.simulations is 2, "
        r"of one CPU each: waiting up to \d+ s for them",
        told[-1],
    )
    assert len(set(told)) == len(told)


@pytest.mark.slow
def test_who_is_in_a_cluster_stays_there(pool: Actors) -> None:
    import ray

    with pytest.raises(TrafficRLError, match="in a cluster already"), cluster.connect("ray://auto"):
        pass
    assert ray.is_initialized()


def test_another_ray_without_the_names_that_are_used_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ray._private.services", None)
    with (
        pytest.raises(TrafficRLError, match=r"this Ray does not fit .*trafficrl\[ray\]") as raised,
        cluster.connect("ray://auto"),
    ):
        pass
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Version mismatch: Ray 2.0", "has other versions than this machine"),
        ("paths differ", "gives no connection (paths differ)"),
        (
            "It failed: Traceback (most recent call last):\n  File x\nRuntimeError: no port\n",
            "gives no connection (RuntimeError: no port)",
        ),
        ("incompatible with TLS", "gives no connection (incompatible with TLS)"),
    ],
)
def test_only_what_ray_calls_a_mismatch_is_one_of_versions(said: str, told: str) -> None:
    assert cluster._reason(RuntimeError(said)).startswith(told)


def test_an_error_in_an_actor_is_one_line_with_the_rest_as_a_note() -> None:
    from ray.exceptions import RayTaskError

    error = RayTaskError("answer", "Traceback\n  somewhere\n", ValueError("it is bad\nand long"))
    found = ray_actors._worker_error(error)
    assert str(found) == "ValueError: it is bad"
    assert "somewhere" in found.__notes__[0]


@pytest.mark.slow
def test_without_enough_cpus_one_line_says_so(tmp_path: Path, pool: Actors) -> None:
    lacking = ["training.simulations=4", "training.worker_timeout_s=20"]
    with pytest.raises(TrafficRLError) as raised:
        train(tmp_path / "run", pool, *lacking)
    # Which of them have the CPUs is for Ray to say.
    assert re.fullmatch(
        r"simulation \d: no worker began within 20 s \(training.worker_timeout_s\): the cluster "
        "has 2 CPUs on 2 machines, 0 of them free, and training.simulations is 4, of one CPU each",
        str(raised.value),
    )


@pytest.mark.slow
def test_machines_with_other_versions_are_refused(
    tmp_path: Path, pool: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = ray_actors.compared() | {"torch": "1.0.0"}
    monkeypatch.setattr(ray_actors, "compared", lambda: here)
    with pytest.raises(TrafficRLError, match=r"worker on .* has torch 2\S* \(here 1\.0\.0\)"):
        train(tmp_path / "run", pool)


@pytest.mark.slow
def test_a_cluster_with_another_ray_is_refused(
    machines: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ray

    monkeypatch.setattr(ray, "__version__", "1.0.0")
    with (
        pytest.raises(TrafficRLError, match=r"has other versions than this machine .*1\.0\.0") as e,
        cluster.connect("ray://auto"),
    ):
        pass
    assert "\n" not in str(e.value)


@pytest.mark.slow
def test_a_machine_without_the_package_is_named_in_one_line(
    tmp_path: Path, pool: Actors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_actors.ShardActor, "__module__", "package_that_is_not_there")
    monkeypatch.setitem(sys.modules, "package_that_is_not_there", ray_actors)
    with pytest.raises(TrafficRLError, match="a machine of the cluster cannot run a worker") as e:
        train(tmp_path / "run", pool)
    assert "package_that_is_not_there" in str(e.value) and "\n" not in str(e.value)


@pytest.mark.slow
def test_errors_of_a_shard_come_back_with_where_they_were(pool: Actors) -> None:
    assert_errors_say_where(pool)


@pytest.mark.slow
def test_the_command_line_stops_in_a_cluster_and_goes_on_without(
    tmp_path: Path, machines: Any
) -> None:
    """SIGTERM saves, and what is printed is what --quiet promises."""
    scenario, small = TASKS["ring"]
    settings = [*small, "training.simulations=2", "training.total_steps=4000"]
    options = [word for one in settings for word in ("--set", one)]
    command = [sys.executable, "-m", "trafficrl", "train"]
    runs = [tmp_path / "stopped", tmp_path / "whole"]
    begin = [*command, scenario, *options, "--quiet", "--workers", "ray://auto"]
    with subprocess.Popen(
        [*begin, "--output", runs[0]], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as training:
        deadline = time.monotonic() + 100.0
        while not (runs[0] / "latest.pt").exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        training.send_signal(signal.SIGTERM)
        out, err = training.communicate(timeout=100)
    assert training.returncode == 0, err
    assert out == f"{runs[0]}\n"
    assert err == "\nstopping after this update (once more: at once)\n"
    for rest in (
        ["--resume", runs[0], "--workers", "2"],
        [scenario, *options, "--output", runs[1], "--workers", "1"],
    ):
        subprocess.run([*command, *rest, "--quiet"], check=True, timeout=200)
    assert_same_end(*runs)


@pytest.mark.slow
def test_an_actor_does_not_outlive_its_learner(machines: Any) -> None:
    code = (
        "import os, signal\n"
        "from trafficrl import cluster\n"
        "from trafficrl.config import load_scenario\n"
        "from trafficrl.training.fleet import Fleet\n"
        "from trafficrl.training.ray_actors import Actors\n"
        "with cluster.connect('ray://auto'):\n"
        "    fleet = Fleet(load_scenario('ring'), Actors())\n"
        "    from ray._private import state\n"
        "    handle = fleet.members[0].worker.handle\n"
        "    print(state.actors(handle._actor_id.hex())['Pid'], flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    worker, deadline = int(done.stdout), time.monotonic() + 60.0
    while os.path.exists(f"/proc/{worker}") and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not os.path.exists(f"/proc/{worker}")
