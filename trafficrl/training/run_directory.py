"""The run directory: everything that a training leaves behind.

``scenario.yaml`` is the scenario as it was resolved, ``run.json`` says what
made the run, ``metrics.jsonl`` has a line an update, ``timing.jsonl`` the wall
times (apart, so that metrics repeat bit for bit), ``sumo_warnings.jsonl`` what SUMO
warned of, ``episodes.csv`` a line an episode, ``latest.pt`` and ``best.pt`` are
checkpoints, ``previous.pt`` is the one before ``latest.pt``. Whoever trains holds ``.lock``.

A process may be killed at any moment. ``scenario.yaml`` comes last of what
``create`` writes: with it there is a run, without it there is none yet. What an
update logs is on the disk before the checkpoint that follows it, so that a
checkpoint never knows more than the logs, and what they know more is cut off. Its
times alone come after, as they include the saving: a kill between can lose that line.
"""

from __future__ import annotations

import csv
import datetime
import io
import itertools
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trafficrl.config import ScenarioConfig, dump_scenario, load_scenario
from trafficrl.errors import CheckpointError, TrafficRLError
from trafficrl.training.files import (
    append,
    is_partial,
    keep_lines,
    remove_partial_files,
    replace_file,
    sync,
    whole_lines,
)
from trafficrl.training.lock import DirectoryLock
from trafficrl.training.provenance import changes, provenance

Row = Mapping[str, float | int]


class RunDirectory:
    """Paths and logs of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.scenario_file = path / "scenario.yaml"
        self.info_file = path / "run.json"
        self.metrics_file = path / "metrics.jsonl"
        self.timing_file = path / "timing.jsonl"
        self.warnings_file = path / "sumo_warnings.jsonl"
        self.episodes_file = path / "episodes.csv"
        self.latest = path / "latest.pt"
        self.previous = path / "previous.pt"
        self.best = path / "best.pt"
        self.lock = DirectoryLock(path)

    def create(self, config: ScenarioConfig, info: Mapping[str, Any]) -> RunDirectory:
        """Make a new run, locked, and return it.

        Refuses a directory that already holds something, but for what a process
        has left that was killed in here.
        """
        path = self.path
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._refuse_another()
        except OSError as error:
            raise TrafficRLError(
                f"{path}: cannot be written ({error.strerror}; choose another --output)"
            ) from None
        self.lock.acquire()
        self._refuse_another()  # one that was quicker
        remove_partial_files(path)
        self._write_info({**info, **provenance()})
        text = dump_scenario(config).encode()
        replace_file(self.scenario_file, lambda file: file.write(text))
        return self

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """An existing run, or the newest one in a folder of runs.

        Raises ``CheckpointError`` if there is none.
        """
        if not path.is_dir():
            what = " (it is a file)" if path.is_file() else ""
            raise CheckpointError(f"{path}: no such run directory{what}")
        run = cls(path)
        found = [cls(file.parent) for file in path.glob("*/scenario.yaml")]
        runs = [one for one in found if one.info_file.exists()]
        if runs and not run.scenario_file.exists():
            run = max(runs, key=lambda one: one.made_at)
        needed = [file.is_file() for file in (run.scenario_file, run.info_file)]
        if needed == [False, True]:
            raise CheckpointError(
                f"{path}: the training there was killed before its run directory was complete "
                f"(train again with --output {path})"
            )
        if not all(needed):
            missing = run.info_file if needed[0] else run.scenario_file
            raise CheckpointError(f"{path}: not a run directory (it has no {missing.name})")
        return run

    @property
    def made_at(self) -> float:
        """When the run was made, s since the epoch; ``run.json`` changes when it is resumed."""
        return self.scenario_file.stat().st_mtime

    def scenario(self) -> ScenarioConfig:
        """The scenario that the run was trained on."""
        return load_scenario(self.scenario_file)

    def info(self) -> dict[str, Any]:
        """What ``run.json`` says."""
        try:
            content = json.loads(self.info_file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointError(f"{self.info_file}: not readable ({error})") from None
        if not isinstance(content, dict):
            raise CheckpointError(f"{self.info_file}: not a mapping")
        return content

    def resumed(self) -> list[dict[str, Any]]:
        """What ``run.json`` says of the sessions after the first."""
        found = self.info().get("resumed", [])
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise CheckpointError(f"{self.info_file}: resumed should be a list of mappings")
        return found

    def log_session(self, sim_steps: int) -> str | None:
        """Add to ``run.json`` what goes on with the run from here.

        Returns, on one line, in what it differs from what began the run, if bits may depend on it.
        """
        info, now = self.info(), provenance()
        resumed = [*self.resumed(), {"at_sim_steps": sim_steps, **now}]
        self._write_info({**info, "resumed": resumed})
        different = ", ".join(changes(info, now))
        if not different:
            return None
        return f"{self.path}: other bits may come out than on what began it: {different}"

    def log_metrics(self, row: Row) -> None:
        """Append a line to ``metrics.jsonl``."""
        append(self.metrics_file, json.dumps(row) + "\n")

    def metrics(self) -> list[dict[str, float]]:
        """The lines of ``metrics.jsonl``, but for one that is still being written.

        Raises ``CheckpointError`` where there are none, or they are damaged.
        """
        return _rows(self.metrics_file)

    def log_timing(self, row: Row) -> None:
        """Append a line to ``timing.jsonl``."""
        append(self.timing_file, json.dumps(row) + "\n")

    def timings(self) -> list[dict[str, float]]:
        """The lines of ``timing.jsonl``, as ``metrics`` gives those of its file."""
        return _rows(self.timing_file)

    def log_episodes(self, rows: list[Row]) -> None:
        """Append lines to ``episodes.csv``."""
        if not rows:
            return
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, fieldnames=list(rows[0]))
        if not self.episodes_file.exists() or self.episodes_file.stat().st_size == 0:
            writer.writeheader()
        writer.writerows(rows)
        append(self.episodes_file, text.getvalue())

    def sync_logs(self) -> None:
        """Put on the disk what has been logged."""
        for file in (
            self.metrics_file,
            self.timing_file,
            self.warnings_file,
            self.episodes_file,
        ):
            if file.exists():
                sync(file)

    def rewind(self, iteration: int) -> None:
        """Drop what was logged after ``iteration``, which a resumed run does again."""
        remove_partial_files(self.path)
        for file in (self.metrics_file, self.timing_file, self.warnings_file):
            _keep(file, lambda line: json.loads(line)["iteration"] <= iteration)
        first = "iteration"  # of the header
        _keep(
            self.episodes_file,
            lambda line: (number := line.partition(",")[0]) == first or int(number) <= iteration,
        )

    def logged_past_first_update(self) -> bool:
        """Whether there was a first checkpoint once."""
        return any(
            not line.startswith('{"iteration": 1,') for line in whole_lines(self.metrics_file)
        )

    def _refuse_another(self) -> None:
        ours = (self.lock.path, self.info_file)
        if any(file not in ours and not is_partial(file) for file in self.path.iterdir()):
            raise TrafficRLError(
                f"{self.path}: not empty "
                f"(choose another --output, or go on with --resume {self.path})"
            )

    def _write_info(self, info: Mapping[str, Any]) -> None:
        text = (json.dumps(info, indent=2) + "\n").encode()
        replace_file(self.info_file, lambda file: file.write(text))


def default_path(root: Path, config: ScenarioConfig) -> Path:
    """``<root>/<scenario>/<algorithm>-<seed>-<time>``; the second of a second ends with -2."""
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    path = root / config.name / f"{config.training.algorithm}-{config.training.seed}-{now}"
    others = (path.with_name(f"{path.name}-{number}") for number in itertools.count(2))
    return next(one for one in itertools.chain([path], others) if not one.exists())


def _rows(file: Path) -> list[dict[str, float]]:
    try:
        rows = [json.loads(line) for line in whole_lines(file)]
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{file}: not readable ({error})") from None
    if not all(isinstance(row, dict) and "sim_steps" in row and _numbers(row) for row in rows):
        raise CheckpointError(f"{file}: a line of it is damaged")
    if not rows:
        raise CheckpointError(f"{file}: nothing has been logged yet")
    return rows


def _numbers(row: dict[str, Any]) -> bool:
    return all(isinstance(value, int | float) for value in row.values())


def _keep(file: Path, keep: Callable[[str], bool]) -> None:
    try:
        keep_lines(file, keep)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CheckpointError(
            f"{file}: a line of it is damaged (remove the file to go on)"
        ) from None
