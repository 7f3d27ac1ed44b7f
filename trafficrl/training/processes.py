"""Workers on this machine, processes of their own."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from contextlib import suppress
from multiprocessing.connection import Connection

from trafficrl.orphans import ends_with
from trafficrl.training.own_folder import OwnFolder
from trafficrl.training.serving import ShardServer
from trafficrl.training.workers import LAST_WORDS, WorkerLost, remaining


class Processes:
    """``size`` workers collect at the same time."""

    def __init__(self, size: int) -> None:
        self.size = size

    def start(self, scenario: str, index: int) -> Process:
        """A process for simulation ``index``."""
        return Process(scenario, index)


class Process:
    """A worker. Spawned: a forked one would share SUMO's and torch's threads."""

    def __init__(self, scenario: str, index: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._unanswered, self._asked = 0, 0.0
        self._sender: threading.Thread | None = None
        # Of what it leaves there if it does not come to clean up.
        self._folder = OwnFolder()
        self.process = context.Process(
            target=work,
            args=(theirs, scenario, index, str(self._folder.path), os.getpid()),
            name=f"trafficrl-{index}",
            daemon=True,
        )
        self.process.start()
        theirs.close()
        # Before multiprocessing asks it to end by a signal that it ignores, and waits.
        atexit.register(self.end)

    def ask(self, request: bytes) -> None:
        """Have a request sent: a large one waits on the way until the process reads it."""
        self._unanswered += 1
        self._asked = time.monotonic()
        self._sender = threading.Thread(
            target=self._send, args=(self._sender, request), daemon=True
        )
        self._sender.start()

    def _send(self, earlier: threading.Thread | None, request: bytes) -> None:
        if earlier is not None:
            earlier.join()
        with suppress(OSError):  # which ``answer`` finds out
            self._connection.send_bytes(request)

    def arrive(self, timeout: float) -> None:
        """It has begun at once."""

    def answer(self, timeout: float) -> bytes:
        """The answer to the last request, of several without one."""
        data = b""
        while self._unanswered:
            try:
                if not self._connection.poll(remaining(self._asked, timeout)):
                    raise WorkerLost(f"did not answer within {timeout:g} s")
                data = self._connection.recv_bytes()
            except (EOFError, OSError):
                raise self._lost() from None
            self._unanswered -= 1
        return data

    def end(self) -> None:
        """End the process, whatever it does."""
        atexit.unregister(self.end)
        if self._sender is not None and self._sender.is_alive():
            self.process.kill()  # what is still being sent it will not read
            self._sender.join()
        self._connection.close()
        self.process.join(0.2)
        self.process.kill()
        self.process.join()
        self._folder.remove()

    def _lost(self) -> WorkerLost:
        self.process.join(LAST_WORDS)
        code = self.process.exitcode
        how = f"by signal {-code}" if code is not None and code < 0 else f"with status {code}"
        return WorkerLost(f"ended {how}")


def work(connection: Connection, scenario: str, index: int, folder: str, parent: int) -> None:
    """The life of a process: it does what it is asked until nobody is there to ask."""
    # Both reach all processes of a terminal or a job; the parent decides what follows.
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    ends_with(parent)()
    os.environ["TMPDIR"] = tempfile.tempdir = folder
    server = ShardServer(scenario, index)
    try:
        while True:
            connection.send_bytes(server.answer(connection.recv_bytes()))
    except (EOFError, OSError):
        os._exit(0)  # SUMO may hang at the end
