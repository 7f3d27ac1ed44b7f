"""Tensors of rows that grow in place: a replay of many vehicles has no room beside itself."""

from __future__ import annotations

import torch
from torch import Tensor

MOVED = 1024  # rows at once


def appended(old: Tensor, new: Tensor, drop: int, capacity: int) -> Tensor:
    """Both in a row, (R, ...), without the first ``drop``: at most ``capacity`` rows.

    What ``old`` held is no longer there afterwards.
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
    """A power of two less than ``capacity``: what grows is then at most half of what it may be.

    Pages that nobody has written to take no memory.
    """
    room = capacity
    while (room + 1) // 2 >= rows:
        room = (room + 1) // 2
    return max(room, rows)
