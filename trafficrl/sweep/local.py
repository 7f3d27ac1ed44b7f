"""The trainings of a sweep as processes of this machine."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from trafficrl.sweep.executor import End, Job, Training

GLANCE = 0.05  # s between looks at the processes


class LocalProcesses:
    """An ``Executor`` of a process a job."""

    def __init__(self) -> None:
        self._running: list[Training] = []

    @property
    def slots(self) -> int:
        return len(os.sched_getaffinity(0))

    def start(self, job: Job) -> None:
        self._running.append(Training(job))

    def wait(self, seconds: float) -> Sequence[End]:
        until = time.monotonic() + seconds
        while True:
            ends = [(one, one.end()) for one in self._running]
            self._running = [one for one, end in ends if end is None]
            if (found := [end for _, end in ends if end]) or time.monotonic() > until:
                return found
            time.sleep(GLANCE)

    def stop(self) -> None:
        for one in self._running:
            one.stop()

    def close(self) -> None:
        for one in self._running:
            one.kill()
        self._running.clear()
