"""Checkpoints: tensors and plain containers in one file, written whole or not at all.

The file is what ``torch.save`` makes and a line behind it with the SHA-256 of
that, which ``torch.load`` passes over.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from pathlib import Path
from typing import IO, Any, cast

import torch

from trafficrl.errors import CheckpointError
from trafficrl.training.files import replace_file

FORMAT = 3
UNSEALED = 2  # of before there was a checksum
LABEL = b"\nsha256 "
BLOCK = 2**20  # bytes that are read at once


def save_checkpoint(path: Path, content: dict[str, Any], *, keep: Path | None = None) -> None:
    """Replace the file at ``path``; a crash at any moment leaves the old one or the new.

    ``keep`` is where the old one goes, as in ``replace_file``. Raises
    ``WriteError`` where there is no room, with nothing changed.
    """

    def write(file: IO[bytes]) -> None:
        summed = _Summed(file)
        try:
            torch.save({"format": FORMAT, **content}, cast("IO[bytes]", summed))
        except RuntimeError:  # torch's own, after it was refused a write
            if summed.refused is None:
                raise
            raise summed.refused from None
        file.write(_seal(summed.digest))

    replace_file(path, write, keep=keep)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running any code from it; ``CheckpointError`` if that fails."""
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise ValueError("not a regular file")
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error that follows says more
            sealed = _is_sealed(file)
            file.seek(0)
            content = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except Exception as error:  # of a damaged file, torch lets through nearly any
        reason = str(error).partition("\n")[0].partition(". ")[0] or type(error).__name__
        raise CheckpointError(f"{path}: not a readable checkpoint ({reason})") from None
    form = content.get("format") if isinstance(content, dict) else None
    if form not in (FORMAT, UNSEALED):
        raise CheckpointError(f"{path}: not a checkpoint of this version of trafficrl")
    if form == FORMAT and not sealed:
        raise CheckpointError(f"{path}: not a readable checkpoint (its checksum is wrong)")
    return dict(content)


class _Summed:
    """Passes on what is written to a file, and sums it up."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()
        self.refused: OSError | None = None

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        try:
            return self._file.write(data)
        except OSError as error:
            self.refused = error
            raise

    def flush(self) -> None:
        self._file.flush()


def _seal(digest: hashlib._Hash) -> bytes:
    return LABEL + digest.hexdigest().encode() + b"\n"


def _is_sealed(file: IO[bytes]) -> bool:
    """Whether the last line is the checksum of what is before it."""
    digest = hashlib.sha256()
    left = file.seek(0, os.SEEK_END) - len(_seal(digest))
    file.seek(0)
    while left > 0 and (block := file.read(min(left, BLOCK))):
        digest.update(block)
        left -= len(block)
    return file.read() == _seal(digest)
