"""``trafficrl scenarios``: lists, shows and describes scenarios."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trafficrl.cli.main import main
from trafficrl.config import load_scenario
from trafficrl.resources import scenario_names


def test_the_list_has_a_line_for_each_bundled_scenario(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["scenarios"]) == 0
    header, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == scenario_names()
    vehicles, network = header.index("VEHICLES"), header.index("NETWORK")
    ring = next(line for line in lines if line.startswith("ring "))
    assert ring[vehicles:].startswith("22 learned ")
    assert ring[network:].startswith("ring, 260 m ")


def test_what_is_shown_loads_as_the_overridden_scenario(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    overrides = ["training.seed=7", "observation.0.scale=3e-4"]
    assert main(["scenarios", "show", "ring", "--set", overrides[0], "--set", overrides[1]]) == 0
    path = tmp_path / "shown.yaml"
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    assert load_scenario(path) == load_scenario("ring", overrides)


def test_the_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scenarios", "schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "ScenarioConfig"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rimg"], "rimg: no such file (bundled: ring, "),
        (["ring", "--set", "training.steps=1"], "--set training.steps: unknown key"),
    ],
)
def test_a_mistake_is_one_line_and_1(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scenarios", "show", *arguments]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {message}")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
