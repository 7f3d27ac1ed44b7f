"""Shards in processes of their own: SUMO can take its process down, or hang.

A worker that is lost is replaced, and its last call is made again from the state
before it, which comes to the same bits. Where that fails too, the running episodes
are given up and others begin.
"""

from __future__ import annotations

import atexit
import builtins
import contextlib
import ctypes
import multiprocessing
import os
import signal
import tempfile
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from trafficrl import errors
from trafficrl.config import ScenarioConfig
from trafficrl.errors import ConnectionLost, SimulationError
from trafficrl.simulation.sumo_warnings import Tally
from trafficrl.training.channel import receive, send
from trafficrl.training.shard import Shard, State

TRIES = 4  # of one call: as it is, again, and twice with other episodes
LAST_WORDS = 5.0  # s for a worker to end by itself
PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal that comes when the parent ends


class WorkerLost(Exception):
    """A worker has ended, or does not answer."""


class WorkerError(Exception):
    """Something in a worker that nobody had thought of."""


class RemoteShard:
    """A shard in a worker; calls begin with ``start`` and end with ``result``.

    ``on_loss`` is told of each worker that is lost: the shard's number, what
    happened to it, and whether its running episodes are given up.
    """

    def __init__(
        self, config: ScenarioConfig, index: int, on_loss: Callable[[int, str, bool], None]
    ) -> None:
        self._scenario, self.index = config.model_dump_json(), index
        self._timeout = config.training.worker_timeout_s
        self._on_loss = on_loss
        self.state: State | None = None  # how to go on after the last call
        self._call: tuple[str, dict[str, Any]] = ("", {})
        self._worker = _Worker(self._scenario, index)

    def start(self, method: str, **arguments: Any) -> None:
        """Have the worker call a method of its shard."""
        self._call = method, arguments
        with contextlib.suppress(WorkerLost):  # which ``result`` finds out
            self._worker.ask(method, arguments)

    def result(self) -> Any:
        """What the call came to, whatever became of the worker meanwhile.

        Raises what the shard raised, and ``SimulationError`` if ``TRIES`` workers are lost.
        """
        return self._answered(lambda: self._worker.answer(self._timeout))

    def load_state_dict(self, state: State) -> None:
        """Go on from a saved state."""
        self.state, self._call = state, ("open", {})
        self._answered(self._restore_and_call)

    def close(self) -> Tally:
        """End the worker; returns the warnings of SUMO that it held back."""
        left = None
        try:
            self._worker.ask("close", {})
            left = self._worker.answer(LAST_WORDS)
        except Exception:  # the end is no time to find fault with it
            left = None
        finally:
            self._worker.end()
        return left if isinstance(left, Tally) else Tally()

    def _answered(self, attempt: Callable[[], Any]) -> Any:
        """The answer to the call, by ``attempt`` or by workers that take the place of lost ones."""
        reason = ""
        for tries in range(1, TRIES + 1):
            try:
                answer = attempt()
            except WorkerLost as lost:
                reason = str(lost)
                if tries < TRIES:
                    give_up = tries > 1
                    self._on_loss(self.index, reason, give_up)
                    self._replace(give_up=give_up)
                attempt = self._restore_and_call
                continue
            self.state = getattr(answer, "state", self.state)
            return answer
        raise SimulationError(
            f"simulation {self.index}: {TRIES} workers in a row were lost, the last as it {reason} "
            f"(`trafficrl train --workers 0` runs it in this process; training.worker_timeout_s is "
            f"{self._timeout:g})"
        )

    def _replace(self, *, give_up: bool) -> None:
        self._worker.end()
        if give_up and self.state is not None:
            self.state = Shard.without_episode(self.state)
        self._worker = _Worker(self._scenario, self.index)

    def _restore_and_call(self) -> Any:
        if self.state is not None:
            self._worker.ask("load_state_dict", {"state": self.state})
            self._worker.answer(self._timeout)
        self._worker.ask(*self._call)
        return self._worker.answer(self._timeout)


class _Worker:
    """A process with one shard. Spawned: a forked one would share SUMO's and torch's threads."""

    def __init__(self, scenario: str, index: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._asked = 0
        # Of what it leaves there if it does not come to clean up.
        self._folder = tempfile.TemporaryDirectory(prefix="trafficrl-worker-")
        self.process = context.Process(
            target=work,
            args=(theirs, scenario, index, self._folder.name),
            name=f"trafficrl-{index}",
            daemon=True,
        )
        self.process.start()
        theirs.close()
        # Before multiprocessing asks it to end by a signal that it ignores, and waits.
        atexit.register(self.end)

    def ask(self, method: str, arguments: dict[str, Any]) -> None:
        self._asked += 1
        request = {"number": self._asked, "method": method, "arguments": arguments}
        try:
            send(self._connection, request)
        except OSError:
            raise self._lost() from None

    def answer(self, timeout: float) -> Any:
        """To what was asked last. Raises ``WorkerLost``, or the error that the shard raised."""
        number = 0
        while number != self._asked:
            try:
                if not self._connection.poll(timeout):
                    raise WorkerLost(f"did not answer within {timeout:g} s")
                answer = receive(self._connection)
            except (EOFError, OSError):
                raise self._lost() from None
            number = answer["number"]
        if "error" in answer:
            raise _error(answer["error"], answer["text"], answer["traceback"])
        return answer["value"]

    def end(self) -> None:
        atexit.unregister(self.end)
        self._connection.close()
        self.process.join(0.2)
        self.process.kill()
        self.process.join()
        self._folder.cleanup()

    def _lost(self) -> WorkerLost:
        self.process.join(LAST_WORDS)
        code = self.process.exitcode
        how = f"by signal {-code}" if code is not None and code < 0 else f"with status {code}"
        return WorkerLost(f"ended {how}")


def _error(kind: str, text: str, where: str) -> Exception:
    """What was raised in a worker, as it would be in this process."""
    if kind == ConnectionLost.__name__:  # of a SUMO that it had as a process
        return WorkerLost(f"lost its SUMO ({text})")
    found = getattr(errors, kind, None) or getattr(builtins, kind, None)
    error: Exception = WorkerError(f"{kind}: {text}")
    if isinstance(found, type) and issubclass(found, Exception):
        error = found(text)
    error.add_note(f"In a worker:\n{where}")
    return error


def work(connection: Connection, scenario: str, index: int, folder: str) -> None:
    """The life of a worker: it does what it is asked until nobody is there to ask."""
    # Both reach all processes of a terminal or a job; the parent decides what follows.
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    with contextlib.suppress(OSError, AttributeError):  # elsewhere than on Linux
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.environ["TMPDIR"], tempfile.tempdir = folder, folder
    shard: Shard | None = None
    while True:
        try:
            request = receive(connection)
        except (EOFError, OSError):
            os._exit(0)  # SUMO may hang at the end
        answer: dict[str, Any] = {"number": request["number"]}
        try:
            if shard is None and request["method"] != "close":
                config = ScenarioConfig.model_validate_json(scenario)
                torch.set_num_threads(config.training.torch_threads)
                shard = Shard(config, index)
            answer["value"] = shard and getattr(shard, request["method"])(**request["arguments"])
        except Exception as error:
            answer |= {"error": type(error).__name__, "text": str(error)}
            answer["traceback"] = traceback.format_exc()
        try:
            send(connection, answer)
        except OSError:
            os._exit(0)
