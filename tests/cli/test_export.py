"""``trafficrl export``: a file that drives, what it says, and every mistake in one line."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from trafficrl import load_policy
from trafficrl.cli.main import main

FEATURES = {"speed": [4.0, 5.0], "headway": [9.0, 6.0], "acceleration": [0.0, 0.1]}


@pytest.mark.parametrize("name", ["policy.pt", "policy.onnx"])
def test_the_format_follows_the_name(
    tmp_path: Path, trained: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    capfd.readouterr()
    assert main(["export", str(trained), "--output", str(tmp_path / name)]) == 0
    captured = capfd.readouterr()
    lines, format = captured.out.splitlines(), "onnx" if name.endswith("onnx") else "torch"
    assert captured.err == ""
    assert lines[0] == f"{tmp_path / name}: 6 policies, dppo on ring, {format}"
    assert lines[1:4] == ["  in   speed, m/s", "  in   headway, m", "  in   acceleration, m/s2"]
    assert lines[4].startswith("  out  m/s2: acceleration for the coming control interval")
    assert lines[5].startswith("largest difference from the run over 960 random vehicles: ")
    assert [path.name for path in tmp_path.iterdir()] == [name]
    policies = [load_policy(path) for path in (tmp_path / name, trained)]
    values = [policy.act(FEATURES, [-1, 0]).values for policy in policies]
    np.testing.assert_allclose(*values, atol=1e-6)


def test_the_format_can_be_said(tmp_path: Path, trained: Path) -> None:
    file = tmp_path / "policy"
    arguments = ["export", str(trained), "--checkpoint", "latest", "--output", str(file)]
    assert main([*arguments, "--format", "onnx"]) == 0
    assert load_policy(file).card.checkpoint == "latest" and not file.read_bytes().startswith(b"PK")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{run}"], 2, "Missing option '--output'"),
        (["{run}", "--format", "tflite", "--output", "x"], 2, "'tflite' is not one of"),
        (["nothing", "--output", "{tmp}/x"], 1, "nothing: no such run directory"),
        (["idm", "--output", "{tmp}/x"], 1, "idm: no such run directory"),
        (["{run}", "--output", "{tmp}/no/x"], 1, "x: cannot be written (No such file"),
        (["{run}", "--output", "{tmp}"], 2, "is a directory"),
    ],
)
def test_mistakes(
    refused, trained: Path, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    words = [word.format(run=trained, tmp=tmp_path) for word in arguments]
    assert message in refused("export", *words, code=code)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_leaves_the_file_as_it_was(
    refused, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    file = tmp_path / "policy.onnx"
    file.write_text("older")
    message = refused("export", trained, "--output", file)
    assert message == (
        "ONNX files need onnxscript (pip install 'trafficrl[onnx]', or use --format torch)\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    assert file.read_text() == "older"
