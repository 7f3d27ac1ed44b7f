"""What a training shows, be it lines, nothing, JSON or a live screen; results do not care."""

from __future__ import annotations

import fcntl
import itertools
import json
import multiprocessing
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pytest

from trafficrl.cli import watch as watch_module
from trafficrl.cli.displays import DISPLAYS, Start
from trafficrl.cli.main import main
from trafficrl.cli.watch import Watch, bars, model_errors, over_steps
from trafficrl.config import load_scenario
from trafficrl.training.fleet import Fleet
from trafficrl.training.progress import Progress

ALTERNATE_ON, ALTERNATE_OFF = "\x1b[?1049h", "\x1b[?1049l"
CURSOR_OFF, CURSOR_ON = "\x1b[?25l", "\x1b[?25h"


class Terminal:
    """A command on a terminal of its own."""

    def __init__(
        self, arguments: Sequence[str], columns: int = 80, lines: int = 24, **variables: str
    ) -> None:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "trafficrl", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**os.environ, "TERM": "xterm-256color", **variables},
            start_new_session=True,
        )
        os.close(theirs)
        self._ours = ours
        self.shown = ""

    def until(self, text: str) -> None:
        while text not in self.shown and self._more():
            pass
        assert text in self.shown, self.shown

    def end(self) -> str:
        """All that it showed until it ended."""
        while self._more():
            pass
        os.close(self._ours)
        self.process.wait(timeout=60)
        return self.shown

    def _more(self) -> bool:
        try:
            read = os.read(self._ours, 65536)
        except OSError:  # all that held the other end have gone
            return False
        self.shown += read.decode(errors="replace")
        return bool(read)


def train(run: Path, small: list[str], *options: str) -> list[str]:
    return ["train", "ring", *small, "--total-steps", "320", "--output", str(run), *options]


@pytest.fixture
def out(capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must do well; what it wrote to stdout."""

    def run(arguments: Sequence[str]) -> str:
        capfd.readouterr()
        assert main(list(arguments)) == 0
        captured = capfd.readouterr()
        assert captured.err == ""
        return captured.out

    return run


def events(text: str) -> list[dict[str, Any]]:
    def no_constant(name: str) -> None:
        raise AssertionError(f"{name} is no JSON")

    return [json.loads(line, parse_constant=no_constant) for line in text.splitlines()]


def test_quiet_prints_the_run_directory(tmp_path: Path, small: list[str], out) -> None:
    assert out(train(tmp_path / "run", small, "--quiet")) == f"{tmp_path / 'run'}\n"


def test_verbose_prints_every_figure(tmp_path: Path, small: list[str], out) -> None:
    text = out(train(tmp_path / "run", small, "--verbose"))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    updates = [line for line in lines if "policy_loss" in line]
    assert len(re.findall(r"update \d+: collect_s \d", text)) == len(updates) == 4
    for row in updates:
        for key in row.keys() - {"iteration", "sim_steps"}:
            assert f"{key} {row[key]:.5g}" in text
    assert text.count("  episode ") == 4 and text.count("validation: return") == 2


def test_json_events_tell_the_run(tmp_path: Path, small: list[str], out) -> None:
    run = tmp_path / "run"
    told = events(out(train(run, small, "--log-json", "--seed", "3")))
    assert [one["event"] for one in told] == [
        "started",
        *["update", "update", "validation"] * 2,
        "finished",
    ]
    start, end = told[0], told[-1]
    assert (start["run"], start["algorithm"], start["seed"]) == (str(run), "dppo", 3)
    assert (end["run"], end["complete"], end["sim_steps"]) == (str(run), True, 320)
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").open()]
    updates = [one for one in told if one["event"] == "update"]
    assert [
        {"iteration": one["iteration"], "sim_steps": one["sim_steps"], **one["metrics"]}
        for one in updates
    ] == [line for line in metrics if "policy_loss" in line]


def test_warnings_of_sumo_are_events_and_are_summed_up(
    tmp_path: Path, small: list[str], out
) -> None:
    """Six vehicles with 3 m between them, who do whatever comes to their mind."""
    options = [
        *("--set", "simulation.speed_mode=0", "--set", "network.length_m=48.0"),
        *("--set", "algorithms.dppo.initial_action_std=1.0", "--seed", "1"),
    ]
    told = events(out([*train(tmp_path / "a", small, "--log-json"), *options]))
    warned = [one for one in told if one["event"] == "warning"]
    assert warned and all(one["text"] and one["time_s"] > 0 for one in warned)
    assert told[-1]["sumo_warnings"]["count"] == len(warned)
    text = out([*train(tmp_path / "b", small, "--verbose"), *options])
    assert text.count("\nwarning of SUMO (iteration ") == len(warned)
    assert f"; all in {tmp_path / 'b' / 'sumo_warnings.jsonl'}\n" in text
    assert f"{len(warned)} warnings of SUMO, the first (iteration " in text


def test_an_error_is_an_event_too(tmp_path: Path, small: list[str], capfd) -> None:
    (tmp_path / "file").write_text("")
    assert main(train(tmp_path / "file", small, "--log-json")) == 1
    captured = capfd.readouterr()
    (event,) = events(captured.out)
    assert event["event"] == "error" and captured.err == f"error: {event['message']}\n"


@pytest.mark.parametrize("names", [("--quiet", "--verbose"), ("--watch", "--log-json", "--quiet")])
def test_displays_exclude_one_another(refused, names: tuple[str, ...]) -> None:
    message = refused("train", "ring", *names, code=2)
    assert "exclude one another" in message and all(name in message for name in names)


def test_watching_needs_a_terminal(refused, tmp_path: Path) -> None:
    message = refused("train", "ring", "--watch", "--output", tmp_path / "run", code=2)
    assert message.startswith("--watch: needs a terminal") and not (tmp_path / "run").exists()


def test_a_pipe_gets_no_control_characters(tmp_path: Path, small: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "trafficrl", *train(tmp_path / "run", small)],
        capture_output=True,
        text=True,
        env={**os.environ, "FORCE_COLOR": "1", "TTY_COMPATIBLE": "1"},
        timeout=120,
    )
    assert done.returncode == 0 and "validation: return" in done.stdout
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", done.stdout + done.stderr)


def test_a_live_screen_leaves_the_results_and_the_terminal_as_they_were(
    tmp_path: Path, small: list[str]
) -> None:
    others = {name: tmp_path / f"run{name}" for name in DISPLAYS if name != "--watch"}
    for name, run in others.items():
        assert main(train(run, small, name)) == 0
    run = tmp_path / "run"
    assert main(train(run, small)) == 0
    watched = tmp_path / "watched"
    terminal = Terminal(train(watched, small, "--watch"))
    text = terminal.end()
    assert terminal.process.returncode == 0, text
    for name in ("metrics.jsonl", "episodes.csv", "latest.pt", "best.pt"):
        for other in (watched, *others.values()):
            assert (other / name).read_bytes() == (run / name).read_bytes(), (other, name)

    live, after = text.split(ALTERNATE_OFF)
    assert ALTERNATE_ON in live and "320 steps" in live and ALTERNATE_ON not in after
    assert text.rindex(CURSOR_ON) > text.rindex(CURSOR_OFF)
    assert f"trafficrl evaluate {watched}" in after.replace("\r\n", "")


def test_a_terminal_that_knows_ascii_alone_is_enough(tmp_path: Path, small: list[str]) -> None:
    options = train(tmp_path / "run", small, "--watch")
    terminal = Terminal(options, 50, 20, PYTHONIOENCODING="ascii")
    text = terminal.end()
    assert terminal.process.returncode == 0 and "####" in text and text.isascii()


@pytest.mark.parametrize("presses", [1, 2])
def test_an_interrupt_ends_the_live_screen(tmp_path: Path, small: list[str], presses: int) -> None:
    run = tmp_path / "run"
    options = [*train(run, small, "--watch"), "--total-steps", "400000"]
    terminal = Terminal(options, 100)
    terminal.until("steps/s")  # after the first update
    for _ in range(presses):
        terminal.process.send_signal(signal.SIGINT)
        time.sleep(0.002)
    text = terminal.end()
    _, after = text.split(ALTERNATE_OFF)
    assert text.rindex(CURSOR_ON) > text.rindex(CURSOR_OFF) and "Traceback" not in text
    if presses == 1 or terminal.process.returncode == 0:  # the first was enough
        assert terminal.process.returncode == 0 and "--resume" in after
    else:
        assert terminal.process.returncode == 130 and after.strip().endswith("interrupted")
    assert (run / "latest.pt").exists()


# The frame ------------------------------------------------------------------------


LOSS = "the worker of simulation 0 ended by signal 9 and was replaced"


def progress(
    steps: int, validation: dict[str, float] | None, *, lost: bool = False, **metrics: float
) -> Progress:
    episode = SimpleNamespace(
        row=lambda: {
            "return": -12.5,
            "mean_speed_mps": 4.25,
            "speed_std_mps": 0.5,
            "collisions": 2,
            "override_fraction": 0.25,
        }
    )
    return Progress(
        iteration=1,
        sim_steps=steps,
        total_steps=60_000,
        steps_per_second=100.0,
        seconds={"collect_s": 1.0, "update_s": 2.0, "validate_and_save_s": 1.0},
        metrics={"mean_speed_mps": 4.0, "return_per_step": -0.125, **metrics},
        episodes=[episode],  # type: ignore[list-item]
        validation=validation,
        warnings=[{"kind": "k", "text": "Vehicle 'a' performs emergency braking", "time_s": 1.0}],
        n_warnings=12,
        workers_lost=[LOSS] if lost else [],
    )


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


def validation(value: float) -> dict[str, float]:
    return {
        "return": value,
        "mean_speed_mps": 4.8,
        "speed_std_mps": 0.01,
        "collisions": 0.0,
        "override_fraction": 0.5,
    }


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


@pytest.mark.parametrize("options", [[], ["--quiet"], ["--verbose"]])
def test_a_lost_worker_is_told_on_stderr(
    tmp_path: Path, small: list[str], capfd, monkeypatch, options: list[str]
) -> None:
    """It is killed before the second rollout."""
    collect, rollouts = Fleet.collect, itertools.count()

    def kill_then_collect(fleet: Fleet, *arguments: Any, **named: Any) -> Any:
        if next(rollouts) == 1:
            (worker,) = multiprocessing.active_children()
            worker.kill()
        return collect(fleet, *arguments, **named)

    monkeypatch.setattr(Fleet, "collect", kill_then_collect)
    assert main([*train(tmp_path / "run", small), "--workers", "1", *options]) == 0
    captured = capfd.readouterr()
    assert captured.err == f"warning: {LOSS}\n"
    assert ("1 lost worker was replaced" in captured.out) is ("--quiet" not in options)


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


def test_the_replicas_of_all_simulations_are_told() -> None:
    config = load_scenario("ring", ["training.replicas=3", "training.simulations=2"])
    told, *_ = Start(config, Path("runs/x"), resumed_at=0).lines()
    assert told.endswith("60,000 simulation steps over 6 replicas")


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


# Evaluations ----------------------------------------------------------------------

CROSSING = ["constant:3", "--scenario", "figure_eight_free", "--episodes", "2"]


def test_an_evaluation_counts_warnings(tmp_path: Path, out) -> None:
    file = tmp_path / "x.json"
    text = out(["evaluate", *CROSSING, "--json", str(file)])
    found = json.loads(file.read_text())["sumo_warnings"]
    assert found["count"] == sum(found["by_kind"].values()) == 2
    assert [row["episode"] for row in found["first_of_each_kind"]] == [0, 1]
    first = found["first_of_each_kind"][0]
    assert "2 warnings of SUMO, the first (episode 0, at " in text and first["text"][:-1] in text
    assert f"at {first['time_s']:g} s" in text


def test_a_comparison_counts_warnings(tmp_path: Path, out) -> None:
    text = out(["compare", *CROSSING, "--output", str(tmp_path / "x.json")])
    assert "constant:3: 2 warnings of SUMO, the first (episode 0" in text
    (row,) = json.loads((tmp_path / "x.json").read_text())["scenarios"][0]["rows"]
    assert row["sumo_warnings"]["count"] == 2


@pytest.mark.parametrize(
    ("command", "quiet"), [("evaluate", False), ("compare", False), ("compare", True)]
)
def test_evaluations_show_how_far_they_are(command: str, quiet: bool) -> None:
    options = ["--set", "episode.steps=20", *(["--quiet"] if quiet else [])]
    text = re.sub(r"\x1b\[[?\d;]*[A-Za-z]", "", Terminal([command, *CROSSING, *options]).end())
    assert ("2/2 episodes" in text) is not quiet
