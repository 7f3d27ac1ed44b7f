"""A trained run to break."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.service import Service
from tests.small_ring import small_ring


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, service: Service) -> Path:
    """The run directory of a finished training."""
    folder = tmp_path_factory.mktemp("trained")
    options = [*small_ring(), "--total-steps", "320"]
    answer = service.call(["train", "ring", *options, "--output", "run"], folder)
    assert answer.code == 0, answer
    return folder / "run"
