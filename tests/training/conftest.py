"""Trainings that take a moment, in directories of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from .runs import Training


@pytest.fixture
def training(tmp_path: Path) -> Callable[..., Training]:
    """``training(name, task, *overrides)``: a run in the test's folder, not begun."""

    def make(name: str, task: str = "ring", *overrides: str) -> Training:
        return Training(tmp_path / name, task, *overrides)

    return make


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Training]:
    """The uninterrupted run of a task, made once."""
    done: dict[str, Training] = {}

    def get(task: str) -> Training:
        if task not in done:
            path = tmp_path_factory.mktemp(task) / "finished"
            done[task] = Training(path, task).run()
        return done[task]

    return get
