"""What a run directory says of a training, for people."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from trafficrl.config import ScenarioConfig, dump_scenario
from trafficrl.errors import CheckpointError
from trafficrl.training.run_directory import RunDirectory


@dataclass(frozen=True)
class RunFacts:
    """One training: what, how long, with which versions and settings."""

    path: str
    algorithm: str
    seed: int
    steps: int
    total_steps: int
    seconds: float  # of training, validation included
    started: str
    command: str
    revision: str
    platform: str
    versions: str
    settings: str  # the scenario as it was resolved, YAML

    @property
    def duration(self) -> str:
        """As hours, minutes and seconds."""
        minutes, seconds = divmod(round(self.seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"


def facts_of(run: RunDirectory) -> RunFacts:
    """Raises ``CheckpointError`` for a run that has not logged an update."""
    config: ScenarioConfig = run.scenario()
    info = run.info()
    timings = [json.loads(line) for line in _lines(run)]
    if not timings:
        raise CheckpointError(f"{run.timing_file}: the run has not come to its first update")
    versions = info.get("versions", {})
    return RunFacts(
        path=str(run.path),
        algorithm=config.training.algorithm,
        seed=config.training.seed,
        steps=int(timings[-1]["sim_steps"]),
        total_steps=config.training.total_steps,
        seconds=sum(_seconds(timing) for timing in timings),
        started=str(info.get("started", "unknown")),
        command=" ".join(map(str, info.get("command", []))),
        revision=str(info.get("git_revision") or "outside a checkout"),
        platform=str(info.get("platform", "unknown")),
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
        settings=dump_scenario(config),
    )


def _lines(run: RunDirectory) -> list[str]:
    try:
        text = run.timing_file.read_text(encoding="utf-8")
    except OSError:
        return []
    # A line that is being written, or that a crash cut short, has no end.
    return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _seconds(timing: dict[str, Any]) -> float:
    return float(sum(value for key, value in timing.items() if key.endswith("_s")))
