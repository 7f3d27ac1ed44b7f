"""Tells the C library what to do with the memory of large tensors; without effect but on glibc.

By default glibc maps every block of over 32 MB anew, and an update of many
vehicles spends as long on page faults as on arithmetic.
"""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of mallopt
MOST = 2**31 - 1


def keep_freed() -> None:
    """From now on this process keeps memory that is freed, for what is allocated next."""
    mallopt = _function("mallopt")
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, MOST)


def give_back_freed() -> None:
    """Give back what is free now: small tensors that stay would hold it between them for good."""
    trim = _function("malloc_trim")
    if trim is not None:
        trim(0)


def _function(name: str) -> ctypes._FuncPointer | None:
    try:
        return getattr(ctypes.CDLL(None), name, None)
    except (OSError, TypeError):  # no such library: not on Linux
        return None
