"""One training at a time in a directory."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
from pathlib import Path
from typing import IO

from trafficrl.errors import LockedError, TrafficRLError, WriteError


class DirectoryLock:
    """Held by a process until ``release`` or its end, however it ends.

    The lock is flock's on a file ``.lock``, in which its holder has its name and
    which stays: to remove it would let two processes hold a lock each.
    """

    def __init__(self, directory: Path) -> None:
        self.path = directory / ".lock"
        self._file: IO[bytes] | None = None

    def acquire(self) -> None:
        """Take the lock, or keep it; ``LockedError`` where another process has it."""
        if self._file is not None:
            return
        try:
            file = open(self.path, "ab+", buffering=0)  # noqa: SIM115  # held open
        except OSError as error:
            raise WriteError(f"{self.path}: cannot be written ({error.strerror})") from None
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().decode(errors="replace") or "another process"
            file.close()
            where = self.path.parent
            if isinstance(error, BlockingIOError):
                raise LockedError(
                    f"{where}: {holder} is training there (wait for its end, or stop it)"
                ) from None
            raise TrafficRLError(
                f"{where}: cannot be locked ({error.strerror}; keep runs on another disk)"
            ) from None
        self._file = file
        with contextlib.suppress(OSError):  # no room for a name
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}".encode())

    def release(self) -> None:
        """Give the lock back; without one nothing happens."""
        if self._file is not None:
            self._file.truncate(0)
            self._file.close()
            self._file = None
