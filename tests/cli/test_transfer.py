"""``trafficrl transfer``: the matrix, its files, and every mistake in one line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from trafficrl.cli.main import main

FILES = [f"transfer.{ending}" for ending in ("csv", "json", "md", "png", "svg")]


@pytest.fixture
def short(tmp_path: Path) -> list[str]:
    """Files of scenarios that take a moment."""
    files = []
    for name in ("ring", "figure_eight", "catchup"):
        files.append(str(tmp_path / f"{name}.yaml"))
        Path(files[-1]).write_text(f"extends: {name}\nepisode: {{steps: 20}}\n")
    return files


def test_the_matrix_is_printed_and_written(
    tmp_path: Path, trained: Path, short: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "a" / "b"
    words = ["--scenarios", *short, "--episodes", "1", "--output", str(output)]
    assert main(["transfer", str(trained), *words, "--baseline", "constant:0.5"]) == 0
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert lines[0].startswith("mean_speed_mps (")
    assert lines[1].split() == ["ring", "figure_eight", "catchup"]
    assert [line.split("  ")[0] for line in lines[2:5]] == ["ring dppo 3", "idm", "constant:0.5"]
    assert "constant:0.5: scenario 'catchup' has choices 0 to 3" in lines[5]
    assert [line.removeprefix(f"wrote {output}/") for line in lines[6:]] == FILES
    assert err.count("\n") == 9  # a line a cell
    assert sorted(path.name for path in output.iterdir()) == sorted(FILES)
    assert len(json.loads((output / "transfer.json").read_text())["cells"]) == 9


def test_scenarios_may_be_listed_anywhere_behind_the_runs(
    trained: Path, short: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["--episodes", "1", "--scenarios", short[0], "--scenarios", short[1], "--seed", "2"]
    assert main(["transfer", str(trained), *words]) == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[1].split() == ["ring", "figure_eight"] and len(lines) == 4


def test_another_figure_can_be_compared(
    trained: Path, short: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["--scenarios", short[0], "--episodes", "1", "--metric", "episode_steps"]
    assert main(["transfer", str(trained), *words, "--assign", "slot"]) == 0
    assert "20 (0)" in capfd.readouterr().out


@pytest.mark.parametrize(
    "words", [["--scenarios"], ["--episodes", "1"], ["--scenarios", "ring", "--episodes", "0"]]
)
def test_a_wrong_command_line_is_answered_with_2(trained: Path, refused, words: list[str]) -> None:
    refused("transfer", trained, *words, code=2)
    refused("transfer", *words, code=2)


def test_mistakes_are_named_before_anything_drives(trained: Path, tmp_path: Path, refused) -> None:
    assert "rimg: no such file" in refused("transfer", trained, "--scenarios", "ring", "rimg")
    assert "neither a run" in refused("transfer", "nowhere", "--scenarios", "ring")
    unknown = refused("transfer", trained, "--scenarios", "ring", "--metric", "colour")
    assert "--metric colour: unknown (known: " in unknown
    (tmp_path / "file").write_text("")
    below = tmp_path / "file" / "folder"
    assert str(below) in refused("transfer", trained, "--scenarios", "ring", "--output", below)
    (tmp_path / "transfer.md").mkdir()
    driving = ("transfer", trained, "--scenarios", "ring", "--output", tmp_path)
    assert "transfer.md: cannot be written" in refused(*driving)


def test_a_missing_matplotlib_is_said_first(
    trained: Path, tmp_path: Path, refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    output = tmp_path / "out"
    error = refused("transfer", trained, "--scenarios", "ring", "--output", output)
    assert "pip install 'trafficrl[plot]'" in error and not output.exists()
