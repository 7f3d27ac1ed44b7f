"""What a case of bad input is: what lies in a folder, a command there, and words of the answer."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Prepare = Callable[[Path], object]


@dataclass(frozen=True)
class Case:
    """A command line that has to be refused, in a folder that ``prepare`` fills.

    There is a trained run in it, called ``run``. ``says`` is a part of the answer, which is
    one line (``lines`` where several things are wrong) and leaves the folder as it was.
    """

    name: str
    command: str
    says: str
    prepare: Prepare = lambda folder: None
    code: int = 1
    lines: int = 1
    environment: tuple[tuple[str, str], ...] = ()

    @property
    def arguments(self) -> list[str]:
        return [word.replace("NUL", "\0").replace("NEWLINE", "\n") for word in self._words()]

    def _words(self) -> list[str]:
        return shlex.split(self.command)


def files(**contents: str | bytes) -> Prepare:
    """Writes files; ``_`` before the ending stands for a dot: ``small_yaml`` is small.yaml."""

    def prepare(folder: Path) -> None:
        for name, content in contents.items():
            path = folder / ".".join(name.rsplit("_", 1))
            path.write_bytes(content.encode() if isinstance(content, str) else content)

    return prepare


def changed(text: str, *changes: str) -> str:
    """``text`` with each ``old => new`` of ``changes`` made once."""
    for change in changes:
        old, _, new = change.partition(" => ")
        assert old in text, old
        text = text.replace(old, new, 1)
    return text
