"""Processes that do not outlive the one that began them, however that ends."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

PR_SET_PDEATHSIG = 1  # of Linux's prctl: the signal that comes when the parent ends


def ends_with(parent: int) -> Callable[[], None]:
    """What a new process does so that the kernel ends it when ``parent`` is gone.

    Nothing elsewhere than on Linux.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)  # found here: after a fork little is safe

    def prepare() -> None:
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:
                os._exit(1)

    return prepare
