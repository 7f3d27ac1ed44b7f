"""Shards in workers, processes of their own: SUMO can take its process down, or hang.

A worker that is lost is replaced, and its last call is made again from the state
before it, which comes to the same bits. Where that fails too, the running episodes
are given up and others begin.
"""

from __future__ import annotations

import builtins
import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from trafficrl import errors
from trafficrl.config import ScenarioConfig
from trafficrl.errors import ConnectionLost, SimulationError
from trafficrl.simulation.sumo_warnings import Tally
from trafficrl.training.channel import pack, unpack
from trafficrl.training.shard import Shard, State

TRIES = 4  # of one call: as it is, again, and twice with other episodes
LAST_WORDS = 5.0  # s for a worker to end by itself


class WorkerLost(Exception):
    """A worker has ended, or does not answer."""


class WorkerError(Exception):
    """Something in a worker that nobody had thought of."""


@dataclass(frozen=True)
class Call:
    """A method of a shard, and its arguments."""

    method: str
    arguments: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def request(self) -> bytes:
        """As ``ShardServer`` takes it; packed once for all workers."""
        return self.request_from(None)

    def request_from(self, state: State | None) -> bytes:
        """The same of a shard that goes on from a saved state."""
        return pack({"state": state, "method": self.method, "arguments": self.arguments})


LEAVE = Call("close")


class Worker(Protocol):
    """A process that has a ``ShardServer``. All methods but ``end`` can raise ``WorkerLost``."""

    def ask(self, request: bytes) -> None:
        """Send a request; does not wait for its answer, nor for the worker to begin."""

    def arrive(self, timeout: float) -> None:
        """Wait until it has begun; ``TrafficRLError`` if it has not within ``timeout`` s."""

    def answer(self, timeout: float) -> bytes:
        """The answer to the last request, within ``timeout`` s of that or of its beginning."""

    def end(self) -> None:
        """Be rid of it, whatever it does."""


class Pool(Protocol):
    """Where workers are, and how many of them collect at the same time."""

    @property
    def size(self) -> int: ...
    def start(self, scenario: str, index: int) -> Worker:
        """A worker for simulation ``index`` of a scenario (JSON)."""


def remaining(since: float, timeout: float) -> float:
    """Seconds until ``timeout`` after a moment of ``time.monotonic``."""
    return max(0.0, since + timeout - time.monotonic())


class RemoteShard:
    """A shard in a worker; calls begin with ``start`` and end with ``result``.

    ``on_loss`` is told of each worker that is lost: the shard's number, what
    happened to it, and whether its running episodes are given up.
    """

    def __init__(
        self,
        config: ScenarioConfig,
        index: int,
        pool: Pool,
        on_loss: Callable[[int, str, bool], None],
    ) -> None:
        self._scenario, self.index, self._pool = config.model_dump_json(), index, pool
        self._timeout = config.training.worker_timeout_s
        self._on_loss = on_loss
        self.state: State | None = None  # how to go on after the last call
        self._call, self._tries = Call("open"), 0
        self._within = self._timeout  # s for the answer
        self.worker = pool.start(self._scenario, index)

    def start(self, call: Call, state: State | None = None) -> None:
        """Have the worker call a method of its shard, from a saved state if there is one."""
        self._call, self._tries = call, 1
        self.state = self.state if state is None else state
        self._ask(state)

    def result(self) -> Any:
        """What the call came to.

        Raises ``WorkerLost`` where the worker was lost and another one makes the call, which
        has a result in turn; what the shard raised; and ``SimulationError`` if ``TRIES``
        workers were lost.
        """
        try:
            self.worker.arrive(self._timeout)
            answer = self._answer(self._within)
        except WorkerLost as lost:
            self._lose(str(lost))
            raise
        self.state = getattr(answer, "state", self.state)
        return answer

    def leave(self) -> None:
        """Have the worker end the simulation."""
        with contextlib.suppress(Exception):  # the end is no time to find fault with it
            self.worker.ask(LEAVE.request)

    def close(self) -> Tally:
        """End the worker; returns the warnings of SUMO that it held back."""
        left = None
        try:
            with contextlib.suppress(Exception):  # as in ``leave``
                left = self._answer(LAST_WORDS)
        finally:
            self.worker.end()
        return left if isinstance(left, Tally) else Tally()

    def _lose(self, reason: str) -> None:
        """Have another worker make the call."""
        if self._tries == TRIES:
            raise SimulationError(
                f"simulation {self.index}: {TRIES} workers in a row were lost, the last as it "
                f"{reason} (`trafficrl train --workers 0` runs it in this process; "
                f"training.worker_timeout_s is {self._timeout:g})"
            )
        give_up = self._tries > 1
        self._tries += 1
        self._on_loss(self.index, reason, give_up)
        self._replace(give_up=give_up)
        self._ask(self.state)

    def _replace(self, *, give_up: bool) -> None:
        self.worker.end()
        if give_up and self.state is not None:
            self.state = Shard.without_episode(self.state)
        self.worker = self._pool.start(self._scenario, self.index)

    def _ask(self, state: State | None) -> None:
        call = self._call
        # To drive an episode again may take as long as what is asked then.
        self._within = self._timeout * (1 if state is None else 2)
        with contextlib.suppress(WorkerLost):  # which ``result`` finds out
            self.worker.ask(call.request if state is None else call.request_from(state))

    def _answer(self, timeout: float) -> Any:
        """To what was asked last. Raises ``WorkerLost``, or the error that the shard raised."""
        answer = unpack(self.worker.answer(timeout))
        if "error" in answer:
            raise _error(answer["error"], answer["text"], answer["traceback"])
        return answer["value"]


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
