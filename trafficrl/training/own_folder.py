"""Folders for temporary files that a killed process does not leave for good."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from trafficrl.errors import TrafficRLError
from trafficrl.training.lock import DirectoryLock

NAME = "trafficrl-shard-"


class OwnFolder:
    """A new folder, held by this process; those of processes that are gone on this machine go."""

    def __init__(self) -> None:
        parent = Path(tempfile.gettempdir())
        for left in parent.glob(f"{NAME}*"):
            lock = DirectoryLock(left)
            with suppress(TrafficRLError):  # somebody has it
                lock.acquire()
                shutil.rmtree(left, ignore_errors=True)
                lock.release()
        made = Path(tempfile.mkdtemp(prefix="trafficrl-new-", dir=parent))
        self._lock = DirectoryLock(made)
        self._lock.acquire()
        # Only now under a name by which others find it.
        self.path = made.rename(parent / made.name.replace("trafficrl-new-", NAME))

    def remove(self) -> None:
        """Take it away, and what is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self._lock.release()
