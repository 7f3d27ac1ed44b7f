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
from typing import Any

import pytest

from trafficrl.cli.displays import DISPLAYS, Start
from trafficrl.cli.main import main
from trafficrl.config import load_scenario
from trafficrl.training.fleet import Fleet

from .told import LOSS, progress

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


def test_a_lost_worker_is_told_on_stderr_and_in_the_end(
    tmp_path: Path, small: list[str], capfd, monkeypatch
) -> None:
    """It is killed before the second rollout."""
    collect, rollouts = Fleet.collect, itertools.count()

    def kill_then_collect(fleet: Fleet, *arguments: Any, **named: Any) -> Any:
        if next(rollouts) == 1:
            (worker,) = multiprocessing.active_children()
            worker.kill()
        return collect(fleet, *arguments, **named)

    monkeypatch.setattr(Fleet, "collect", kill_then_collect)
    assert main([*train(tmp_path / "run", small), "--workers", "1"]) == 0
    captured = capfd.readouterr()
    assert captured.err == f"warning: {LOSS}\n"
    assert "1 lost worker was replaced" in captured.out


@pytest.mark.parametrize("name", ["--quiet", "--verbose"])
def test_other_displays_tell_a_lost_worker_on_stderr_too(capfd, name: str) -> None:
    DISPLAYS[name][0]().updated(progress(100, None, lost=True))
    captured = capfd.readouterr()
    assert captured.err == f"warning: {LOSS}\n" and LOSS not in captured.out


def test_the_replicas_of_all_simulations_are_told() -> None:
    config = load_scenario("ring", ["training.replicas=3", "training.simulations=2"])
    told, *_ = Start(config, Path("runs/x"), resumed_at=0).lines()
    assert told.endswith("60,000 simulation steps over 6 replicas")


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
