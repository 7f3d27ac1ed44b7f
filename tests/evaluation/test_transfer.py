"""The train-by-test matrix: its cells, its files, its picture."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from trafficrl import load_scenario
from trafficrl.errors import SimulationError, TrafficRLError
from trafficrl.evaluation import transfer as module
from trafficrl.evaluation.carry import scenario_to_drive
from trafficrl.evaluation.drivers import make_driver
from trafficrl.evaluation.evaluate import report, run_episodes
from trafficrl.evaluation.transfer import Cell, Matrix, transfer
from trafficrl.evaluation.transfer_files import as_markdown, as_text, matrix_files, read_matrix
from trafficrl.plots import heat_map
from trafficrl.training.run_directory import RunDirectory
from trafficrl.training.trainer import Trainer

SHORT = ["episode.steps=60", "training.total_steps=60", "training.validate_every_steps=1000000"]
SMALL = ["training.algorithm=dppo", "algorithms.dppo.rollout_steps=60", "algorithms.dppo.epochs=1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of ring and catchup, and short scenarios to drive in."""
    folder = tmp_path_factory.mktemp("transfer")
    for name in ("ring", "catchup"):
        config = load_scenario(name, [*SHORT, *SMALL, "training.validate_episodes=1"])
        run = RunDirectory(folder / f"{name}-run").create(config, {})
        with closing(Trainer(config, run)) as trainer:
            trainer.train()
        (folder / f"{name}.yaml").write_text(f"extends: {name}\nepisode: {{steps: 60}}\n")
    return folder


@pytest.fixture(scope="module")
def matrix(folder: Path) -> Matrix:
    controllers = [str(folder / "ring-run"), str(folder / "catchup-run"), "idm"]
    scenarios = [str(folder / "ring.yaml"), str(folder / "catchup.yaml")]
    return transfer(controllers, scenarios, episodes=2, seed=3)


def made_up(values: list[list[float | None]], reason: str = "no road") -> Matrix:
    names = [f"row {row}" for row in range(len(values))]
    columns = tuple(f"column {column}" for column in range(len(values[0])))
    cells = {
        (name, column): Cell(name, column, reason=reason)
        if value is None
        else Cell(name, column, value, value - 1, value + 1, 0.0)
        for name, row in zip(names, values, strict=True)
        for column, value in zip(columns, row, strict=True)
    }
    return Matrix("mean_speed_mps", 2, 0, dict.fromkeys(names), columns, cells)


# Cells ----------------------------------------------------------------------------------


def test_rows_are_controllers_and_columns_scenarios(matrix: Matrix) -> None:
    assert matrix.controllers == ("ring dppo 0", "catchup dppo 0", "idm")
    assert matrix.scenarios == ("ring", "catchup")
    assert list(matrix.trained_on.values()) == ["ring", "catchup", None]
    assert list(matrix.cells) == [(r, c) for r in matrix.controllers for c in matrix.scenarios]


@pytest.mark.parametrize("scenario", ["ring", "catchup"])
@pytest.mark.parametrize("row", [0, 2])
def test_a_cell_is_what_evaluation_finds(
    folder: Path, matrix: Matrix, row: int, scenario: str
) -> None:
    driver, trained = make_driver([str(folder / "ring-run"), "", "idm"][row])
    config = load_scenario(folder / f"{scenario}.yaml")
    if trained is not None:
        config = scenario_to_drive(trained, config)
    result = report("", config, run_episodes(driver, config, episodes=2, seed=3), seed=3)
    cell = matrix.cells[matrix.controllers[row], scenario]
    assert cell.value == result["mean_speed_mps"]
    assert [cell.low, cell.high] == result["intervals_95"]["mean_speed_mps"]
    assert (cell.collisions, cell.reason) == (result["collisions"], None)


def test_a_cell_that_cannot_be_driven_says_why(matrix: Matrix) -> None:
    cell = matrix.cells["catchup dppo 0", "ring"]
    assert (cell.value, cell.collisions) == (None, None)
    assert cell.reason == "'speed_error' compares with a scripted lead, which is not there"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (SimulationError("SUMO went\nhome"), "SUMO went home"),
        (ZeroDivisionError("by zero"), "unexpected ZeroDivisionError: by zero"),
    ],
)
def test_what_fails_in_the_middle_is_one_cell(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, reason: str
) -> None:
    real: Callable[..., list[object]] = run_episodes

    def failing(driver: object, config: object, **keys: object) -> list[object]:
        if config.name == "ring":  # type: ignore[attr-defined]
            raise error
        return real(driver, config, **keys)

    monkeypatch.setattr(module, "run_episodes", failing)
    told: list[Cell] = []
    scenarios = [str(folder / "ring.yaml"), str(folder / "catchup.yaml")]
    found = transfer(["idm"], scenarios, episodes=1, on_cell=told.append)
    assert found.cells["idm", "ring"].reason == reason
    assert found.cells["idm", "catchup"].value is not None
    assert told == list(found.cells.values())


def test_what_cannot_be_read_is_said_before_anything_drives(folder: Path) -> None:
    told: list[Cell] = []
    for controllers, scenarios, keys, message in (
        (["idm"], ["ring", "rimg"], {}, "rimg: no such file"),
        (["idm", "nowhere"], ["ring"], {}, "nowhere: neither a run directory"),
        (["idm"], ["ring"], {"metric": "colour"}, "--metric colour: unknown"),
    ):
        with pytest.raises(TrafficRLError, match=message):
            transfer(controllers, scenarios, on_cell=told.append, **keys)
    assert not told


def test_rows_and_columns_of_the_same_name_are_called_as_they_were_given(folder: Path) -> None:
    (folder / "again.yaml").write_text("extends: ring\nepisode: {steps: 20}\n")
    runs = [str(folder / "ring-run"), f"{folder}/./ring-run"]
    scenarios = [str(folder / "ring.yaml"), str(folder / "again.yaml")]
    found = transfer(runs, scenarios, episodes=1)
    assert (found.controllers, found.scenarios) == (tuple(runs), tuple(scenarios))


def test_the_own_task_is_known_by_what_is_to_do_and_not_by_its_name(folder: Path) -> None:
    other, same = folder / "other.yaml", folder / "same.yaml"
    ring = "extends: ring\nepisode: {steps: 60}\n"
    other.write_text(f"{ring}name: ring\nnetwork: {{length_m: 270.0}}\n")
    same.write_text(f"{ring}name: my_ring\n")
    found = transfer([str(folder / "ring-run"), "idm"], [str(other), str(same)], episodes=1)
    own = [scenario for (_, scenario), cell in found.cells.items() if cell.own]
    assert found.scenarios == ("ring", "my_ring") and own == ["my_ring"]


# Files ----------------------------------------------------------------------------------


def test_the_table_has_figures_collisions_and_reasons(matrix: Matrix) -> None:
    text = as_text(matrix)
    ring = matrix.cells["ring dppo 0", "ring"]
    assert f"{ring.value:.4g} ({ring.collisions:.3g})" in text
    assert "catchup dppo 0" in text and "[1] 'speed_error' compares with" in text
    lines = as_markdown(matrix).splitlines()
    assert lines[2:4] == ["|  | ring | catchup |", "| --- | --- | --- |"]
    assert lines[5].startswith("| catchup dppo 0 | [1] | ")
    assert lines[-1].startswith("- [1] 'speed_error'")


def test_markdown_keeps_what_would_end_a_cell(matrix: Matrix) -> None:
    cells = {("a|b", "c|d"): Cell("a|b", "c|d", 1.0, 1.0, 1.0, 0.0)}
    odd = Matrix("mean_speed_mps", 1, 0, {"a|b": None}, ("c|d",), cells)
    assert as_markdown(odd).splitlines()[2:] == [
        "|  | c\\|d |",
        "| --- | --- |",
        "| a\\|b | 1 (0) |",
    ]


def test_files_open_first_and_appear_when_all_went_well(matrix: Matrix, tmp_path: Path) -> None:
    def fail() -> None:
        with matrix_files(tmp_path) as write:
            write(matrix)
            raise TrafficRLError("later")

    with pytest.raises(TrafficRLError, match="later"):
        fail()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "transfer.svg").mkdir()
    with pytest.raises(TrafficRLError, match=r"transfer\.svg: cannot be written"):
        matrix_files(tmp_path).__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["transfer.svg"]


def test_files_hold_every_cell(matrix: Matrix, tmp_path: Path) -> None:
    with matrix_files(tmp_path / "new") as write:
        table, tree, text, *_ = write(matrix)
    with open(table, newline="") as stream:
        found = list(csv.DictReader(stream))
    whole = json.loads(tree.read_text())
    assert len(found) == len(whole["cells"]) == 6
    for row, entry, cell in zip(found, whole["cells"], matrix.cells.values(), strict=True):
        assert Cell(**entry) == cell
        assert row["controller"] == cell.controller
        assert row["value"] == ("" if cell.value is None else str(cell.value))
    assert text.read_text() == as_markdown(matrix)


def test_the_matrix_can_be_read_again(matrix: Matrix, tmp_path: Path) -> None:
    with matrix_files(tmp_path) as write:
        write(matrix)
    assert read_matrix(tmp_path) == read_matrix(tmp_path / "transfer.json") == matrix


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, r"transfer\.json: cannot be read \(No such file"),
        ("{", "not what `trafficrl transfer` writes"),
        ("[]", "not what"),
        ('{"cells": []}', r"\('metric'\)"),
        ('{"cells": [{"colour": 1}]}', "colour"),
        (
            '{"metric": "m", "episodes": 1, "seed": 0, "trained_on": {"idm": null}, '
            '"scenarios": ["ring"], "cells": []}',
            "cells are missing",
        ),
    ],
)
def test_what_is_no_matrix_is_refused(tmp_path: Path, content: str | None, reason: str) -> None:
    if content is not None:
        (tmp_path / "transfer.json").write_text(content)
    with pytest.raises(TrafficRLError, match=reason) as caught:
        read_matrix(tmp_path)
    assert "\n" not in str(caught.value)


# Picture --------------------------------------------------------------------------------


def test_the_heat_map_has_a_value_in_each_cell_and_hatches_the_others() -> None:
    figure = heat_map(made_up([[4.25, 15.0], [None, 12.5], [8.5, 0.0]]))
    axes = figure.axes[0]
    assert [text.get_text() for text in axes.texts] == ["4.25", "15", "12.5", "8.5", "0"]
    hatched = [patch for patch in axes.patches if patch.get_hatch()]
    assert [patch.get_xy() for patch in hatched] == [(-0.5, 0.5)]
    shares = axes.images[0].get_array()
    np.testing.assert_allclose(shares.filled(-1), [[0.5, 1.0], [-1.0, 12.5 / 15], [1.0, 0.0]])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["row 0", "row 1", "row 2"]


def test_values_can_be_read_on_their_colours() -> None:
    """Contrast as in WCAG 2.1, 1.4.3, is at least 4 everywhere (3 is for large text)."""
    axes = heat_map(made_up([[value] for value in np.linspace(-1.0, 1.0, 41)])).axes[0]
    colours = axes.images[0].to_rgba(axes.images[0].get_array())[:, 0, :3]
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    text = np.array([float(text.get_color() == "white") for text in axes.texts])
    bright, dark = np.maximum(text, luminance), np.minimum(text, luminance)
    assert ((bright + 0.05) / (dark + 0.05)).min() > 4.0


def test_collisions_and_the_own_scenario_are_shown(matrix: Matrix) -> None:
    crashed = Cell("idm", "ring", 4.0, 4.0, 4.0, collisions=2.5)
    changed = {**matrix.cells, ("idm", "ring"): crashed}
    figure = heat_map(Matrix(**{**_fields(matrix), "cells": changed}))
    axes = figure.axes[0]
    assert "4\n2.5 collided" in [text.get_text() for text in axes.texts]
    framed = [patch.get_xy() for patch in axes.patches if not patch.get_fill()]
    np.testing.assert_allclose(framed, [(-0.46, -0.46), (0.54, 0.54)])


def _fields(matrix: Matrix) -> dict[str, object]:
    return {name: getattr(matrix, name) for name in Matrix.__dataclass_fields__}


def test_the_pictures_are_drawn(tmp_path: Path) -> None:
    with matrix_files(tmp_path) as write:
        *_, png, svg = write(made_up([[1.0, 2.0], [3.0, None]]))
    assert png.read_bytes().startswith(b"\x89PNG") and png.stat().st_size > 5000
    root = ElementTree.parse(svg).getroot()
    assert root.tag.endswith("svg") and len(list(root.iter())) > 50


def test_nothing_driven_is_a_picture_too(tmp_path: Path) -> None:
    assert len(heat_map(made_up([[None]])).axes[0].patches) == 1


def test_without_matplotlib_one_line_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(TrafficRLError, match=r"pip install 'trafficrl\[plot\]'") as caught:
        heat_map(made_up([[1.0]]))
    assert "\n" not in str(caught.value)
