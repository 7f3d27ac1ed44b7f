"""A screen where there is none, and the environment as it was afterwards."""

from __future__ import annotations

import os

import pytest

from trafficrl.errors import SimulationError
from trafficrl.rendering import display

from .conftest import needs_screen


@needs_screen
def test_a_display_is_there_for_as_long_as_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", "before")
    with display((320, 240)):
        number = os.environ["DISPLAY"].removeprefix(":")
        assert os.path.exists(f"/tmp/.X11-unix/X{number}")
    assert os.environ["DISPLAY"] == "before"
    assert not os.path.exists(f"/tmp/.X11-unix/X{number}")


def test_without_xvfb_the_present_display_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("DISPLAY", ":5")
    with display((320, 240)):
        assert os.environ["DISPLAY"] == ":5"


def test_without_any_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(SimulationError, match=r"apt-get install .* xvfb"), display((320, 240)):
        pass
