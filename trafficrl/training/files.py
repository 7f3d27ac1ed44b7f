"""Files that a crash at any moment leaves whole.

Where there is no room these functions change nothing and raise ``WriteError``.
What ``replace_file`` and ``sync`` return from is on the disk even if the machine stops.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import takewhile
from pathlib import Path
from typing import IO

from trafficrl.errors import WriteError

SUFFIX = ".partial"


def replace_file(
    path: Path, write: Callable[[IO[bytes]], object], *, keep: Path | None = None
) -> None:
    """Put what ``write`` writes at ``path``; a crash leaves the old content or the new.

    With ``keep`` the old file goes there, over what was there; a crash between
    these two renames leaves no file at ``path`` and the old one at ``keep``.
    """
    temporary = _partial(path)
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if keep is not None and path.exists():
            os.replace(path, keep)
        os.replace(temporary, path)
        sync(path.parent)
    except OSError as error:
        raise _not_written(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def replace_text(path: Path, text: str) -> None:
    """Put ``text`` at ``path``; a crash leaves the old content or the new."""
    content = text.encode()
    replace_file(path, lambda file: file.write(content))


def append(path: Path, text: str) -> None:
    """Add ``text`` to the end of a file, which is made if it is not there: all of it or nothing."""
    try:
        with open(path, "ab", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            try:
                left = memoryview(text.encode())
                while left:
                    left = left[file.write(left) :]
            except BaseException:
                file.truncate(size)
                raise
    except OSError as error:
        raise _not_written(path, error) from error


def whole_lines(path: Path) -> Iterator[str]:
    """The lines of a text file up to one that has no end; none if it is not there."""
    if path.exists():
        with open(path, encoding="utf-8", newline="") as file:
            yield from takewhile(lambda line: line.endswith("\n"), file)


def keep_lines(path: Path, keep: Callable[[str], bool]) -> None:
    """Cut a text file before the first line that ``keep`` refuses or that has no end.

    Takes no room. What ``keep`` raises leaves the file as it is.
    """
    size = sum(len(line.encode()) for line in takewhile(keep, whole_lines(path)))
    if path.exists():
        os.truncate(path, size)


def is_partial(path: Path) -> bool:
    """Whether a crash inside ``replace_file`` has left this file."""
    return path.name.startswith(".") and path.name.endswith(SUFFIX)


def remove_partial_files(directory: Path) -> None:
    """Remove what crashes have left in a directory."""
    for path in filter(is_partial, list(directory.iterdir())):
        path.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Put a file's content, or the names in a directory, on the disk."""
    try:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise _not_written(path, error) from error


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}{SUFFIX}")


def _not_written(path: Path, error: OSError) -> WriteError:
    return WriteError(f"{path}: cannot be written ({error.strerror or error})")
