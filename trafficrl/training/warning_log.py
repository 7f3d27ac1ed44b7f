"""SUMO's warnings in the run directory.

A line of ``sumo_warnings.jsonl`` is a warning (the first ``KEPT`` of each kind are
written), the note that the rest of a kind is only counted, or how many warnings
of each kind an update brought.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trafficrl.errors import CheckpointError
from trafficrl.simulation.sumo_warnings import KEPT, SumoWarning, Tally
from trafficrl.training.files import append, whole_lines

Row = dict[str, Any]


class WarningLog:
    """All warnings of a run, with those of the trainings that it goes on with."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.tally = Tally()

    def read(self) -> None:
        """Begin with what the file has."""
        self.tally = Tally()
        try:
            for line in whole_lines(self.file):
                self._read_row(json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise CheckpointError(
                f"{self.file}: a line of it is damaged (remove the file to go on)"
            ) from None

    def add(self, iteration: int, news: Tally) -> list[Row]:
        """Write down what an update brought; returns the rows but for the counts."""
        if not news.counts:
            return []
        before = dict(self.tally.counts)
        rows = [warning.row() for warning in self.tally.merge(news)]
        rows += [
            {
                "iteration": iteration,
                "kind": kind,
                "note": f"{KEPT} of this kind are written, the rest are only counted",
            }
            for kind, count in self.tally.counts.items()
            if before.get(kind, 0) <= KEPT < count
        ]
        written = [*rows, {"iteration": iteration, "counts": news.counts}]
        append(self.file, "".join(json.dumps(row) + "\n" for row in written))
        return rows

    def _read_row(self, row: Row) -> None:
        for kind, count in row.get("counts", {}).items():
            self.tally.counts[kind] = self.tally.counts.get(kind, 0) + int(count)
        if "text" in row:
            text, kind, time = row.pop("text"), row.pop("kind"), row.pop("time_s")
            self.tally.kept.append(SumoWarning(text, kind, time, row))
