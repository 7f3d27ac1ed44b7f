"""Checkpoints: tensors and plain containers in one file, written whole or not at all."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import torch

from trafficrl.errors import CheckpointError

FORMAT = 2


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Replace the file at ``path``; a crash at any moment leaves the old one or the new."""
    temporary = path.with_name(f".{path.name}.partial")
    try:
        with open(temporary, "wb") as file:
            torch.save({"format": FORMAT, **content}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without running any code from it; ``CheckpointError`` if that fails."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error that follows says more
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except Exception as error:  # of a damaged file, torch lets through nearly any
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise CheckpointError(f"{path}: not a readable checkpoint ({reason})") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of this version of trafficrl")
    return content
