"""The live screen: all figures are in it, it fits any terminal, and draws at any moment."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from trafficrl.cli import watch as watch_module
from trafficrl.cli.displays import Start
from trafficrl.cli.watch import Watch, bars, model_errors, over_steps
from trafficrl.config import load_scenario

from .told import LOSS, progress, validation


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    display = Watch()
    display._live.start = lambda refresh=False: None  # type: ignore[method-assign]
    display.started(Start(load_scenario("ring"), Path("runs/ring/dmpo-0-x"), resumed_at=0))
    return display


def text(display: Watch, width: int, height: int) -> list[str]:
    return [line.plain for line in display.lines(width, height)]


def test_the_frame_has_all_figures(watch: Watch) -> None:
    for steps, value in ((10_000, -100.0), (20_000, 50.0), (30_000, 2000.0)):
        watch.updated(
            progress(steps, validation(value), model_state_error_1=0.012, model_reward_error_1=0.5)
        )
    watch.phase("validate")
    lines = text(watch, 80, 24)
    assert len(lines) <= 24 and all(len(line) <= 80 for line in lines)
    whole = "\n".join(lines)
    for shown in (
        "ring  dmpo  seed 0",
        "validating, 0 s",
        "30,000 of 60,000 steps (50%)",
        "0:05:00 left",
        "100 steps/s",
        "at 30,000 steps",
        "model error         1 ahead: state 1.2%, reward 50.0%",
        "time                collect 25%   update 50%   validate, save 25%",
        "warnings of SUMO    12  Vehicle 'a' performs emergency braking",
        "return of validation: 2,000 now, -100 to 2,000",
    ):
        assert shown in whole
    figures = {line[:19].strip(): line[19:].split() for line in lines[6:12]}
    assert figures == {
        "return": ["-12.5", "2,000"],
        "mean speed, m/s": ["4.25", "4.80"],
        "speed spread, m/s": ["0.50", "0.01"],
        "collisions": ["2", "0"],
        "overridden by SUMO": ["25.0%", "50.0%"],
        "return a step": ["-0.125"],
    }


def test_a_lost_worker_is_in_the_live_screen_and_not_told_through_it(watch: Watch, capfd) -> None:
    for steps in (100, 200, 300):
        watch.updated(progress(steps, None, lost=steps < 300))
    assert f"lost workers        2  {LOSS}" in text(watch, 100, 24)
    assert capfd.readouterr().err == ""


def test_an_algorithm_without_a_model_has_no_model_error(watch: Watch) -> None:
    watch.updated(progress(100, None))
    assert not any("model" in line for line in text(watch, 80, 24))


@pytest.mark.parametrize("size", [(20, 3), (40, 10), (42, 15), (80, 18), (120, 40), (300, 90)])
def test_the_frame_fits_any_terminal(watch: Watch, size: tuple[int, int]) -> None:
    width, height = size
    for steps in (100, 30_000, 60_001):
        assert len(text(watch, width, height)) <= height
        watch.updated(progress(steps, validation(1.0 * steps)))
    watch.stopping()
    lines = text(watch, width, height)
    assert len(lines) <= height and lines[0].startswith("stopping after this update")


def test_a_resumed_run_shows_its_validations(watch: Watch, trained: Path) -> None:
    watch.started(Start(load_scenario(trained / "scenario.yaml"), trained, resumed_at=320))
    assert any("at 320 steps" in line for line in text(watch, 80, 24))


def test_an_update_may_come_at_any_line_of_drawing_and_the_other_way(watch: Watch) -> None:
    """rich draws in a thread of its own."""
    steps = itertools.count(100)

    def draw() -> None:
        watch.lines(80, 40)

    def update() -> None:
        number = next(steps)
        watch.updated(progress(number, validation(1.0), **{f"model_state_error_{number}": 0.5}))

    def at_every_line(act: Callable[[], None], meanwhile: Callable[[], None]) -> None:
        lines = set()

        def trace(frame: FrameType, event: str, _: object) -> Any:
            line = frame.f_lineno
            if frame.f_code.co_filename == watch_module.__file__ and line not in lines:
                lines.add(line)
                meanwhile()
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            act()
        finally:
            sys.settrace(before)

    at_every_line(update, draw)
    at_every_line(draw, update)
    assert next(steps) > 120, "nothing came while it drew"


def test_bars_are_eighths_of_lines() -> None:
    assert bars([0.0, 7.0, 15.0, None], 2) == ["  █ ", "▁██ "]
    assert bars([0.0, 15.0, 8.0], 2) == [" █▁", "▁██"]
    for steady in ([5.0, 5.0], [1000.0, 1000.1]):
        assert set(bars(steady, 1)[0]) <= set("▄▅"), "what hardly changes is half way up"
    assert bars([], 2) == ["", ""]


def test_a_curve_grows_with_the_steps() -> None:
    assert over_steps([25, 50], [1.0, 2.0], 100, 4) == [1.0, 2.0, None, None]
    assert over_steps([10, 90], [1.0, 2.0], 100, 4) == [1.0, 1.0, 1.0, 2.0]
    assert over_steps([30], [1.0], 100, 4) == [None, 1.0, None, None]
    assert over_steps([50, 101], [1.0, 2.0], 100, 4) == [None, 1.0, 1.0, 1.0]


def test_model_errors_are_those_of_the_nearest_and_the_farthest_prediction() -> None:
    errors = {
        f"model_{what}_error_{h}": h / 100 for h in (1, 5, 25) for what in ("state", "reward")
    }
    assert model_errors(errors) == "1 ahead: state 1.0%, reward 1.0%; 25 ahead: 25.0%, 25.0%"
    assert model_errors({"model_state_error_1": 0.5}) == "1 ahead: state 50.0%"
