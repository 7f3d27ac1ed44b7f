"""What a run directory says of a training, for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from trafficrl.config import ScenarioConfig, dump_scenario
from trafficrl.training.provenance import changes
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
    revision: str  # with how many files differed from it
    short_revision: str
    resumed: list[str]  # sessions with other versions, revisions or machines
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
    """Raises ``CheckpointError`` for a run that has not logged an update, or is damaged."""
    config: ScenarioConfig = run.scenario()
    info = run.info()
    timings = run.timings()
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
        revision=_revision(info),
        short_revision=_revision(info, 12),
        resumed=[text for one in run.resumed() if (text := _resumed(info, one))],
        platform=str(info.get("platform", "unknown")),
        versions=", ".join(f"{name} {version}" for name, version in versions.items()),
        settings=dump_scenario(config),
    )


def _revision(info: Mapping[str, Any], digits: int | None = None) -> str:
    revision, changed = info.get("git_revision"), info.get("git_changed_files")
    if not revision:
        return "outside a checkout"
    return str(revision)[:digits] + (f", {changed} files changed" if changed else "")


def _resumed(began: Mapping[str, Any], session: Mapping[str, Any]) -> str | None:
    """A session that went on with what the run did not begin with."""
    different = changes(began, session)
    changed = session.get("git_changed_files")
    if changed is not None and changed != began.get("git_changed_files"):
        different.append(f"{changed} files changed")
    if not different:
        return None
    return f"from step {session.get('at_sim_steps')} with {', '.join(different)}"


def _seconds(timing: dict[str, Any]) -> float:
    return float(sum(value for key, value in timing.items() if key.endswith("_s")))
