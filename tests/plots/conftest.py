"""Short driven episodes, and run directories with made-up logs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from trafficrl import load_scenario
from trafficrl.evaluation.drivers import make_driver
from trafficrl.evaluation.evaluate import run_episodes
from trafficrl.evaluation.trajectory import Trajectory
from trafficrl.training.run_directory import RunDirectory

pytest.importorskip("matplotlib")

Drive = Callable[..., Trajectory]
MakeRun = Callable[..., RunDirectory]


def _drive(scenario: str, *overrides: str, name: str = "idm", steps: int = 100) -> Trajectory:
    config = load_scenario(scenario, [f"episode.steps={steps}", *overrides])
    found: list[Trajectory] = []
    run_episodes(make_driver(name)[0], config, episodes=1, places=True, on_episode=found.append)
    return found[0]


@pytest.fixture(scope="session")
def drive() -> Drive:
    """``drive(scenario, *overrides, name="idm", steps=100)``: an episode with places."""
    return _drive


@pytest.fixture(scope="session")
def laps() -> Trajectory:
    """Six vehicles on a ring of 120 m, which they go round several times."""
    small = ["vehicles.0.count=6", "network.length_m=120.0"]
    return _drive("ring", *small, name="idm:noise=0.2", steps=900)


@pytest.fixture(scope="session")
def grid() -> Trajectory:
    """Vehicles that circulate on a grid."""
    return _drive("transfer/grid", steps=600)


@pytest.fixture(scope="session")
def merge() -> Trajectory:
    """Vehicles that come and go."""
    return _drive("transfer/merge", steps=600)


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """``make_run(rows, name, *overrides, scenario="ring")``: a run that has logged ``rows``."""

    def make(
        rows: Sequence[dict[str, Any]], name: str, *overrides: str, scenario: str = "ring"
    ) -> RunDirectory:
        run = RunDirectory(tmp_path / name).create(load_scenario(scenario, overrides), {})
        for row in rows:
            run.log_metrics(row)
        return run

    return make
