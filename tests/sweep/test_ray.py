"""``trafficrl sweep --on ray://...`` on a real Ray cluster of two nodes on this machine."""

from __future__ import annotations

import json
import os
import platform
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.ray_clusters import MACHINE, elsewhere, two_machines
from trafficrl.cli.main import main
from trafficrl.cluster import connect
from trafficrl.errors import TrafficRLError
from trafficrl.sweep.ray_tasks import RayTasks
from trafficrl.training.versions import compared

from .sweeps import LR, a_job, write_sweep
from .test_sweep import LONGER, Start, results, trainings_of, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    with two_machines() as made:
        yield made


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    values = {LR: [1e-3, 1e-2], **{key: [value] for key, value in LONGER.items()}}
    search = {"kind": "grid", "values": values}
    return write_sweep(folder / "sweep.yaml", search=search, seeds=[0])


@pytest.fixture(scope="module")
def whole(sweep: Path) -> Path:
    """The same without Ray."""
    path = sweep.parent / "whole"
    assert main(["sweep", str(sweep), "--output", str(path), "--quiet"]) == 0
    return path


def assert_same(path: Path, whole: Path) -> None:
    assert results(path) == results(whole)
    for log in whole.glob("*/*/metrics.jsonl"):
        assert (path / log.relative_to(whole)).read_bytes() == log.read_bytes()


def parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def kill_task(path: Path, cluster: Any) -> None:
    """SIGKILL for the process of Ray in which a task runs."""
    tasks = {parent(training) for training in trainings_of(path)}
    tasks = {task for task in tasks if b"ray" in Path(f"/proc/{task}/cmdline").read_bytes()}
    os.kill(min(tasks), signal.SIGKILL)


def lose_node(path: Path, cluster: Any) -> None:
    """A whole machine goes, and another one comes."""
    gone, cluster.other = cluster.other, cluster.add_node(**MACHINE)
    cluster.remove_node(gone, allow_graceful=False)


@pytest.mark.parametrize("disaster", [kill_task, lose_node])
def test_what_is_lost_with_its_task_or_machine_goes_on_elsewhere(
    tmp_path: Path,
    cluster: Any,
    start: Start,
    sweep: Path,
    whole: Path,
    disaster: Callable[[Path, Any], None],
) -> None:
    path = tmp_path / "s"
    process = start(sweep, "--output", path, "--on", "ray://auto", "--log-json")
    logs = [path / f"trial-00{place}" / "seed-0" / "metrics.jsonl" for place in range(2)]
    wait_for(lambda: all(log.exists() for log in logs), process)
    disaster(path, cluster)
    out, _ = process.communicate(timeout=400)
    assert process.returncode == 0
    events = [json.loads(line) for line in out.splitlines()]
    assert events[0]["jobs"] == 2, "a CPU of each node"
    assert [one["event"] for one in events].count("lost") == 1
    assert events[-1]["event"] == "complete"
    assert_same(path, whole)
    assert not list(path.glob(".session-*"))


@pytest.mark.parametrize(
    ("number", "on"),
    [
        (signal.SIGTERM, ["--on", "ray://auto"]),
        (signal.SIGKILL, ["--on", "ray://auto"]),
        (signal.SIGKILL, []),  # without Ray
    ],
)
def test_an_ended_sweep_ends_its_tasks_and_goes_on(
    tmp_path: Path,
    cluster: Any,
    start: Start,
    sweep: Path,
    whole: Path,
    number: signal.Signals,
    on: list[str],
) -> None:
    path = tmp_path / "s"
    process = start(sweep, "--output", path, "--on", "ray://auto")
    logs = [path / f"trial-00{place}" / "seed-0" / "metrics.jsonl" for place in range(2)]
    wait_for(lambda: all(log.exists() for log in logs), process)
    process.send_signal(number)
    _, error = process.communicate(timeout=200)
    if number == signal.SIGTERM:
        assert process.returncode == 0, error
        assert trainings_of(path) == []
    else:
        assert process.returncode == -number
    steps = [json.loads(log.read_text().splitlines()[-1])["sim_steps"] for log in logs]
    assert min(steps) < LONGER["training.total_steps"]
    again = start("--resume", path, *on, "--quiet")
    out, error = again.communicate(timeout=400)
    assert (again.returncode, out) == (0, f"{path}\n"), error
    assert_same(path, whole)
    assert trainings_of(path) == []


def test_from_elsewhere_it_is_the_same(
    tmp_path: Path, start: Start, sweep: Path, whole: Path
) -> None:
    """By the Ray Client server of a cluster; the sweep is killed on the way."""
    path = tmp_path / "s"
    with elsewhere() as address:
        process = start(sweep, "--output", path, "--on", address)
        wait_for((path / "trial-000" / "seed-0" / "metrics.jsonl").exists, process)
        process.kill()
        again = start("--resume", path, "--on", address, "--quiet")
        out, error = again.communicate(timeout=400)
    assert (again.returncode, out) == (0, f"{path}\n"), error
    assert_same(path, whole)


def test_an_unfit_machine_ends_the_sweep_with_one_line(tmp_path: Path, cluster: Any) -> None:
    session = tmp_path / ".session-x"
    session.touch()
    with connect("ray://auto"):
        executor = RayTasks(session, 1.0)
        executor._versions = compared() | {"torch": "1.0.0"}
        executor.start(a_job(tmp_path))
        with pytest.raises(TrafficRLError) as raised:
            executor.wait(100.0)
        executor.close()
    assert str(raised.value).startswith(f"{tmp_path}: {platform.node()}, a machine of the cluster")
    assert "\n" not in str(raised.value)
    assert not list(tmp_path.iterdir())


def test_a_stop_ends_what_waits_for_a_cpu(tmp_path: Path, cluster: Any) -> None:
    import ray

    session = tmp_path / ".session-x"
    session.touch()
    with connect("ray://auto"):
        hold: Any = ray.remote(num_cpus=1)(lambda: time.sleep(600.0))
        others = [hold.remote() for _ in range(2)]
        api: Any = ray
        while api.available_resources().get("CPU", 0.0) > 0:
            time.sleep(0.1)
        executor = RayTasks(session, 1.0)
        executor.start(a_job(tmp_path))
        assert executor.wait(1.0) == []
        executor.stop()
        [end] = executor.wait(60.0)
        assert end.lost is not None
        executor.close()
        for other in others:
            ray.cancel(other, force=True)
