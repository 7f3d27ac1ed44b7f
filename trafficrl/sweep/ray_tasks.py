"""The trainings of a sweep as tasks of a Ray cluster, each on the machine that Ray chooses."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from trafficrl.errors import LockedError, TrafficRLError
from trafficrl.sweep.executor import End, Job, Training, wait_until_free
from trafficrl.training.versions import Versions, compared, differences

GLANCE = 0.2  # s between looks of a task at its training and at the session


class RayTasks:
    """An ``Executor`` of a task a job, within ``trafficrl.cluster.connect``.

    Ray repeats no task. In the sweep's directory, which all machines have to
    see, a file stands for the session (``SweepDirectory.new_session``): without it
    tasks have their trainings save and end, also those of an earlier session whose
    program was killed. Raises ``TrafficRLError`` where no machine has ``cpus`` CPUs.
    """

    def __init__(self, session: Path, cpus: float) -> None:
        import ray

        self._ray: Any = ray
        self._session, self._versions = session, compared()
        self.slots = slots([dict(node) for node in self._ray.nodes()], cpus)
        self._task = ray.remote(num_cpus=cpus, max_retries=0)(train)
        self._running: dict[Any, Job] = {}

    def start(self, job: Job) -> None:
        task = self._task.remote(asdict(job), str(self._session), self._versions)
        self._running[task] = job

    def wait(self, seconds: float) -> Sequence[End]:
        ready, _ = self._ray.wait(list(self._running), timeout=seconds)
        return [self._end(self._running.pop(task), task) for task in ready]

    def stop(self) -> None:
        self._session.unlink(missing_ok=True)
        for task, job in self._running.items():
            if not _mark(self._session, job.trial, job.seed).exists():  # waits for a CPU
                self._ray.cancel(task)

    def close(self) -> None:
        self._session.unlink(missing_ok=True)
        for task in self._running:
            self._ray.cancel(task, force=True)
        self._running.clear()
        for left in self._session.parent.glob(f"{self._session.name}*"):
            left.unlink(missing_ok=True)

    def _end(self, job: Job, task: Any) -> End:
        try:
            said = self._ray.get(task)
        except self._ray.exceptions.RayError as error:
            return End(job, lost=_reason(error))
        unfit = said.pop("unfit", None)
        if unfit and self._session.exists():
            raise TrafficRLError(f"{self._session.parent}: {unfit}")
        return End(job, **said)


def slots(nodes: Sequence[dict[str, Any]], cpus: float) -> int:
    """Tasks of so many CPUs that nodes have room for; ``TrafficRLError`` if there is none."""
    have: list[float] = [node["Resources"].get("CPU", 0.0) for node in nodes if node["Alive"]]
    count = sum(math.floor(one / cpus) for one in have)
    if count == 0:
        raise TrafficRLError(
            f"--cpus {cpus:g}: no machine of the cluster has as many CPUs "
            f"(of {len(have)} machines the largest has {max(have, default=0.0):g})"
        )
    return count


def train(job: dict[str, Any], session: str, versions: Versions) -> dict[str, str | None]:
    """What a task does: a training, until it ends or ``session`` is gone.

    Returns the ``error`` or ``lost`` of an ``End``, or as ``unfit`` why nothing can be
    trained on this machine: it has no such session, or not these versions.
    """
    if unfit := _unfit(session, versions):
        return {"unfit": unfit}
    mark = _mark(Path(session), job["trial"], job["seed"])
    mark.touch()
    try:
        wait_until_free(Path(job["run"]))
        return _trained(Training(Job(**job)), session)
    except LockedError as error:
        return {"lost": str(error)}
    finally:
        mark.unlink(missing_ok=True)


def _trained(training: Training, session: str) -> dict[str, str | None]:
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


def _unfit(session: str, versions: Versions) -> str | None:
    host = f"{platform.node()}, a machine of the cluster,"
    if not os.path.exists(session):
        return (
            f"{host} does not see it "
            "(keep the sweep on a file system that all machines have under this path)"
        )
    if differ := differences(compared(), versions):
        return f"{host} has {', '.join(differ)} (all machines need the same versions)"
    return None


def _mark(session: Path, trial: int, seed: int) -> Path:
    """A file that is there while the task of a training runs, and not while it waits for a CPU."""
    return session.with_name(f"{session.name}-{trial}-{seed}")


def _reason(error: Exception) -> str:
    """How a task was lost, on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    cause = getattr(error, "cause", None)  # of an exception in the task itself
    if cause is not None:
        return f"ended with {type(cause).__name__}: {cause}".splitlines()[0]
    return f"was lost with its task ({lines[0] if lines else type(error).__name__})"
