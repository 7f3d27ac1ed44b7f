"""``trafficrl train``: a training, an interrupt, and going on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.service import Service
from trafficrl.cli.main import main
from trafficrl.config import load_scenario


def test_a_training_ends_with_the_command_that_evaluates_it(
    tmp_path: Path, small: list[str], service: Service
) -> None:
    run = tmp_path / "run"
    options = [*small, "--total-steps", "320", "--seed", "3", "--output", str(run)]
    done = service.call(["train", "ring", *options], tmp_path)
    assert (done.code, done.err) == (0, "")
    first, *_, last = done.out.splitlines()
    assert first.startswith("ring: 6 learning vehicles, dppo, seed 3, 320 simulation steps")
    assert last.strip() == f"trafficrl evaluate {run}"
    assert done.out.count("validation: return") == 2
    assert {"scenario.yaml", "run.json", "metrics.jsonl", "best.pt", "latest.pt"} <= {
        path.name for path in run.iterdir()
    }
    evaluated = service.call([*last.split()[1:], "--episodes", "1"], tmp_path)
    assert (evaluated.code, evaluated.err) == (0, "")
    assert "mean_speed_mps" in evaluated.out


def test_options_are_what_the_run_is_made_with(trained: Path) -> None:
    config = load_scenario(trained / "scenario.yaml")
    assert (config.training.seed, config.training.total_steps) == (3, 320)
    assert config.vehicles[0].count == 6
    info = json.loads((trained / "run.json").read_text())
    assert (info["algorithm"], info["device"]) == ("dppo", "cpu")


def test_a_run_has_a_directory_of_its_own_by_default(
    tmp_path: Path, small: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", "ring", *small, "--total-steps", "80", "--seed", "5"]) == 0
    (run,) = (tmp_path / "runs" / "ring").iterdir()
    assert run.name.startswith("dppo-5-")


def interrupt(run: Path, options: list[str], number: signal.Signals) -> tuple[int, str, str]:
    """Starts a training and sends it a signal after its first update."""
    command = [sys.executable, "-m", "trafficrl", "train", "ring", *options, "--output", str(run)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 100
        while not (run / "metrics.jsonl").exists() and time.monotonic() < deadline:
            assert process.poll() is None, process.communicate()
            time.sleep(0.01)
        process.send_signal(number)
        out, error = process.communicate(timeout=100)
    finally:
        process.kill()
    return process.returncode, out, error


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_is_saved_and_goes_on(
    tmp_path: Path, small: list[str], number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    options = [*small, "--total-steps", "4000", "--set", "training.validate_every_steps=2000"]
    code, out, error = interrupt(run, options, number)
    assert code == 0 and "Traceback" not in error
    assert "stopping after this update" in error
    steps = [json.loads(line)["sim_steps"] for line in (run / "metrics.jsonl").open()]
    assert 0 < steps[-1] < 4000
    assert f"trafficrl train --resume {run}" in out
    assert (run / "latest.pt").exists()

    assert main(["train", "--resume", str(run)]) == 0
    out = capfd.readouterr().out
    assert f"resumed at {steps[-1]:,} steps" in out
    assert f"trafficrl evaluate {run}" in out
    lines = [json.loads(line) for line in (run / "metrics.jsonl").open()]
    counted = [line["sim_steps"] for line in lines if "policy_loss" in line]
    assert counted == list(range(80, 4001, 80))
