"""``trafficrl compare``: one table, its files, and every mistake in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trafficrl.cli.main import main

SHORT = ["--set", "episode.steps=60", "--set", "warmup=null", "--episodes", "2"]


def compare(*arguments: str | Path) -> int:
    return main(["compare", *map(str, arguments)])


def test_runs_and_controllers_side_by_side(
    tmp_path: Path, trained: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert compare(trained, "idm", "constant:0", "--episodes", "2", "--output", tmp_path / "o") == 0
    captured = capfd.readouterr()
    assert captured.err == ""
    lines = captured.out.splitlines()
    assert lines[0].startswith("ring: 2 episodes, evaluation seed 0, speed mode 1")
    assert [line.split()[0] for line in lines[2:5]] == [str(trained), "idm", "constant:0"]
    assert lines[1].split()[:2] == ["return_mean", "mean_speed_mps"]
    files = sorted((tmp_path / "o").iterdir())
    assert [file.name for file in files] == ["comparison.csv", "comparison.json", "comparison.md"]
    result = json.loads(files[1].read_text())
    still = result["scenarios"][0]["rows"][2]
    assert (still["controller"], still["mean"]["return_mean"]) == ("constant:0", 0.0)
    assert result["scenarios"][0]["rows"][0]["runs"] == [str(trained)]
    assert "| idm |" in files[2].read_text()


def test_the_figures_are_those_of_evaluate(tmp_path: Path, trained: Path) -> None:
    one, other = tmp_path / "evaluate.json", tmp_path / "compare.json"
    assert main(["evaluate", str(trained), "--episodes", "3", "--json", str(one)]) == 0
    assert compare(trained, "--episodes", "3", "--output", other) == 0
    alone, row = (
        json.loads(one.read_text()),
        json.loads(other.read_text())["scenarios"][0]["rows"][0],
    )
    assert row["mean"] == {name: alone[name] for name in row["mean"]}
    assert row["mean_95"] == alone["intervals_95"]
    assert {name: scores[0] for name, scores in row["scores"].items()} == alone["per_episode"]


def test_metrics_and_scenarios_are_chosen(capfd: pytest.CaptureFixture[str]) -> None:
    chosen = ["--metrics", "jerk_rms_mps3,collisions"]
    scenarios = ["--scenario", "ring", "--scenario", "catchup"]
    assert compare("idm", "ovm", *scenarios, *chosen, *SHORT) == 0
    out = capfd.readouterr().out
    assert out.count("jerk_rms_mps3") >= 4 and "return_mean" not in out
    assert "\ncatchup: 2 episodes" in out and "\nall scenarios: " in out


def test_who_cannot_drive_in_a_scenario_is_told_and_the_rest_goes_on(
    capfd: pytest.CaptureFixture[str],
) -> None:
    scenarios = ["--scenario", "ring", "--scenario", "catchup"]
    assert compare("idm", "constant:0.5", *scenarios, *SHORT) == 0
    out = capfd.readouterr().out
    assert "\nconstant:0.5: scenario 'catchup' has choices 0 to 3\n" in out


# --- mistakes


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        ([], "Missing argument", 2),
        (["idm"], "--scenario: is needed", 1),
        (["idm", "krauss", "--scenario", "ring"], "krauss: neither a run directory", 1),
        (["idm", "runs/*/*", "--scenario", "ring"], "runs/*/*: nothing there matches", 1),
        (["idm", "--scenario", "rimg"], "rimg: no such file", 1),
        (["idm", "--scenario", "ring", "--set", "colour=red"], "colour: unknown key", 1),
        (["idm", "--scenario", "ring", "--metrics", "speed"], "no metric is called 'speed'", 2),
        (["idm", "--scenario", "ring", "--metrics", ""], "no metric is called ''", 2),
        (["idm", "--scenario", "ring", "--output", "a.txt"], "end in .csv, .json, .md", 1),
        (["idm", "--scenario", "ring", "--output", "none/a.md"], "cannot be written", 1),
        (["constant:7", "--scenario", "ring"], "'ring' takes -1 to 1 m/s2", 1),
    ],
)
def test_a_mistake_is_one_line(
    refused,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
    code: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in refused("compare", *arguments, code=code)
    assert list(tmp_path.iterdir()) == []
