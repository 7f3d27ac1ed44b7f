"""Shards in workers, processes of their own: SUMO can take its process down, or hang.

A worker that is lost is replaced, and its last call is made again from the state
before it, which comes to the same bits. Where that fails too, the running episodes
are given up and others begin.
"""

from __future__ import annotations

import builtins
import contextlib
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
    """A method of a shard, and its arguments; packed once for all workers."""

    method: str
    arguments: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def request(self) -> bytes:
        """As ``ShardServer`` takes it."""
        return pack({"method": self.method, "arguments": self.arguments})


class Worker(Protocol):
    """A process that has a ``ShardServer``. All methods but ``end`` can raise ``WorkerLost``."""

    def ask(self, request: bytes) -> None:
        """Send a request; does not wait for its answer."""

    def answer(self, timeout: float) -> bytes:
        """The answer to the last request, within ``timeout`` s."""

    def end(self) -> None:
        """Be rid of it, whatever it does."""


class Pool(Protocol):
    """Where workers are, and how many of them collect at the same time."""

    @property
    def size(self) -> int: ...
    def start(self, scenario: str, index: int) -> Worker:
        """A worker for simulation ``index`` of a scenario (JSON)."""


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
        self._call = Call("open")
        self.worker = pool.start(self._scenario, index)

    def start(self, call: Call) -> None:
        """Have the worker call a method of its shard."""
        self._call = call
        with contextlib.suppress(WorkerLost):  # which ``result`` finds out
            self.worker.ask(call.request)

    def result(self) -> Any:
        """What the call came to, whatever became of the worker meanwhile.

        Raises what the shard raised, and ``SimulationError`` if ``TRIES`` workers are lost.
        """
        return self._answered(lambda: self._answer(self._timeout))

    def load_state_dict(self, state: State) -> None:
        """Go on from a saved state."""
        self.state, self._call = state, Call("open")
        self._answered(self._restore_and_call)

    def close(self) -> Tally:
        """End the worker; returns the warnings of SUMO that it held back."""
        left = None
        try:
            self.worker.ask(Call("close").request)
            left = self._answer(LAST_WORDS)
        except Exception:  # the end is no time to find fault with it
            left = None
        finally:
            self.worker.end()
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
        self.worker.end()
        if give_up and self.state is not None:
            self.state = Shard.without_episode(self.state)
        self.worker = self._pool.start(self._scenario, self.index)

    def _restore_and_call(self) -> Any:
        if self.state is not None:
            self.worker.ask(Call("load_state_dict", {"state": self.state}).request)
            self._answer(self._timeout)
        self.worker.ask(self._call.request)
        return self._answer(self._timeout)

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
