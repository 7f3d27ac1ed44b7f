"""The run directory: everything that a training leaves behind.

``scenario.yaml`` is the scenario as it was resolved, ``run.json`` says what
made the run, ``metrics.jsonl`` has a line an update, ``timing.jsonl`` the wall
times (apart, so that metrics repeat bit for bit), ``sumo_warnings.jsonl`` what SUMO
warned of, ``episodes.csv`` a line an episode, ``latest.pt`` and ``best.pt`` are checkpoints.
"""

from __future__ import annotations

import csv
import datetime
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from trafficrl.config import ScenarioConfig, dump_scenario, load_scenario
from trafficrl.errors import CheckpointError, TrafficRLError

PACKAGES = ("trafficrl", "torch", "numpy", "libsumo", "eclipse-sumo", "gymnasium", "pettingzoo")
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
        self.best = path / "best.pt"

    def create(self, config: ScenarioConfig, info: Mapping[str, Any]) -> RunDirectory:
        """Make a new run and return it; refuses a directory that already holds something."""
        path = self.path
        try:
            path.mkdir(parents=True, exist_ok=True)
            if any(path.iterdir()):
                raise TrafficRLError(
                    f"{path}: not empty (choose another --output, or go on with --resume {path})"
                )
            self.scenario_file.write_text(dump_scenario(config), encoding="utf-8")
            self.info_file.write_text(json.dumps({**info, **_versions()}, indent=2) + "\n")
        except OSError as error:
            raise TrafficRLError(
                f"{path}: cannot be written ({error.strerror}; choose another --output)"
            ) from None
        return self

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """An existing run, or the newest one in a folder of runs.

        Raises ``CheckpointError`` if there is none.
        """
        if not path.is_dir():
            raise CheckpointError(f"{path}: no such run directory")
        run = cls(path)
        runs = [file.parent for file in path.glob("*/run.json")]
        if runs and not run.scenario_file.exists():
            run = cls(max(runs, key=lambda one: (one / "run.json").stat().st_mtime))
        for needed in (run.scenario_file, run.info_file):
            if not needed.is_file():
                raise CheckpointError(f"{path}: not a run directory (it has no {needed.name})")
        return run

    def scenario(self) -> ScenarioConfig:
        """The scenario that the run was trained on."""
        return load_scenario(self.scenario_file)

    def info(self) -> dict[str, Any]:
        """What ``run.json`` says."""
        try:
            content = json.loads(self.info_file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self.info_file}: not readable ({error})") from None
        if not isinstance(content, dict):
            raise CheckpointError(f"{self.info_file}: not a mapping")
        return content

    def log_metrics(self, row: Row) -> None:
        """Append a line to ``metrics.jsonl``."""
        _append(self.metrics_file, row)

    def metrics(self) -> list[dict[str, float]]:
        """The lines of ``metrics.jsonl``, but for one that is still being written.

        Raises ``CheckpointError`` where there are none, or they are damaged.
        """
        try:
            with open(self.metrics_file, encoding="utf-8") as stream:
                rows = [json.loads(line) for line in stream if line.endswith("\n")]
        except FileNotFoundError:
            rows = []
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self.metrics_file}: not readable ({error})") from None
        if not all(isinstance(row, dict) and "sim_steps" in row for row in rows):
            raise CheckpointError(f"{self.metrics_file}: a line of it is damaged")
        if not rows:
            raise CheckpointError(f"{self.metrics_file}: nothing has been logged yet")
        return rows

    def log_timing(self, row: Row) -> None:
        """Append a line to ``timing.jsonl``."""
        _append(self.timing_file, row)

    def log_episodes(self, rows: list[Row]) -> None:
        """Append lines to ``episodes.csv``."""
        if not rows:
            return
        new = not self.episodes_file.exists() or self.episodes_file.stat().st_size == 0
        with open(self.episodes_file, "a", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            if new:
                writer.writeheader()
            writer.writerows(rows)

    def rewind(self, iteration: int) -> None:
        """Drop what was logged after ``iteration``, which a resumed run does again."""
        for file in (self.metrics_file, self.timing_file, self.warnings_file):
            _keep_lines(file, lambda line: json.loads(line)["iteration"] <= iteration)
        first = "iteration"  # of the header
        _keep_lines(
            self.episodes_file,
            lambda line: (number := line.partition(",")[0]) == first or int(number) <= iteration,
        )


def default_path(root: Path, config: ScenarioConfig) -> Path:
    """``<root>/<scenario>/<algorithm>-<seed>-<time>``."""
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    return root / config.name / f"{config.training.algorithm}-{config.training.seed}-{now}"


def _append(file: Path, row: Row) -> None:
    with open(file, "a", encoding="utf-8") as stream:
        stream.write(json.dumps(row) + "\n")


def _keep_lines(file: Path, keep: Callable[[str], bool]) -> None:
    if not file.exists():
        return
    with open(file, encoding="utf-8", newline="") as stream:
        lines = list(stream)
    # A line that a crash cut short is of the iteration that is done again.
    whole = [line for line in lines if line.endswith("\n")]
    try:
        kept = "".join(filter(keep, whole))
    except (ValueError, KeyError, TypeError):
        raise CheckpointError(
            f"{file}: a line of it is damaged (remove the file to go on)"
        ) from None
    temporary = file.with_name(f".{file.name}.partial")
    temporary.write_text(kept, encoding="utf-8", newline="")
    os.replace(temporary, file)


def _versions() -> dict[str, Any]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "unknown"
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "platform": platform.platform(),
        "git_revision": _git_revision(),
        "versions": versions,
    }


def _git_revision() -> str | None:
    """Revision of the source tree that runs, None outside a checkout."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None
