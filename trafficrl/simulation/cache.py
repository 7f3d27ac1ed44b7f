"""Folders of files that are made once and found again by what they were made of."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from trafficrl.errors import SimulationError


def cached(
    content: Sequence[str], make: Callable[[Path], None], directory: Path | None = None
) -> Path:
    """The folder that ``make`` fills, made where it is not there yet.

    ``content`` is all that decides what comes out. ``directory`` is kept as the
    cache instead of the user's own; ``SimulationError`` where it is not writable,
    or has no room.
    """
    key = hashlib.sha256("\n".join(content).encode()).hexdigest()[:20]
    root = directory or _user_cache()
    if (root / key).is_dir():
        return root / key
    try:
        scratch = _scratch(root, key)
    except OSError as error:
        if directory is not None:
            raise _not_written(root, error) from error
        root = _fallback_cache()
        if (root / key).is_dir():
            return root / key
        scratch = _scratch(root, key)
    try:
        make(scratch)
        _publish(scratch, root / key)
    except OSError as error:
        raise _not_written(root, error) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return root / key


def _not_written(root: Path, error: OSError) -> SimulationError:
    return SimulationError(
        f"{root}: networks cannot be written here: {error.strerror or error} "
        "(make room and let it be writable, or give another directory, as XDG_CACHE_HOME "
        "does for the user's own)"
    )


def _scratch(root: Path, key: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f".{key}-", dir=root))


def _publish(scratch: Path, target: Path) -> None:
    """Rename ``scratch`` to ``target``; the first of two processes wins."""
    try:
        scratch.rename(target)
    except OSError:
        if not target.is_dir():
            raise


def _user_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "trafficrl" / "networks"


@cache
def _fallback_cache() -> Path:
    try:
        folder = Path(tempfile.mkdtemp(prefix="trafficrl-networks-"))
    except OSError as error:
        raise _not_written(Path(tempfile.gettempdir()), error) from error
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
