"""Runs of one algorithm and scenario that differ in their training seed alone, as one."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from trafficrl.config import ScenarioConfig, dump_scenario, load_scenario
from trafficrl.errors import TrafficRLError
from trafficrl.training.run_directory import RunDirectory


@dataclass(frozen=True)
class RunGroup:
    """One run for each training seed, in the order of seeds."""

    name: str
    seeds: list[int]
    runs: list[RunDirectory]
    trained_on: ScenarioConfig  # but for the seed


def expand(text: str) -> list[str]:
    """The paths that a pattern such as ``runs/ring/*`` stands for, or the text itself."""
    if not glob.has_magic(text) or Path(text).exists():
        return [text]
    found = sorted(glob.glob(text))
    if not found:
        raise TrafficRLError(f"{text}: nothing there matches")
    return found


def find_runs(texts: Sequence[str]) -> list[RunDirectory]:
    """The run directories that paths and patterns name, each at most once."""
    runs: dict[Path, RunDirectory] = {}
    for text in (one for pattern in texts for one in expand(pattern)):
        run = RunDirectory.open(Path(text))
        if run.path.resolve() in runs:
            raise TrafficRLError(f"{text}: is given twice")
        runs[run.path.resolve()] = run
    return list(runs.values())


def group_runs(runs: Sequence[RunDirectory]) -> tuple[list[RunGroup], list[str]]:
    """Groups in the order of their first runs, and notes on what was left out."""
    alike: dict[str, list[RunDirectory]] = {}
    for run in runs:
        alike.setdefault(kind(run.scenario()), []).append(run)
    notes: list[str] = []
    return [make_group(members, notes) for members in alike.values()], notes


def kind(trained_on: ScenarioConfig) -> str:
    """What the runs of a group have in common: all that matters but the seed."""
    alike = ["training.seed=0", "training.worker_timeout_s=600"]
    return dump_scenario(load_scenario(trained_on, alike))


def make_group(runs: Sequence[RunDirectory], notes: list[str]) -> RunGroup:
    """One group of runs of one kind; of two with the same seed the older one is left out."""
    newest: dict[int, tuple[RunDirectory, ScenarioConfig]] = {}
    for run in sorted(runs, key=lambda one: one.made_at):
        trained_on = run.scenario()
        seed = trained_on.training.seed
        if seed in newest:
            left = newest[seed][0].path
            notes.append(
                f"{left} is left out: {run.path} is of the same scenario and training seed"
            )
        newest[seed] = run, trained_on
    seeds = sorted(newest)
    kept = [newest[seed][0] for seed in seeds]
    paths = [str(run.path) for run in kept]
    name = paths[0] if len(paths) == 1 else _pattern(paths)
    return RunGroup(name, seeds, kept, newest[seeds[0]][1])


def _pattern(paths: Sequence[str]) -> str:
    """The characters that all paths begin with, and a star: ``runs/ring/dmpo-*``."""
    alike = (len(set(characters)) == 1 for characters in zip(*paths, strict=False))
    return f"{paths[0][: len(list(takewhile(bool, alike)))]}*"
