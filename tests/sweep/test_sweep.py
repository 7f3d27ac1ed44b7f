"""``trafficrl sweep`` with real trainings: to the end, interrupted, killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trafficrl.cli.main import main
from trafficrl.training.run_directory import RunDirectory

from .sweeps import LR, Scripted, plan_of, session, write_sweep

Start = Callable[..., subprocess.Popen[str]]

# Fifty updates of tens of milliseconds, a validation after every second one.
LONGER = {"training.total_steps": 4000}


def two(values: list[float], **sections: Any) -> dict[str, Any]:
    return {"search": {"kind": "grid", "values": {LR: values}}, "seeds": [0], **sections}


def wait_for(true: Callable[[], object], process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 200
    while not true():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


def trainings_of(folder: Path) -> list[int]:
    """The processes that train in there."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"train" in words and any(word.startswith(bytes(folder)) for word in words):
                found.append(int(entry.name))
    return found


def results(path: Path) -> dict[str, Any]:
    """What came of it, but for what was lost on the way."""
    content: dict[str, Any] = json.loads((path / "results.json").read_text())
    for trial in content["trials"]:
        trial.pop("lost")
    return content


def test_a_sweep_leaves_runs_and_a_table_and_the_same_command_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sweep = write_sweep(tmp_path / "sweep.yaml", **two([1e-3, 1e-2]))
    command = ["sweep", str(sweep), "--output", str(tmp_path / "s"), "--jobs", "2"]
    assert main([*command, "--dry-run"]) == 0
    assert not (tmp_path / "s").exists()
    out = capfd.readouterr().out
    assert "2 points x 1 seeds, 2 trainings left" in out and f"{LR}=0.001" in out
    assert main(command) == 0
    out, error = capfd.readouterr()
    assert error == "" and "\x1b" not in out
    assert out.startswith("ring: 2 points x 1 seed, 2 trainings, 2 at once\n")
    best = results(tmp_path / "s")["trials"][0]
    run = RunDirectory.open(tmp_path / "s" / best["trial"] / "seed-0")
    assert run.scenario().algorithms.dppo.policy_lr == best["values"][LR]
    assert run.metrics()[-1]["validation_return"] == best["score"] == best["scores"]["0"]
    assert f"trafficrl evaluate {run.path}" in out
    assert (tmp_path / "s" / "results.md").read_text().count("| trial-00") == 2
    before = {path: path.read_bytes() for path in run.path.iterdir()}
    assert main([*command, "--quiet"]) == 0
    assert capfd.readouterr().out == f"{tmp_path / 's'}\n"
    assert {path: path.read_bytes() for path in run.path.iterdir()} == before
    assert main(["evaluate", str(run.path), "--episodes", "1"]) == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_sweep_that_was_ended_goes_on_and_ends_as_a_whole_one(
    tmp_path: Path, start: Start, number: signal.Signals
) -> None:
    """Where it is killed its trainings die with it; else they save."""
    values = two([1e-3, 1e-2])
    values["set"] = {**json_of(write_sweep(tmp_path / "x.yaml", **values))["set"], **LONGER}
    sweep = write_sweep(tmp_path / "sweep.yaml", **values)
    assert main(["sweep", str(sweep), "--output", str(tmp_path / "whole"), "--quiet"]) == 0
    parts = tmp_path / "parts"
    process = start(sweep, "--output", parts, "--jobs", "2")
    logs = [parts / f"trial-00{place}" / "seed-0" / "metrics.jsonl" for place in range(2)]
    wait_for(lambda: all(log.exists() for log in logs), process)
    assert len(trainings_of(parts)) == 2
    process.send_signal(number)
    out, error = process.communicate(timeout=200)
    if number == signal.SIGKILL:
        time.sleep(0.5)
    else:
        assert process.returncode == 0 and f"trafficrl sweep --resume {parts}" in out
        assert error == "\nstopping the trainings (once more: at once)\n"
        assert all((log.parent / "latest.pt").exists() for log in logs)
    assert trainings_of(parts) == []
    steps = [json.loads(log.read_text().splitlines()[-1])["sim_steps"] for log in logs]
    assert min(steps) < 4000
    assert main(["sweep", "--resume", str(parts), "--quiet"]) == 0
    assert results(parts) == results(tmp_path / "whole")
    for log in logs:
        assert log.read_bytes() == (tmp_path / "whole" / log.relative_to(parts)).read_bytes()


def json_of(path: Path) -> dict[str, Any]:
    from trafficrl.config.yaml_source import parse_yaml

    content: dict[str, Any] = parse_yaml(path.read_text(), "x").plain()
    return content


@pytest.mark.slow
def test_a_training_that_is_killed_goes_on_and_one_that_fails_is_told(
    tmp_path: Path, start: Start
) -> None:
    sweep = write_sweep(tmp_path / "sweep.yaml", **two([1e-3, 1e9]))
    path = tmp_path / "s"
    process = start(sweep, "--output", path, "--jobs", "1", "--log-json")
    run = path / "trial-000" / "seed-0"
    wait_for((run / "metrics.jsonl").exists, process)
    for training in trainings_of(path):
        os.kill(training, signal.SIGKILL)
    out, error = process.communicate(timeout=200)
    assert process.returncode == 1
    assert error.startswith("error: 1 of 2 trainings failed: trial-001 seed 0 (why is in ")
    assert error.count("\n") == 1
    events = [json.loads(line) for line in out.splitlines()]
    assert [one["event"] for one in events] == ["started", "lost", "finished", "failed", "complete"]
    assert events[1]["reason"] == "ended by signal 9"
    assert "after update" in events[3]["reason"] and "\n" not in events[3]["reason"]
    assert events[4]["best"]["trial"] == "trial-000"
    assert "failed: " in (path / "results.md").read_text()


def test_failed_trainings_are_an_exit_code_and_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s"
    session(plan_of(tmp_path), path, Scripted(lambda point, seed: "nan" if seed else 1.0))
    assert main(["sweep", "--resume", str(path), "--quiet"]) == 1
    names = ", ".join(f"trial-00{number} seed 1" for number in range(4))
    assert capfd.readouterr() == (
        f"{path}\n",
        f"error: 4 of 8 trainings failed: {names} (why is in {path}/results.md)\n",
    )


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--cpus", "2"], "--cpus goes with --on"),
        (["--dry-run", "--quiet"], "--dry-run prints a list"),
        (["--dry-run", "--log-json"], "--dry-run prints a list"),
    ],
)
def test_options_that_would_do_nothing_are_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    sweep = write_sweep(tmp_path / "sweep.yaml")
    assert main(["sweep", str(sweep), *options]) == 2
    assert said in capfd.readouterr().err


def test_a_dry_run_refuses_what_a_start_would(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "s"
    session(plan_of(tmp_path), path, Scripted(lambda point, seed: 1.0, 2))
    command = ["sweep", str(tmp_path / "sweep.yaml"), "--output", str(path), "--dry-run"]
    assert main(command) == 0
    assert "7 trainings left" in capfd.readouterr().out
    write_sweep(tmp_path / "sweep.yaml", **two([1e-3]))
    assert main(command) == 1
    assert "another sweep is there" in capfd.readouterr().err
