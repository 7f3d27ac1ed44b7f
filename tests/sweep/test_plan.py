"""Reading sweep files: what is right, and that everything wrong is found before a start."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trafficrl.config import load_scenario
from trafficrl.errors import ScenarioError
from trafficrl.sweep.config import Objective
from trafficrl.sweep.directory import SweepDirectory
from trafficrl.sweep.loading import load_sweep
from trafficrl.sweep.plan import grid_points
from trafficrl.training.validation import VALIDATED

from .sweeps import GRID, KINDS, LAMBDA, LR, ROLLOUT, SMALL, plan_of, write_sweep


def failure(folder: Path, **sections: Any) -> str:
    with pytest.raises(ScenarioError) as caught:
        plan_of(folder, **sections)
    return str(caught.value).replace(f"{folder}/", "")


def optuna(**ranges: Any) -> dict[str, Any]:
    keys = {"lr": LR, "gae": LAMBDA, "rollout": ROLLOUT, "algorithm": KINDS}
    named = {keys.get(name, name): value for name, value in ranges.items()}
    return {"kind": "optuna", "trials": 4, "seed": 1, "ranges": named}


def test_a_grid_is_every_combination_and_the_last_key_is_the_fastest(tmp_path: Path) -> None:
    plan = plan_of(tmp_path)
    assert plan.n_points == 4
    assert list(grid_points(GRID["values"])) == [
        {LR: 1e-3, LAMBDA: 0.5},
        {LR: 1e-3, LAMBDA: 0.9},
        {LR: 1e-2, LAMBDA: 0.5},
        {LR: 1e-2, LAMBDA: 0.9},
    ]


def test_a_point_is_the_scenario_with_what_is_set_and_its_own_values(tmp_path: Path) -> None:
    config = plan_of(tmp_path).scenario({LR: 0.002, LAMBDA: 0.7})
    overrides = [f"{key}={value}" for key, value in {**SMALL, LR: 0.002, LAMBDA: 0.7}.items()]
    assert config == load_scenario("ring", overrides)


def test_a_bad_value_in_the_last_place_is_found_and_named_with_its_line(tmp_path: Path) -> None:
    path = write_sweep(tmp_path / "sweep.yaml")
    text = path.read_text().replace("[0.5, 0.9]", "\n    - 0.5\n    - 0.9\n    - 9.5")
    path.write_text(text)
    line = text[: text.index("9.5")].count("\n") + 1
    with pytest.raises(ScenarioError) as caught:
        load_sweep(path)
    assert str(caught.value) == f"{path}:{line}:7: {LAMBDA}: should be at most 1, not 9.5"


def test_values_that_do_not_go_together_are_named_with_the_point(tmp_path: Path) -> None:
    values = {"vehicles.0.count": [6, 20], "network.length_m": [60.0, 300.0]}
    said = failure(tmp_path, search={"kind": "grid", "values": values})
    assert "with vehicles.0.count=20, network.length_m=60.0: " in said
    assert "20 vehicles do not fit a ring of 60 m (at most 8)" in said
    assert said.count("\n") == 0, "6 vehicles fit everywhere"


@pytest.mark.parametrize("end", ["low", "high"])
def test_both_ends_of_a_range_are_tried(tmp_path: Path, end: str) -> None:
    ends = {"low": 0.1, "high": 0.9, end: {"low": -1.0, "high": 1.5}[end]}
    said = failure(tmp_path, search=optuna(gae=ends))
    assert f"{LAMBDA}: should be at {'least 0' if end == 'low' else 'most 1'}" in said


def test_ends_that_need_one_another_pass(tmp_path: Path) -> None:
    """60 vehicles do not fit the scenario's ring, but each of those that are searched."""
    ranges = {
        "vehicles.0.count": {"low": 60, "high": 80},
        "network.length_m": {"low": 900, "high": 1000},
    }
    search = {"kind": "optuna", "trials": 1, "ranges": ranges}
    plan = plan_of(tmp_path, set={}, search=search)
    assert plan.whole == {"vehicles.0.count"}


def test_the_scenario_says_whether_a_range_is_of_whole_numbers(tmp_path: Path) -> None:
    search = optuna(gae={"low": 0, "high": 1}, rollout={"low": 20, "high": 60, "step": 20})
    assert plan_of(tmp_path, search=search).whole == {ROLLOUT}
    said = failure(tmp_path, search=optuna(rollout={"low": 20, "high": 60, "step": 2.5}))
    assert f"{ROLLOUT}: step should be a whole number" in said
    said = failure(tmp_path, search=optuna(rollout={"low": 20.5, "high": 60}))
    assert f"{ROLLOUT}: should be a whole number, not 20.5" in said


def test_what_a_sweep_directory_keeps_is_the_same_sweep(tmp_path: Path) -> None:
    scenario = tmp_path / "mine.yaml"
    scenario.write_text("extends: ring\nname: mine\n")
    search = optuna(lr={"low": 1e-4, "high": 1e-2, "log": True}, algorithm={"choices": ["dppo"]})
    plan = plan_of(tmp_path, scenario="mine.yaml", search=search)
    assert plan.config.scenario == str(scenario)
    directory = SweepDirectory(tmp_path / "kept").create(plan)
    scenario.unlink()
    kept = directory.plan()
    assert (kept.base, kept.whole) == (plan.base, plan.whole)
    assert kept.config.model_copy(update={"scenario": "", "set": {}}) == plan.config.model_copy(
        update={"scenario": "", "set": {}}
    )


def test_paths_are_seen_from_the_sweep_file(tmp_path: Path) -> None:
    net = {"kind": "file", "net_file": "a.net.xml"}
    ranges = {"network.net_file": {"choices": ["b.net.xml"]}}
    search = {"kind": "optuna", "trials": 1, "ranges": ranges}
    plan = plan_of(tmp_path, scenario="transfer/network", set={"network": net}, search=search)
    assert plan.base.network.net_file == str(tmp_path / "a.net.xml")
    choices = [one.choices for one in plan.config.search.ranges.values()]
    assert choices == [[str(tmp_path / "b.net.xml")]]


def test_what_is_set_may_need_what_is_searched(tmp_path: Path) -> None:
    """40 vehicles do not fit the scenario's ring of 260 m, but each of the rings searched."""
    fixed = {**SMALL, "vehicles.0.count": 40}
    del fixed["network.length_m"]
    for search in (
        {"kind": "grid", "values": {"network.length_m": [800.0, 900.0]}},
        optuna(**{"network.length_m": {"low": 800.0, "high": 900.0}}),
    ):
        plan = plan_of(tmp_path, set=fixed, search=search)
        assert plan.first == {"network.length_m": 800.0}
        assert plan.scenario(plan.first).network.length_m == 800.0
        kept = SweepDirectory(tmp_path / search["kind"]).create(plan).plan()
        assert (kept.base, kept.first) == (plan.base, plan.first)
    values = {"network.length_m": [100.0, 90.0]}
    said = failure(tmp_path, set=fixed, search={"kind": "grid", "values": values})
    assert "40 vehicles do not fit a ring" in said


@pytest.mark.parametrize("figure", ["collisions", "mean_speed_mps"])
def test_what_is_better_is_said_of_all_but_the_return(tmp_path: Path, figure: str) -> None:
    said = failure(tmp_path, objective={"figure": figure})
    assert f"should say whether to maximise or minimise {figure}" in said
    assert said.count("\n") == 0
    plan = plan_of(tmp_path, objective={"figure": figure, "direction": "minimise"})
    assert plan.config.objective.sign == -1.0
    assert plan_of(tmp_path, objective={"figure": "return"}).config.objective.sign == 1.0


def test_the_figures_of_an_objective_are_those_of_validations() -> None:
    figures = Objective.model_json_schema()["properties"]["figure"]["enum"]
    assert tuple(figures) == VALIDATED
