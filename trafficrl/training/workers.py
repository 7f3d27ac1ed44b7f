"""Shards in processes of their own: SUMO can take its process down, or hang.

A worker that is lost is replaced, and its last call is made again from the state
before it, which comes to the same bits. Where that fails too, the running episode
is given up and another begins.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

import torch

from trafficrl import errors
from trafficrl.config import ScenarioConfig
from trafficrl.errors import SimulationError, TrafficRLError
from trafficrl.simulation.sumo_warnings import Tally
from trafficrl.training.channel import receive, send
from trafficrl.training.shard import Shard, State

TRIES = 4  # of one call: as it is, again, and twice with another episode
LAST_WORDS = 5.0  # s for a worker to end by itself


class WorkerLost(Exception):
    """A worker has ended, or does not answer."""


class RemoteShard:
    """A shard in a worker; calls begin with ``start`` and end with ``result``."""

    def __init__(
        self, config: ScenarioConfig, index: int, on_loss: Callable[[int, str], None]
    ) -> None:
        self._scenario, self.index = config.model_dump_json(), index
        self._timeout = config.training.worker_timeout_s
        self._on_loss = on_loss
        self._state: State | None = None  # to begin anew from
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
        reason = ""
        for attempt in range(TRIES):
            try:
                if attempt:
                    self._replace(give_up_episode=attempt > 1)
                    self._worker.ask(*self._call)
                answer = self._worker.answer(self._timeout)
            except WorkerLost as lost:
                reason = str(lost)
                self._on_loss(self.index, reason)
                continue
            self._state = getattr(answer, "state", self._state)
            return answer
        raise SimulationError(
            f"simulation {self.index}: {TRIES} workers in a row were lost, the last as it {reason} "
            f"(`trafficrl train --workers 0` runs it in this process; training.worker_timeout_s is "
            f"{self._timeout:g})"
        )

    def call(self, method: str, **arguments: Any) -> Any:
        """``start`` and ``result``."""
        self.start(method, **arguments)
        return self.result()

    def load_state_dict(self, state: State) -> None:
        """Go on from a saved state."""
        self.call("load_state_dict", state=state)
        self._state = state

    def close(self) -> Tally:
        """End the worker; returns the warnings of SUMO that it held back."""
        try:
            self._worker.ask("close", {})
            left = self._worker.answer(LAST_WORDS)
        except (WorkerLost, TrafficRLError):
            left = None
        self._worker.end()
        return left if isinstance(left, Tally) else Tally()

    def _replace(self, *, give_up_episode: bool) -> None:
        self._worker.end()
        self._worker = _Worker(self._scenario, self.index)
        if self._state is None:
            return
        if give_up_episode:
            self._state = Shard.without_episode(self._state)
        self._worker.ask("load_state_dict", {"state": self._state})
        self._worker.answer(self._timeout)


class _Worker:
    """A process with one shard. Spawned: a forked one would share SUMO's and torch's threads."""

    def __init__(self, scenario: str, index: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self.process = context.Process(
            target=work, args=(theirs, scenario, index), name=f"trafficrl-{index}", daemon=True
        )
        self.process.start()
        theirs.close()

    def ask(self, method: str, arguments: dict[str, Any]) -> None:
        try:
            send(self._connection, {"method": method, "arguments": arguments})
        except OSError:
            raise WorkerLost("ended") from None

    def answer(self, timeout: float) -> Any:
        """Raises ``WorkerLost``, or the error that the shard raised."""
        try:
            if not self._connection.poll(timeout):
                raise WorkerLost(f"did not answer within {timeout:g} s")
            answer = receive(self._connection)
        except (EOFError, OSError):
            self.process.join(LAST_WORDS)
            code = self.process.exitcode
            how = f"by signal {-code}" if code is not None and code < 0 else f"with status {code}"
            raise WorkerLost(f"ended {how}") from None
        if "error" in answer:
            raise getattr(errors, answer["error"], RuntimeError)(answer["text"])
        return answer["value"]

    def end(self) -> None:
        self._connection.close()
        self.process.join(0.2)
        self.process.kill()
        self.process.join()


def work(connection: Connection, scenario: str, index: int) -> None:
    """The life of a worker: it does what it is asked until nobody is there to ask."""
    # Ctrl-C reaches the whole terminal; the parent decides what follows.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    shard: Shard | None = None
    while True:
        try:
            request = receive(connection)
        except (EOFError, OSError):
            os._exit(0)  # SUMO may hang at the end
        try:
            if shard is None:
                config = ScenarioConfig.model_validate_json(scenario)
                torch.set_num_threads(config.training.torch_threads)
                shard = Shard(config, index)
            value = getattr(shard, request["method"])(**request["arguments"])
        except Exception as error:
            kind = type(error).__name__
            text = str(error) if isinstance(error, TrafficRLError) else f"{kind}: {error}"
            answer = {"error": kind, "text": text}
        else:
            answer = {"value": value}
        try:
            send(connection, answer)
        except OSError:
            os._exit(0)
