"""The command line, called in this process, on a ring of 6 vehicles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.small_ring import small_ring
from trafficrl.cli.main import main


@pytest.fixture(scope="session")
def small() -> list[str]:
    """Options that make any training on a ring take a moment."""
    return small_ring()


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
