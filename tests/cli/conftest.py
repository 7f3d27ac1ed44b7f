"""The command line, called in this process or in one of its own, on a ring of 6 vehicles."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from trafficrl.cli.main import main

SMALL = {
    "vehicles.0.count": "6",
    "network.length_m": "120.0",
    "episode.steps": "60",
    "episode.control_interval_s": "0.5",
    "training.algorithm": "dppo",  # the quickest
    "training.replicas": "2",
    "training.validate_every_steps": "160",
    "training.validate_episodes": "2",
    "algorithms.dppo.rollout_steps": "40",
    "algorithms.dppo.policy_hidden": "[8]",
    "algorithms.dppo.value_hidden": "[8]",
    "algorithms.dppo.epochs": "2",
    "algorithms.dppo.minibatches": "2",
}


@pytest.fixture(scope="session")
def small() -> list[str]:
    """Options that make any training on a ring take a moment."""
    return [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]


@pytest.fixture(scope="session")
def process() -> Callable[[Sequence[str]], subprocess.CompletedProcess[str]]:
    """Runs the command line as a process of its own."""

    def run(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "trafficrl", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


@pytest.fixture
def refused(capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """``refused(*arguments, code=1)``: the message of a command that must fail, on one line."""

    def run(*arguments: str | Path, code: int = 1, lines: int = 1) -> str:
        capfd.readouterr()
        assert main([str(word) for word in arguments]) == code
        captured = capfd.readouterr()  # of the whole process, SUMO's own messages too
        assert "Traceback" not in captured.out + captured.err
        assert captured.err.startswith("error: ") and captured.err.count("\n") == lines
        assert "TRAFFICRL_DEBUG" not in captured.err, "a defect, not an answer"
        return captured.err.removeprefix("error: ")

    return run


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, small: list[str]) -> Path:
    """The run directory of a finished training."""
    path = tmp_path_factory.mktemp("trained") / "run"
    options = ["--total-steps", "320", "--seed", "3", "--output", str(path)]
    assert main(["train", "ring", *small, *options]) == 0
    return path
