"""What carries out the trainings of a sweep, wherever it does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from trafficrl.errors import LockedError
from trafficrl.orphans import ends_with
from trafficrl.training.lock import DirectoryLock

PATIENCE = 120.0  # s for a training that was begun elsewhere to be gone
LOOKS = 0.5  # s between looks at whether it is


@dataclass(frozen=True)
class Job:
    """A training: plain values, for any process of any machine that sees the paths."""

    trial: int
    seed: int
    scenario: str
    settings: list[str]  # of --set
    run: str  # the run directory
    log: str  # the file for what it says

    @property
    def arguments(self) -> list[str]:
        """Of ``trafficrl``, which begin the training or go on with it."""
        if (Path(self.run) / "scenario.yaml").exists():
            return ["train", "--resume", self.run, "--workers", "1"]
        settings = [word for setting in self.settings for word in ("--set", setting)]
        options = ["--seed", str(self.seed), "--output", self.run, "--workers", "1"]
        return ["train", self.scenario, *settings, *options]


@dataclass(frozen=True)
class End:
    """How the process of a training has ended: in order, unless one of the two is there."""

    job: Job
    error: str | None = None  # its last line, where it failed
    lost: str | None = None  # how, where something else has ended it


class Executor(Protocol):
    """Carries out jobs beside each other."""

    @property
    def slots(self) -> int:
        """How many can run at once."""

    def start(self, job: Job) -> None:
        """Begin a training or go on with it."""

    def wait(self, seconds: float) -> Sequence[End]:
        """Those that have ended, as soon as there are any, or none after so long."""

    def stop(self) -> None:
        """Have all trainings save and end, which ``wait`` tells."""

    def close(self) -> None:
        """End what still runs, at once."""


class Training:
    """The process of a job. It ends with the one that began it, however that ends."""

    def __init__(self, job: Job) -> None:
        self.job = job
        Path(job.log).parent.mkdir(parents=True, exist_ok=True)
        with open(job.log, "ab") as log:
            self._said_before = log.tell()
            # A session of its own: Ctrl-C is for the sweep, which stops its trainings in order.
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "trafficrl", *job.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=ends_with(os.getpid()),
            )

    def end(self) -> End | None:
        """How it ended; None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        if code < 0:
            return End(self.job, lost=f"ended by signal {-code}")
        return End(self.job, error=self._last_line(code) if code else None)

    def stop(self) -> None:
        """Have it save and end."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def _last_line(self, code: int) -> str:
        with open(self.job.log, encoding="utf-8", errors="replace") as log:
            log.seek(self._said_before)
            lines = [line.strip() for line in log if line.strip()]
        errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
        return (errors or lines or [f"ended with status {code}"])[-1]


def wait_until_free(run: Path, patience: float = PATIENCE) -> None:
    """Return once nobody trains there: the end of a lost machine, or of a session, takes time.

    Raises ``LockedError`` if somebody does after ``patience`` s.
    """
    lock, until = DirectoryLock(run), time.monotonic() + patience
    while run.exists():
        try:
            lock.acquire()
        except LockedError:
            if time.monotonic() > until:
                raise
            time.sleep(LOOKS)
        else:
            lock.release()
            break
