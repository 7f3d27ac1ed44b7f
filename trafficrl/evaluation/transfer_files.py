"""The transfer matrix as text, Markdown, CSV, JSON and pictures."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from trafficrl.errors import TrafficRLError
from trafficrl.evaluation.files import output_directory, output_file
from trafficrl.evaluation.metrics import METRICS
from trafficrl.evaluation.sections import Section
from trafficrl.evaluation.transfer import Cell, Matrix
from trafficrl.plots.files import picture_files
from trafficrl.plots.heat_map import heat_map
from trafficrl.plots.style import require_matplotlib


def section(matrix: Matrix) -> Section:
    """A cell is the metric's mean, and collisions an episode in brackets, or refers to a note."""
    reasons: list[str] = []

    def show(cell: Cell) -> str:
        if cell.reason is None:
            return f"{cell.value:.4g} ({cell.collisions:.3g})"
        if cell.reason not in reasons:
            reasons.append(cell.reason)
        return f"[{reasons.index(cell.reason) + 1}]"

    rows = [
        [controller, *(show(matrix.cells[controller, place]) for place in matrix.scenarios)]
        for controller in matrix.controllers
    ]
    notes = [f"[{number}] {reason}" for number, reason in enumerate(reasons, 1)]
    title = (
        f"{matrix.metric} ({METRICS[matrix.metric].unit}), and vehicles that collided an episode "
        f"in brackets; means of {matrix.episodes} episodes, seed {matrix.seed}"
    )
    return Section(title, ["", *matrix.scenarios], rows, notes)


def as_text(matrix: Matrix) -> str:
    """The matrix for a terminal."""
    return section(matrix).text()


def as_markdown(matrix: Matrix) -> str:
    """The matrix as a Markdown table with its reasons below."""
    return section(matrix).markdown()


def as_json(matrix: Matrix) -> str:
    """Everything there is."""
    content = {
        "metric": matrix.metric,
        "episodes": matrix.episodes,
        "seed": matrix.seed,
        "trained_on": matrix.trained_on,
        "scenarios": list(matrix.scenarios),
        "cells": [asdict(cell) for cell in matrix.cells.values()],
    }
    return json.dumps(content, indent=2) + "\n"


def as_csv(matrix: Matrix) -> str:
    """A row for each cell."""
    text = io.StringIO(newline="")
    rows = csv.DictWriter(text, fieldnames=list(Cell.__dataclass_fields__))
    rows.writeheader()
    rows.writerows(asdict(cell) for cell in matrix.cells.values())
    return text.getvalue()


TEXTS: dict[str, Callable[[Matrix], str]] = {"csv": as_csv, "json": as_json, "md": as_markdown}
PICTURES = ("png", "svg")
STEM = "transfer"


@contextmanager
def matrix_files(directory: Path) -> Iterator[Callable[[Matrix], list[Path]]]:
    """Opens to a function that writes ``transfer.csv``, ``.json``, ``.md``, ``.png`` and ``.svg``.

    They lie in ``directory``, which is made. All open at once: ``TrafficRLError``
    if one cannot be written, or matplotlib is missing. Each appears when all went well.
    """
    require_matplotlib()
    texts = {ending: directory / f"{STEM}.{ending}" for ending in TEXTS}
    pictures = [directory / f"{STEM}.{ending}" for ending in PICTURES]
    with ExitStack() as files:
        files.enter_context(output_directory(directory))
        streams = {ending: files.enter_context(output_file(path)) for ending, path in texts.items()}
        write_picture = files.enter_context(picture_files(pictures))

        def write(matrix: Matrix) -> list[Path]:
            for ending, render in TEXTS.items():
                streams[ending].write(render(matrix))
            write_picture(heat_map(matrix))
            return [*texts.values(), *pictures]

        yield write


def read_matrix(path: Path) -> Matrix:
    """The matrix that ``matrix_files`` wrote to a directory, or the JSON file in it.

    Raises ``TrafficRLError`` where there is none.
    """
    file = path / f"{STEM}.json" if path.is_dir() else path
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        cells = [Cell(**cell) for cell in content["cells"]]
        matrix = Matrix(
            metric=content["metric"],
            episodes=content["episodes"],
            seed=content["seed"],
            trained_on=content["trained_on"],
            scenarios=tuple(content["scenarios"]),
            cells={(cell.controller, cell.scenario): cell for cell in cells},
        )
        missing = {(row, place) for row in matrix.controllers for place in matrix.scenarios}
        if not matrix.cells or not missing <= matrix.cells.keys():
            raise ValueError("cells are missing")
    except OSError as error:
        raise TrafficRLError(
            f"{file}: cannot be read ({error.strerror}; `trafficrl transfer ... --output DIR` "
            "writes it)"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise TrafficRLError(f"{file}: not what `trafficrl transfer` writes ({reason})") from None
    return matrix
