"""Options for the files of an evaluation."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from trafficrl.evaluation.files import Write
    from trafficrl.evaluation.trajectory import Trajectory

_FILE = click.Path(dir_okay=False, path_type=Path)
_OPTIONS = (
    click.option(
        "--json", "json_file", type=_FILE, metavar="FILE", help="Also write all figures as JSON"
    ),
    click.option(
        "--per-vehicle",
        type=_FILE,
        metavar="FILE",
        help="Also write a row for each episode and vehicle as CSV",
    ),
    click.option(
        "--trajectories",
        type=_FILE,
        metavar="FILE",
        help="Also write every simulation step: .csv, .parquet, or .xml (SUMO's FCD, one episode)",
    ),
)


@dataclass(frozen=True)
class OpenFiles:
    """The files that are written to."""

    json: IO[str] | None
    writers: list[Write]

    def add(self, trajectory: Trajectory) -> None:
        """Write an episode."""
        for write in self.writers:
            write(trajectory)

    def end(self, figures: dict[str, Any]) -> None:
        """Write all figures."""
        if self.json is not None:
            json.dump(figures, self.json, indent=2)
            self.json.write("\n")


@dataclass(frozen=True)
class OutputChoice:
    """The files that the options name."""

    json_file: Path | None
    per_vehicle: Path | None
    trajectories: Path | None

    @contextmanager
    def open(self, episodes: int) -> Iterator[OpenFiles]:
        """Opens all, before minutes of simulation; each appears when all went well."""
        from trafficrl.evaluation.files import output_file, trajectory_file, vehicle_file

        with ExitStack() as stack:
            stream = None
            if self.json_file is not None:
                stream = stack.enter_context(output_file(self.json_file))
            writers = []
            if self.per_vehicle is not None:
                writers.append(stack.enter_context(vehicle_file(self.per_vehicle)))
            if self.trajectories is not None:
                writers.append(stack.enter_context(trajectory_file(self.trajectories, episodes)))
            yield OpenFiles(stream, writers)


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options; the command gets them as ``output``."""

    @functools.wraps(command)
    def wrapped(
        json_file: Path | None, per_vehicle: Path | None, trajectories: Path | None, **others: Any
    ) -> Any:
        named = (json_file, per_vehicle, trajectories)
        files = [os.path.realpath(file) for file in named if file is not None]
        if len(set(files)) < len(files):
            raise click.UsageError("--json, --per-vehicle and --trajectories need a file each")
        return command(output=OutputChoice(*named), **others)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped
