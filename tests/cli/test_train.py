"""``trafficrl train``: a training, an interrupt, going on, and every mistake in one line."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from trafficrl.cli.main import main
from trafficrl.config import load_scenario


def files(path: Path) -> dict[str, bytes]:
    """All files below a directory, with what is in them."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


def test_a_training_ends_with_the_command_that_evaluates_it(
    tmp_path: Path, small: list[str], process
) -> None:
    run = tmp_path / "run"
    done = process(
        ["train", "ring", *small, "--total-steps", "320", "--seed", "3", "--output", str(run)]
    )
    assert (done.returncode, done.stderr) == (0, "")
    first, *_, last = done.stdout.splitlines()
    assert first.startswith("ring: 6 learning vehicles, dppo, seed 3, 320 simulation steps")
    assert last.strip() == f"trafficrl evaluate {run}"
    assert done.stdout.count("validation: return") == 2
    assert {"scenario.yaml", "run.json", "metrics.jsonl", "best.pt", "latest.pt"} <= {
        path.name for path in run.iterdir()
    }
    evaluated = process([*last.split()[1:], "--episodes", "1"])
    assert (evaluated.returncode, evaluated.stderr) == (0, "")
    assert "mean_speed_mps" in evaluated.stdout


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
    options = [*small, "--total-steps", "8000", "--set", "training.validate_every_steps=4000"]
    code, out, error = interrupt(run, options, number)
    assert code == 0 and "Traceback" not in error
    assert "stopping after this update" in error
    steps = [json.loads(line)["sim_steps"] for line in (run / "metrics.jsonl").open()]
    assert 0 < steps[-1] < 8000
    assert f"trafficrl train --resume {run}" in out
    assert (run / "latest.pt").exists()

    assert main(["train", "--resume", str(run)]) == 0
    out = capfd.readouterr().out
    assert f"resumed at {steps[-1]:,} steps" in out
    assert f"trafficrl evaluate {run}" in out
    lines = [json.loads(line) for line in (run / "metrics.jsonl").open()]
    counted = [line["sim_steps"] for line in lines if "policy_loss" in line]
    assert counted == list(range(80, 8001, 80))


# --- mistakes


def brief(small: list[str]) -> list[str]:
    """Options for a training that ends at once where it should not have begun."""
    return [*small, "--set", "training.total_steps=80"]


ANY_WIDTH = pytest.mark.xfail(strict=True, reason="widths of hidden layers have no lower bound")


def test_a_scenario_that_cannot_be_read_leaves_nothing(tmp_path: Path, refused) -> None:
    run = tmp_path / "run"
    broken = tmp_path / "broken.yaml"
    broken.write_text("name: [unclosed\nnetwork: 3\n")
    for scenario, message in (
        ("rimg", "rimg: no such file"),
        (tmp_path / "none.yaml", "none.yaml: no such file"),
        (broken, "broken.yaml:"),
        (tmp_path, "a directory"),
    ):
        assert message in refused("train", scenario, "--output", run)
    assert not run.exists()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.colour=red", "training.colour: unknown key"),
        ("training.total_steps=many", "training.total_steps: "),
        ("training.algorithm=ddpg", "no algorithm is called 'ddpg'"),
        ("vehicles.0.count=200", "200 vehicles do not fit a ring of 120 m"),
        ("episode.control_interval_s=0.25", "not a whole multiple"),
        ("training.seed", "should be KEY=VALUE"),
        ("=3", "should be KEY=VALUE"),
        ("training.seed=", "has no value"),
        ("vehicles.7.count=1", "vehicles has items 0 to 0"),
        pytest.param("algorithms.dppo.policy_hidden=[0]", "policy_hidden", marks=ANY_WIDTH),
        pytest.param("algorithms.dppo.policy_hidden=[-3]", "policy_hidden", marks=ANY_WIDTH),
    ],
)
def test_a_wrong_setting_is_named(
    tmp_path: Path, small: list[str], refused, override: str, message: str
) -> None:
    run = tmp_path / "run"
    options = [*brief(small), "--set", override, "--output", run]
    assert message in refused("train", "ring", *options)
    assert not run.exists()


def test_several_wrong_settings_are_a_line_each(tmp_path: Path, refused) -> None:
    wrong = ["--set", "training.colour=red", "--set", "episode.steps=-1"]
    refused("train", "ring", *wrong, "--output", tmp_path / "run", lines=2)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["ring", "--resume", "somewhere"],
        ["ring", "--total-steps", "-5"],
        ["ring", "--total-steps", "0"],
        ["ring", "--seed", "-1"],
        ["ring", "--seed", "one"],
        ["ring", "--frobnicate"],
        ["ring", "figure_eight"],
        ["--resume", "somewhere", "--seed", "3"],
        ["--resume", "somewhere", "--set", "training.seed=3"],
        ["--resume", "somewhere", "--output", "elsewhere"],
        ["--resume", "somewhere", "--total-steps", "5"],
        ["--resume", "somewhere", "--algorithm", "dppo"],
    ],
)
def test_a_wrong_command_line_is_answered_with_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused, options: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    refused("train", *options, code=2)
    assert not files(tmp_path)


def test_an_output_that_cannot_be_one_is_left_as_it_is(
    tmp_path: Path, small: list[str], refused
) -> None:
    (tmp_path / "file").write_text("text")
    full = tmp_path / "full"
    full.mkdir()
    (full / "thesis.tex").write_text("years of work")
    before = files(tmp_path)
    for output, message in (
        (tmp_path / "file", "cannot be written"),
        (tmp_path / "file" / "below", "cannot be written"),
        (full, "not empty"),
    ):
        error = refused("train", "ring", *brief(small), "--output", output)
        assert error.startswith(str(output)) and message in error
    assert files(tmp_path) == before


@pytest.mark.parametrize(
    "device",
    [
        "nonsense",
        "cuda:99",
        pytest.param(
            "meta", marks=pytest.mark.xfail(strict=True, reason="an empty tensor is no check")
        ),
    ],
)
def test_a_device_that_is_not_there_leaves_nothing(
    tmp_path: Path, small: list[str], refused, device: str
) -> None:
    run = tmp_path / "run"
    error = refused("train", "ring", *brief(small), "--device", device, "--output", run)
    assert error.startswith(f"--device {device}: ")
    assert not run.exists()


def test_only_a_run_can_be_resumed(tmp_path: Path, refused) -> None:
    (tmp_path / "file").write_text("text")
    (tmp_path / "empty").mkdir()
    for name in ("none", "file", "empty"):
        error = refused("train", "--resume", tmp_path / name)
        assert error.startswith(str(tmp_path / name)) and "run directory" in error


@pytest.mark.parametrize("damage", ["missing", "truncated", "foreign", "scenario"])
def test_a_damaged_run_is_not_resumed_and_not_touched(
    tmp_path: Path, trained: Path, refused, damage: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    latest = run / "latest.pt"
    if damage == "missing":
        latest.unlink()
    elif damage == "truncated":
        latest.write_bytes(latest.read_bytes()[:500])
    elif damage == "foreign":
        torch.save({"weights": torch.ones(3)}, latest)
    else:
        with open(run / "scenario.yaml", "a") as file:
            file.write("colour: red\n")
    before = files(run)
    error = refused("train", "--resume", run)
    assert ("scenario.yaml" if damage == "scenario" else "latest.pt") in error
    assert files(run) == before


def test_tensorboard_files_need_tensorboard(
    tmp_path: Path, small: list[str], refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    run = tmp_path / "run"
    error = refused("train", "ring", *brief(small), "--tensorboard", "--output", run)
    assert "pip install 'trafficrl[tb]'" in error
    assert not run.exists()
