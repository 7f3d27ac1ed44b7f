"""Tensors of rows that grow in place: a replay of many vehicles has no room beside itself."""

from __future__ import annotations

import torch
from torch import Tensor

MOVED = 1024  # rows at once


def appended(old: Tensor, new: Tensor, drop: int, capacity: int) -> Tensor:
    """Both in a row, (R, ...), without the first ``drop``, of which there are enough to leave at
    most ``capacity`` rows.

    ``old`` must be nobody else's: rows are moved in it, and written behind it where its memory
    goes on.
    """
    kept = len(old) - drop
    if kept <= 0:
        return new[-kept:].clone()
    for row in range(0, kept if drop else 0, MOVED):
        end = min(row + MOVED, kept)
        old[row:end] = old[row + drop : end + drop].clone()
    rows = kept + len(new)
    if not _has_room(old, rows):
        wider = old.new_empty(_room(rows, capacity), *old.shape[1:])
        wider[:kept] = old[:kept]
        old = wider
    both = old.as_strided((rows, *old.shape[1:]), old.stride())
    both[kept:] = new
    return both


def compact(rows: Tensor) -> Tensor:
    """The same memory without the room behind it, which a file would be written with."""
    if rows.device.type == "cpu":
        return torch.from_numpy(rows.numpy())
    return rows.cpu()


def _has_room(x: Tensor, rows: int) -> bool:
    held = x.untyped_storage().nbytes() // x.element_size() - x.storage_offset()
    return x.is_contiguous() and rows * x[0].numel() <= held


def _room(rows: int, capacity: int) -> int:
    """``capacity`` halved as often as it goes: what is copied is then at most half of what may be.

    Memory of the CPU that nobody has written to is not taken yet.
    """
    room = capacity
    while room // 2 >= rows:
        room //= 2
    return room
