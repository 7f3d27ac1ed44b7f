"""How a command that takes long is ended in order."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Stoppable(Protocol):
    """What ends soon after ``stop``, and saves."""

    def stop(self) -> None: ...


class Told(Protocol):
    """What shows that something is being stopped. Called from a signal handler."""

    def stopping(self) -> None: ...


@contextmanager
def stop_on_signals(work: Stoppable, display: Told) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM ends the work in order, the second at once."""

    def handle(number: int, frame: object) -> None:
        for one, handler in previous.items():
            signal.signal(one, handler)
        display.stopping()
        work.stop()

    previous = {one: signal.signal(one, handle) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in previous.items():
            signal.signal(one, handler)
