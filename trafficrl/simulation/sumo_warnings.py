"""What SUMO warns of: read from the log that it writes, with its time, and counted by kind.

SUMO begins a new log whenever it loads, and its clock runs on from one episode to
the next where it does not; marks on that clock say what each warning belongs to.
"""

from __future__ import annotations

import os
import re
import tempfile
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

KEPT = 100  # warnings of each kind that are kept word by word; all are counted
KINDS = 100  # kinds that are told apart
OTHERS = "other kinds"
ROOM = 2**20  # bytes of SUMO's log that may have been read and still take place

_NUMBER = re.compile(r"[0-9][0-9.]*")
_TIME = re.compile(r"time=([0-9.]*[0-9])")
_WARNING = "Warning: "
Context = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class SumoWarning:
    """One warning."""

    text: str  # SUMO's words; times in it are of SUMO's clock
    kind: str  # the same with * for names and numbers
    time: float | None  # s of the episode; None while it was prepared (placing, warm-up)
    context: Context  # what was done meanwhile, as whoever did it put it

    def row(self) -> dict[str, Any]:
        """As a flat mapping."""
        return {**self.context, "time_s": self.time, "kind": self.kind, "text": self.text}


@dataclass(slots=True)
class Tally:
    """How many warnings of each kind, and the first ``KEPT`` of each in their order."""

    counts: dict[str, int] = field(default_factory=dict)
    kept: list[SumoWarning] = field(default_factory=list)

    @property
    def total(self) -> int:
        """Of all kinds."""
        return sum(self.counts.values())

    def count(self, kind: str, number: int = 1) -> bool:
        """Count; returns whether the last of them is to be kept."""
        kind = self._known(kind)
        self.counts[kind] = total = self.counts.get(kind, 0) + number
        return total <= KEPT

    def merge(self, later: Tally) -> list[SumoWarning]:
        """Count all of ``later``; returns those of them that are newly kept."""
        room = {kind: KEPT - count for kind, count in self.counts.items()}
        for kind, count in later.counts.items():
            self.count(kind, count)
        news = []
        for warning in later.kept:
            kind = self._known(warning.kind)
            room[kind] = room.get(kind, KEPT) - 1
            if room[kind] >= 0:
                news.append(warning)
        self.kept += news
        return news

    def summary(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "count": self.total,
            "by_kind": dict(self.counts),
            "first_of_each_kind": [warning.row() for warning in self.kept],
        }

    def _known(self, kind: str) -> str:
        """``kind``, or ``OTHERS`` where there are too many."""
        return kind if kind in self.counts or len(self.counts) < KINDS else OTHERS


def kind_of(text: str) -> str:
    """A warning with a star for each name (in quotes) and number; there may be very many."""
    unnamed = "*".join(text.split("'")[::2])
    return _NUMBER.sub("*", unnamed).replace("-*", "*").rstrip(".")


def describe(tally: Tally, file: Path | None = None) -> str:
    """All warnings on a line: how many, the first, and the ``file`` that has them."""
    first = tally.kept[0]
    number = "1 warning of SUMO" if tally.total == 1 else f"{tally.total:,} warnings of SUMO"
    told = f"{number}, the first ({where(first.row())}): {first.text.rstrip('.')}"
    if file is None:
        return told
    cut = any(count > KEPT for count in tally.counts.values())
    return f"{told}; {f'the first {KEPT} of each kind' if cut else 'all'} in {file}"


def where(row: Mapping[str, Any]) -> str:
    """What a warning belongs to, and its time."""
    context = [
        f"{key} {value}" for key, value in row.items() if key not in ("time_s", "kind", "text")
    ]
    time = row["time_s"]
    return ", ".join([*context, "before it began" if time is None else f"at {time:g} s"])


class _Mark(NamedTuple):
    """What warnings belong to from a moment on."""

    since: float  # s of SUMO's clock
    zero: float | None  # s of SUMO's clock at which the episode began; None before
    context: Context | None  # None: they are not wanted


class WarningReader:
    """Reads the logs of one simulation while SUMO writes them."""

    def __init__(self, step_length: float) -> None:
        self._step_length = step_length
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._loads = 0
        self._file: Path | None = None  # that SUMO writes
        self._read = self._freed = 0  # bytes of it
        self._begun = b""  # of a line whose end SUMO has not written yet: it writes in blocks
        self._marks = [_Mark(0.0, None, {})]
        self._tally = Tally()

    def next_file(self) -> Path:
        """Where SUMO should write from its next load on: it would overwrite the file of this."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="trafficrl-")
        self._loads += 1
        return Path(self._folder.name) / f"warnings-{self._loads}.log"

    def loaded(self, file: Path) -> None:
        """SUMO has loaded, so that the log before is complete; its clock is at 0 again."""
        self._finish()
        self._file = file
        self._marks = [_Mark(0.0, None, self._marks[-1].context)]

    def belong_to(self, context: Context | None, now: float) -> None:
        """Warnings come of this from ``now`` on, s of SUMO's clock; None leaves them out."""
        self._marks.append(_Mark(now, self._marks[-1].zero, context))

    def episode(self, zero: float | None, now: float) -> None:
        """From ``now`` on an episode runs that began at ``zero``, or is prepared (None)."""
        self._marks.append(_Mark(now, zero, self._marks[-1].context))

    def take(self, *, complete: bool) -> Tally:
        """What has come since the last time; ``complete`` if the log holds all until now."""
        self._read_on()
        if complete:
            del self._marks[:-1]
        taken, self._tally = self._tally, Tally()
        return taken

    def close(self) -> None:
        """SUMO has ended. What was not taken can be still."""
        self._finish()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    # ------------------------------------------------------------------

    def _finish(self) -> None:
        self._read_on()
        if self._file is not None:
            self._file.unlink(missing_ok=True)
        self._file, self._read, self._freed, self._begun = None, 0, 0, b""

    def _read_on(self) -> None:
        """Take in what has been added."""
        if self._file is None or not self._file.exists():
            return
        with open(self._file, "rb") as stream:
            stream.seek(self._read)
            for part in stream:
                self._read += len(part)
                self._begun += part
                if part.endswith(b"\n"):
                    self._add(self._begun.decode(errors="replace").rstrip())
                    self._begun = b""
        if self._read - self._freed > ROOM:
            # SUMO goes on writing where it is: what lies before becomes a hole in the file.
            os.truncate(self._file, 0)
            self._freed = self._read

    def _add(self, line: str) -> None:
        if not line.startswith(_WARNING):
            return
        text = line.removeprefix(_WARNING).strip()
        stated = _TIME.search(text)
        time = None if stated is None else float(stated[1])
        mark = self._marks[-1] if time is None else self._mark_of(time)
        if mark.context is None:
            return
        kind = kind_of(text)
        if self._tally.count(kind):
            if time is not None:
                # It is of the beginning of the step, at whose end we see what came of it.
                begun = mark.zero
                time = None if begun is None else round(time - begun + self._step_length, 6)
            self._tally.kept.append(SumoWarning(text, kind, time, mark.context))

    def _mark_of(self, time: float) -> _Mark:
        """The mark that holds at a time, which may be passed: the log can be behind."""
        if len(self._marks) == 1:
            return self._marks[0]
        after = bisect_right(self._marks, time + 1e-6, key=lambda mark: mark.since)
        return self._marks[max(0, after - 1)]
