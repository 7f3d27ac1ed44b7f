"""Ray clusters of this machine, for tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

MACHINE = {"num_cpus": 1, "object_store_memory": 80_000_000}


@contextmanager
def two_machines() -> Iterator[Any]:
    """A cluster of two, of one CPU each, that ``ray://auto`` finds; ``other`` is the second."""
    from ray.cluster_utils import Cluster

    folder = tempfile.mkdtemp(prefix="ray-")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # or other tests keep its workers from starting
        patch.setenv("TMPDIR", folder)  # of the actors
        made = Cluster()
        try:
            made.add_node(**MACHINE, include_dashboard=False)
            made.other = made.add_node(**MACHINE)
            patch.setenv("RAY_ADDRESS", made.address)
            yield made
        finally:
            made.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def elsewhere() -> Iterator[str]:
    """The address of the Ray Client server of a cluster that `ray start` made, of two CPUs."""
    port, short = free_port(), tempfile.mkdtemp(prefix="ray-")  # sockets have names of 107 bytes
    options = {
        "--port": free_port(),
        "--ray-client-server-port": port,
        "--temp-dir": short,
        "--num-cpus": 2,
        "--object-store-memory": 80_000_000,
        "--include-dashboard": "false",
    }
    words = [str(word) for pair in options.items() for word in pair]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", *words]
    environment = os.environ | {"RAY_worker_niceness": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as head:
        try:
            wait_until_open(port)
            yield f"ray://127.0.0.1:{port}"
        finally:
            head.terminate()
            head.wait()
            shutil.rmtree(short, ignore_errors=True)


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
    raise TimeoutError(f"nothing listens at port {port}")
