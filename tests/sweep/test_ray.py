"""``trafficrl sweep --on ray://...`` on a real Ray cluster of two nodes on this machine."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from trafficrl.cli.main import main
from trafficrl.sweep.executor import Job
from trafficrl.sweep.ray_tasks import train

from .sweeps import LAMBDA, LR, write_sweep
from .test_sweep import LONGER, Start, results, trainings_of, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # or other tests keep its tasks from starting
        cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        cluster.add_node(**NODE)
        patch.setenv("RAY_ADDRESS", cluster.address)
        yield cluster
        cluster.shutdown()


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
    cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
    cluster.add_node(**NODE)


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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_ended_sweep_ends_its_tasks_and_goes_on(
    tmp_path: Path,
    cluster: Any,
    start: Start,
    sweep: Path,
    whole: Path,
    number: signal.Signals,
) -> None:
    path = tmp_path / "s"
    process = start(sweep, "--output", path, "--on", "ray://auto")
    logs = [path / f"trial-00{place}" / "seed-0" / "metrics.jsonl" for place in range(2)]
    wait_for(lambda: all(log.exists() for log in logs), process)
    process.send_signal(number)
    process.communicate(timeout=200)
    again = start("--resume", path, "--on", "ray://auto", "--quiet")
    out, error = again.communicate(timeout=400)
    assert (again.returncode, out) == (0, f"{path}\n"), error
    assert_same(path, whole)
    assert trainings_of(path) == []


def test_from_elsewhere_it_is_the_same(
    tmp_path: Path, start: Start, sweep: Path, whole: Path
) -> None:
    """By the Ray Client server of a cluster; the sweep is killed on the way."""
    port, folder = free_port(), tempfile.mkdtemp()  # names of sockets must be short
    options = {
        "--port": free_port(),
        "--ray-client-server-port": port,
        "--temp-dir": folder,
        "--num-cpus": 2,
        "--object-store-memory": 80_000_000,
        "--include-dashboard": "false",
    }
    words = [str(word) for pair in options.items() for word in pair]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", *words]
    environment = os.environ | {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    path, address = tmp_path / "s", f"ray://127.0.0.1:{port}"
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as head:
        try:
            wait_until_open(port)
            process = start(sweep, "--output", path, "--on", address)
            wait_for((path / "trial-000" / "seed-0" / "metrics.jsonl").exists, process)
            process.kill()
            again = start("--resume", path, "--on", address, "--quiet")
            out, error = again.communicate(timeout=400)
        finally:
            head.terminate()
            head.wait()
            shutil.rmtree(folder, ignore_errors=True)
    assert (again.returncode, out) == (0, f"{path}\n"), error
    assert_same(path, whole)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def wait_until_open(port: int) -> None:
    deadline = time.monotonic() + 60.0
    while time.monotonic() < deadline:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(0.2)


def test_a_machine_that_does_not_see_the_directory_is_told(tmp_path: Path) -> None:
    run = str(tmp_path / "elsewhere" / "seed-0")
    job = Job(0, 0, "ring", [f"{LR}=0.1", f"{LAMBDA}=1"], run, f"{run}.txt")
    said = train(vars(job), str(tmp_path / "elsewhere" / ".session-x"))
    assert list(said) == ["blind"]
    assert not (tmp_path / "elsewhere").exists()


def test_a_cluster_that_is_not_there_leaves_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sweep = write_sweep(tmp_path / "sweep.yaml")
    path = tmp_path / "s"
    assert main(["sweep", str(sweep), "--output", str(path), "--on", "ray://127.0.0.1:1"]) == 1
    error = capfd.readouterr().err
    assert error.startswith("error: ray://127.0.0.1:1: ") and error.count("\n") == 1
    assert not path.exists()
