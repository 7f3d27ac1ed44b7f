"""Checkpoints: tensors and plain containers in one file, written whole or not at all.

The file is what ``torch.save`` makes and a line behind it with the SHA-256 of
that, which ``torch.load`` passes over.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from pathlib import Path
from typing import Any

import torch

from trafficrl.errors import CheckpointError
from trafficrl.training.files import replace_file

FORMAT = 3
UNSEALED = 2  # of before there was a checksum
LABEL = b"\nsha256 "


def save_checkpoint(path: Path, content: dict[str, Any], *, keep: Path | None = None) -> None:
    """Replace the file at ``path``; a crash at any moment leaves the old one or the new.

    ``keep`` is where the old one goes, as in ``replace_file``. Raises
    ``WriteError`` where there is no room, with nothing changed.
    """
    file = io.BytesIO()
    torch.save({"format": FORMAT, **content}, file)
    file.write(_seal(file.getbuffer()))
    replace_file(path, file.getbuffer(), keep=keep)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running any code from it; ``CheckpointError`` if that fails."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except OSError as error:
        raise CheckpointError(f"{path}: not a readable checkpoint ({error.strerror})") from None
    sealed = _is_sealed(memoryview(data))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error that follows says more
            content = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # of a damaged file, torch lets through nearly any
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise CheckpointError(f"{path}: not a readable checkpoint ({reason})") from None
    form = content.get("format") if isinstance(content, dict) else None
    if form not in (FORMAT, UNSEALED):
        raise CheckpointError(f"{path}: not a checkpoint of this version of trafficrl")
    if form == FORMAT and not sealed:
        raise CheckpointError(f"{path}: not a readable checkpoint (its checksum is wrong)")
    return dict(content)


def _seal(data: memoryview) -> bytes:
    return LABEL + hashlib.sha256(data).hexdigest().encode() + b"\n"


def _is_sealed(data: memoryview) -> bool:
    """Whether the last line is the checksum of what is before it."""
    size = len(_seal(data[:0]))
    return data[-size:] == _seal(data[:-size])
