"""The trainings of a sweep as tasks of a Ray cluster, each on the machine that Ray chooses."""

from __future__ import annotations

import os
import platform
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trafficrl.errors import TrafficRLError
from trafficrl.sweep.executor import End, Job, Training
from trafficrl.training.lock import DirectoryLock

SESSION = ".session-"  # begins the name of a file that is there as long as a sweep's session
GLANCE = 0.2  # s between looks of a task at its training and at the session
PATIENCE = 120.0  # s for a training that was begun on another machine to be gone


class RayTasks:
    """An ``Executor`` of a task a job, within ``trafficrl.cluster.connect``.

    Ray repeats no task. In the sweep's directory, which all machines have to
    see, a file stands for the session: without it tasks have their trainings
    save and end, also those of an earlier session whose program was killed.
    """

    def __init__(self, directory: Path, cpus: float) -> None:
        import ray

        self._ray: Any = ray
        self._cpus = cpus
        for earlier in directory.glob(f"{SESSION}*"):
            earlier.unlink(missing_ok=True)
        self._session = directory.absolute() / f"{SESSION}{secrets.token_hex(8)}"
        self._session.touch()
        self._task = ray.remote(num_cpus=cpus, max_retries=0)(train)
        self._running: dict[Any, Job] = {}

    @property
    def slots(self) -> int:
        return max(1, int(self._ray.cluster_resources().get("CPU", 0) / self._cpus))

    def start(self, job: Job) -> None:
        self._running[self._task.remote(asdict(job), str(self._session))] = job

    def wait(self, seconds: float) -> Sequence[End]:
        ready, _ = self._ray.wait(list(self._running), timeout=seconds)
        return [self._end(self._running.pop(task), task) for task in ready]

    def stop(self) -> None:
        self._session.unlink(missing_ok=True)

    def close(self) -> None:
        self._session.unlink(missing_ok=True)
        for task in self._running:
            self._ray.cancel(task, force=True)
        self._running.clear()

    def _end(self, job: Job, task: Any) -> End:
        try:
            said = self._ray.get(task)
        except self._ray.exceptions.RayError as error:
            return End(job, lost=_reason(error))
        if (blind := said.pop("blind", None)) and self._session.exists():
            raise TrafficRLError(
                f"{self._session.parent}: {blind}, a machine of the cluster, does not see it "
                "(keep the sweep on a file system that all machines have under this path)"
            )
        return End(job, **said)


def train(job: dict[str, Any], session: str) -> dict[str, str | None]:
    """What a task does: a training, until it ends or ``session`` is gone.

    Returns the ``error`` or ``lost`` of an ``End``, or as ``blind`` the machine
    on which there is no such session.
    """
    if not os.path.exists(session):
        return {"blind": platform.node()}
    if not _is_free(Path(job["run"])):
        return {"lost": "is still trained by another process"}
    training = Training(Job(**job))
    try:
        stopped = False
        while (end := training.end()) is None:
            if not stopped and not os.path.exists(session):
                training.stop()
                stopped = True
            time.sleep(GLANCE)
    finally:
        training.kill()
    return {"error": end.error, "lost": end.lost}


def _is_free(run: Path) -> bool:
    """Whether nobody trains there, after some patience: the end of a lost machine takes time."""
    lock, until = DirectoryLock(run), time.monotonic() + PATIENCE
    while run.exists():
        try:
            lock.acquire()
        except TrafficRLError:
            if time.monotonic() > until:
                return False
            time.sleep(1.0)
        else:
            lock.release()
            break
    return True


def _reason(error: Exception) -> str:
    """How a task was lost, on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    cause = getattr(error, "cause", None)  # of an exception in the task itself
    if cause is not None:
        return f"ended with {type(cause).__name__}: {cause}".splitlines()[0]
    return f"was lost with its task ({lines[0] if lines else type(error).__name__})"
