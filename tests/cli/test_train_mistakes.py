"""``trafficrl train``: every mistake gets one line, and leaves nothing behind."""

from __future__ import annotations

import functools
import shutil
import socket
import sys
from pathlib import Path

import pytest
import torch


def files(path: Path) -> dict[str, bytes]:
    """All files below a directory, with what is in them."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file()
    }


def brief(small: list[str]) -> list[str]:
    """Options for a training that ends at once where it should not have begun."""
    return [*small, "--set", "training.total_steps=80"]


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
        ("algorithms.dppo.policy_hidden=[0]", "policy_hidden"),
        ("algorithms.dppo.policy_hidden=[-3]", "policy_hidden"),
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
        "meta",
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
    (run / "previous.pt").unlink()
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


def test_a_cluster_that_is_not_there_is_one_line(
    tmp_path: Path, small: list[str], refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    begin = ["train", "ring", *brief(small), "--output", run, "--workers"]
    with socket.socket() as nobody:  # has the port, and does not listen
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{port}")
        here, auto = f"ray://127.0.0.1:{port}", f"ray://auto (RAY_ADDRESS=127.0.0.1:{port})"
        for address, shown in ((here, here), ("ray://auto", auto)):
            error = refused(*begin, address)
            assert error.startswith(f"{shown}: cannot be reached (Connection refused)")
            assert "ray://auto on a machine of the cluster" in error
    monkeypatch.delenv("RAY_ADDRESS")
    several = functools.cache(lambda: {"10.0.0.2:6379", "10.0.0.1:6379"})  # as Ray's has one
    monkeypatch.setattr("ray._private.services.find_gcs_addresses", several)
    assert refused(*begin, "ray://auto") == (
        "ray://auto: this machine is in several (10.0.0.1:6379, 10.0.0.2:6379; "
        "choose one by RAY_ADDRESS=HOST:PORT in the environment)\n"
    )
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "pip install 'trafficrl[ray]'" in refused(*begin, "ray://auto")
    assert not run.exists()


@pytest.mark.parametrize("workers", ["-1", "1.5", "two", "ray://", "ray://here", "http://a:1"])
def test_workers_are_a_number_or_a_cluster(refused, workers: str) -> None:
    error = refused("train", "ring", f"--workers={workers}", code=2)
    assert repr(workers) in error and "ray://auto" in error
