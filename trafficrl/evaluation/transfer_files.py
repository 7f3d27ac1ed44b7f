"""The transfer matrix as text, Markdown, CSV, JSON and pictures."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

from trafficrl.evaluation.files import make_directory, output_file
from trafficrl.evaluation.heat_map import heat_map, require_matplotlib
from trafficrl.evaluation.metrics import METRICS
from trafficrl.evaluation.sections import Section
from trafficrl.evaluation.transfer import Cell, Matrix


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


@contextmanager
def matrix_files(directory: Path) -> Iterator[Callable[[Matrix], list[Path]]]:
    """Opens to a function that writes ``transfer.csv``, ``.json``, ``.md``, ``.png`` and ``.svg``.

    They lie in ``directory``, which is made. All open at once: ``TrafficRLError``
    if one cannot be written, or matplotlib is missing. Each appears when all went well.
    """
    require_matplotlib()
    make_directory(directory)
    paths = {ending: directory / f"transfer.{ending}" for ending in (*TEXTS, *PICTURES)}
    with ExitStack() as files:
        streams = {
            ending: files.enter_context(output_file(path, binary=ending in PICTURES))
            for ending, path in paths.items()
        }

        def write(matrix: Matrix) -> list[Path]:
            for ending, render in TEXTS.items():
                streams[ending].write(render(matrix))
            figure = heat_map(matrix)
            for ending in PICTURES:
                figure.savefig(streams[ending], format=ending, dpi=200)
            return list(paths.values())

        yield write
