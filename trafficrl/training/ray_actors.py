"""Workers anywhere in a Ray cluster, an actor each."""

from __future__ import annotations

import os
import platform
import re
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from typing import Any

from trafficrl.errors import TrafficRLError
from trafficrl.training.channel import pack, unpack
from trafficrl.training.own_folder import OwnFolder
from trafficrl.training.serving import ShardServer
from trafficrl.training.versions import compared, differences
from trafficrl.training.workers import WorkerError, WorkerLost, remaining

LEAVES_WITHIN = 1.0  # s
SOON = 5.0  # s for an actor to begin where a CPU is free


class ShardActor:
    """What is in an actor. Takes and returns bytes, of which nothing is unpickled here."""

    def __init__(self, scenario: str, index: int) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal that the cluster is run in
        self._folder = OwnFolder()
        os.environ["TMPDIR"] = tempfile.tempdir = str(self._folder.path)
        self._server = ShardServer(scenario, index)

    def about(self) -> bytes:
        """The machine, and what it runs there."""
        return pack({"host": platform.node(), "versions": compared()})

    def answer(self, request: bytes) -> bytes:
        """As ``ShardServer.answer``."""
        return self._server.answer(request)

    def leave(self) -> None:
        """Leave no files behind."""
        self._folder.remove()


class Actors:
    """Any number of workers in the cluster that this process is connected to.

    Ray makes no call again by itself: what was lost is found out and done by ``RemoteShard``.
    """

    size = sys.maxsize  # all collect at the same time

    def __init__(self, warn: Callable[[str], object] = lambda text: None) -> None:
        """``warn`` is told what is waited for: a cluster may be about to grow."""
        self._warn = warn
        self.wanted = 0
        self.full = ""  # why there is no place for another one
        self._shared: tuple[bytes, Any] = (b"", None)

    def start(self, scenario: str, index: int) -> Actor:
        """An actor for simulation ``index``, wherever a CPU is free."""
        replaces = index < self.wanted
        self.wanted = max(self.wanted, index + 1)
        return Actor(self, scenario, index, replaces)

    @cached_property
    def kind(self) -> Any:
        """Of actors."""
        import ray

        # Spread: what Ray takes for CPUs may be threads that share a core.
        options = ray.remote(
            num_cpus=1, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD"
        )
        return options(ShardActor)

    def reference(self, request: bytes) -> Any:
        """To a request in the cluster; the same one for all workers goes there once."""
        import ray

        if request is not self._shared[0]:
            self._shared = request, ray.put(request)
        return self._shared[1]

    def warn_of_waiting(self, simulations: int, begin: int, timeout: float, told: str = "") -> str:
        """If the cluster has too few CPUs, now, for ``begin`` actors of so many simulations.

        Returns what there is to be told of it, which is not told again.
        """
        room = self._room(simulations) if self._cpus()[1] < begin else ""
        if room and room != told:
            self._warn(f"{room}: waiting up to {timeout:.0f} s for them")
        return room or told

    def no_place(self, timeout: float) -> str:
        """What is to be known where an actor did not start."""
        self.full = (
            f"no worker began within {timeout:g} s (training.worker_timeout_s): "
            f"{self._room(self.wanted)}"
        )
        return self.full

    def _room(self, simulations: int) -> str:
        there, free, machines = self._cpus()
        return (
            f"the cluster has {there:g} CPUs on {machines} machines, {free:g} of them free, and "
            f"training.simulations is {simulations}, of one CPU each"
        )

    def _cpus(self) -> tuple[float, float, int]:
        """In the cluster, and free; and how many machines have them."""
        import ray

        api: Any = ray  # which has no types for these
        machines = sum(node["Alive"] for node in api.nodes())
        there, free = api.cluster_resources(), api.available_resources()
        return there.get("CPU", 0.0), free.get("CPU", 0.0), machines


class Actor:
    """A worker that is an actor."""

    def __init__(self, pool: Actors, scenario: str, index: int, replaces: bool) -> None:
        self._pool, self._index, self._replaces = pool, index, replaces
        self.handle: Any = pool.kind.remote(scenario, index)
        self._about = self.handle.about.remote()
        self._answer: Any = None  # None where nothing is to be answered
        self._asked = 0.0
        self.host = ""  # where it is, once it is known

    def ask(self, request: bytes) -> None:
        """Send a request."""
        self._answer = self.handle.answer.remote(self._pool.reference(request))
        self._asked = time.monotonic()

    def answer(self, timeout: float) -> bytes:
        """The answer to the last request."""
        if not self.host:
            raise WorkerLost("has not begun")
        answer = self._get(self._answer, self._asked, timeout)
        self._answer = None
        return answer

    def end(self) -> None:
        """End the process, whatever it does."""
        import ray

        with suppress(Exception):  # the end is no time to find fault with it
            if self.host and self._answer is None:  # else it would not come to leave
                ray.wait([self.handle.leave.remote()], timeout=LEAVES_WITHIN)
            ray.kill(self.handle)

    def arrive(self, timeout: float) -> None:
        """Wait until it is somewhere, with what this process has.

        Raises ``TrafficRLError`` where there is no place for it or where versions differ.
        """
        if self.host:
            return
        if self._pool.full or not self._begins(timeout):
            raise TrafficRLError(
                f"simulation {self._index}: {self._pool.full or self._pool.no_place(timeout)}"
            )
        about = unpack(self._get(self._about, time.monotonic(), timeout))
        self.host = about["host"]
        if differ := differences(about["versions"], compared()):
            raise TrafficRLError(
                f"simulation {self._index}: its worker on {self.host} has {', '.join(differ)}: "
                "all machines of the cluster need the same versions"
            )
        self._asked = time.monotonic()

    def _begins(self, timeout: float) -> bool:
        """Whether it does in time; for the place of a lost one it is told what is waited for."""
        import ray

        since, told = time.monotonic(), ""
        # At once the CPU of a lost one may not be free yet, nor a lost machine be known as such.
        often = SOON if self._replaces else timeout
        while not ray.wait([self._about], timeout=min(often, remaining(since, timeout)))[0]:
            left = remaining(since, timeout)
            if not left:
                return False
            told = self._pool.warn_of_waiting(self._pool.wanted, 1, left, told)
        return True

    def _get(self, reference: Any, since: float, timeout: float) -> bytes:
        import ray

        try:
            # What is there in time counts, however much later it is looked for and fetched.
            if not ray.wait([reference], timeout=remaining(since, timeout), fetch_local=False)[0]:
                raise ray.exceptions.GetTimeoutError
            return bytes(ray.get(reference, timeout=timeout))
        except ray.exceptions.GetTimeoutError:
            raise WorkerLost(f"did not answer within {timeout:g} s") from None
        except ray.exceptions.RayTaskError as error:
            raise _worker_error(error) from None
        except ray.exceptions.RayActorError as error:
            if error.actor_init_failed:
                reason = str(error).strip().splitlines()[-1]
                raise TrafficRLError(
                    f"simulation {self._index}: a machine of the cluster cannot run a worker "
                    f"({reason}): all need trafficrl and what it needs"
                ) from None
            raise WorkerLost(self._ended(error)) from None
        except ray.exceptions.RayError as error:  # its answer went with its machine
            raise WorkerLost(self._ended(error)) from None

    def _ended(self, error: Exception) -> str:
        """What happened to it, in Ray's words where they are short."""
        why = re.search(r"because (.+?)(?:\.\s|\.?$)", str(error), re.M)
        where = f"on {self.host} " if self.host else ""
        return f"{where}was lost ({why[1] if why else 'it cannot be reached'})"


def _worker_error(error: Any) -> WorkerError:
    """What nobody had thought of in an actor: on one line, with Ray's account as a note."""
    cause = getattr(error, "cause", None) or error
    first = next((line.strip() for line in str(cause).splitlines() if line.strip()), "")
    found = WorkerError(f"{type(cause).__name__}: {first}")
    found.add_note(f"In a worker:\n{error}")
    return found
