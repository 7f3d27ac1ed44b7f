"""A comparison as text, Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from trafficrl.errors import TrafficRLError
from trafficrl.evaluation.compare import Comparison, Row, Table
from trafficrl.evaluation.evaluate import known
from trafficrl.evaluation.files import output_directory
from trafficrl.evaluation.metrics import METRICS
from trafficrl.evaluation.sections import Section
from trafficrl.evaluation.statistics import Estimate
from trafficrl.simulation.sumo_warnings import describe

KEY_METRICS = ("return_mean", "mean_speed_mps", "speed_std_mps", "collisions", "fuel_g_per_km")
UNDEFINED = "-"


def sections(comparison: Comparison, metrics: Sequence[str]) -> list[Section]:
    """What is shown: for each scenario the figures, then who is better by the first metric."""
    parts = []
    for table in comparison.tables:
        parts.append(_figures(comparison, table, metrics))
        parts.append(_improvement(comparison, [table], metrics[0]))
    if len(comparison.tables) > 1:
        parts.append(_improvement(comparison, comparison.tables, metrics[0]))
    return parts


def as_text(comparison: Comparison, metrics: Sequence[str]) -> str:
    """The sections with aligned columns."""
    return "\n".join(section.text() for section in sections(comparison, metrics))


def as_markdown(comparison: Comparison, metrics: Sequence[str]) -> str:
    """The sections as Markdown tables."""
    return "\n".join(section.markdown() for section in sections(comparison, metrics))


def as_json(comparison: Comparison, metrics: Sequence[str]) -> str:
    """Every metric with means, interquartile means and intervals, and the scores themselves."""
    content: dict[str, Any] = {
        "episodes": comparison.episodes,
        "seed": comparison.seed,
        "overrides": comparison.overrides,
        "metrics": {
            name: {"unit": metric.unit, "about": metric.about, "better": metric.better}
            for name, metric in METRICS.items()
        },
        "scenarios": [
            {
                "scenario": table.config.name,
                "speed_mode": table.config.simulation.speed_mode,
                "rows": [_json_row(row) for row in table.rows],
                "improvement": _json_improvement(comparison, [table], metrics[0]),
            }
            for table in comparison.tables
        ],
    }
    if len(comparison.tables) > 1:
        content["improvement"] = _json_improvement(comparison, comparison.tables, metrics[0])
    return json.dumps(content, indent=2) + "\n"


def as_csv(comparison: Comparison, metrics: Sequence[str]) -> str:
    """A row for each scenario, contender and metric that is defined there."""
    text = io.StringIO(newline="")
    rows = csv.writer(text)
    rows.writerow(
        [
            *("scenario", "controller", "training_seeds", "episodes", "interval_over"),
            *("metric", "unit", "mean", "mean_low", "mean_high", "iqm", "iqm_low", "iqm_high"),
        ]
    )
    for table in comparison.tables:
        for row in table.rows:
            seeds = " ".join(map(str, row.contender.seeds))
            who = [table.config.name, row.contender.name, seeds, comparison.episodes, row.over]
            for name, mean in row.means.items():
                if not math.isnan(mean.value):
                    values = (*mean, *row.interquartile_means[name])
                    rows.writerow([*who, name, METRICS[name].unit, *values])
    return text.getvalue()


FORMATS: dict[str, Callable[[Comparison, Sequence[str]], str]] = {
    ".csv": as_csv,
    ".json": as_json,
    ".md": as_markdown,
}


@contextmanager
def output_paths(output: Path) -> Iterator[list[Path]]:
    """Opens to the files that ``output`` stands for: itself, or one of each format in a directory.

    The directory is made. ``TrafficRLError`` for an unknown suffix, or if it cannot be.
    """
    if output.suffix.lower() in FORMATS and not output.is_dir():
        yield [output]
        return
    if output.suffix and not output.is_dir():
        raise TrafficRLError(
            f"{output}: comparisons are written to a directory, or to files that end in "
            f"{', '.join(FORMATS)}, not '{output.suffix}'"
        )
    with output_directory(output):
        yield [output / f"comparison{suffix}" for suffix in FORMATS]


# Sections ---------------------------------------------------------------------


def _figures(comparison: Comparison, table: Table, metrics: Sequence[str]) -> Section:
    shown = [row for row in table.rows if not row.refused]
    title = (
        f"{table.config.name}: {comparison.episodes} episodes, evaluation seed {comparison.seed}, "
        f"speed mode {table.config.simulation.speed_mode}; mean [95 % interval]"
    )
    header = ["", *metrics, "interval over"]
    rows = [
        [row.contender.name, *(show(row.means[name]) for name in metrics), row.over]
        for row in shown
    ]
    notes = [_refusal(row) for row in table.rows if row.refused]
    notes += [
        f"{row.contender.name}: {describe(row.warnings)}" for row in shown if row.warnings.total
    ]
    return Section(title, header, rows, notes)


def _improvement(comparison: Comparison, tables: Sequence[Table], metric: str) -> Section:
    better = {"higher": "higher", "lower": "lower", None: "more"}[METRICS[metric].better]
    where = "all scenarios" if len(tables) > 1 else tables[0].config.name
    title = f"{where}: probability that the row has {better} {metric} than the column"
    chances = comparison.improvement(metric, tables)
    names = [row.contender.name for row in tables[0].rows]
    header = ["", *(f"[{number}]" for number in range(1, len(names) + 1))]
    rows = [
        [f"[{number}] {name}", *map(show, row)]
        for number, (name, row) in enumerate(zip(names, chances, strict=True), start=1)
    ]
    if len(tables) == 1:
        header.insert(1, f"interquartile mean of {metric}")
        for cells, row in zip(rows, tables[0].rows, strict=True):
            cells.insert(1, UNDEFINED if row.refused else show(row.interquartile_means[metric]))
    return Section(title, header, rows)


def _refusal(row: Row) -> str:
    reason = str(row.refused)
    name = row.contender.name
    return reason if reason.startswith(name) else f"{name}: {reason}"


def show(estimate: Estimate | None) -> str:
    """``1.234 [1.2, 1.3]``, or ``-`` of what is not defined."""
    if estimate is None or math.isnan(estimate.value):
        return UNDEFINED
    value, low, high = (_number(one) for one in estimate)
    return f"{value} [{low}, {high}]"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value + 0.0:.4g}"


# JSON -------------------------------------------------------------------------


def _json_row(row: Row) -> dict[str, Any]:
    who: dict[str, Any] = {
        "controller": row.contender.name,
        "runs": row.contender.runs,
        "training_seeds": row.contender.seeds,
    }
    if row.refused:
        return {**who, "refused": row.refused}
    return {
        **who,
        "intervals_over": row.over,
        "sumo_warnings": row.warnings.summary(),
        "mean": {name: known(one.value) for name, one in row.means.items()},
        "mean_95": _json_intervals(row.means),
        "interquartile_mean": {
            name: known(one.value) for name, one in row.interquartile_means.items()
        },
        "interquartile_mean_95": _json_intervals(row.interquartile_means),
        "scores": {
            name: [[known(score) for score in seed] for seed in scores.tolist()]
            for name, scores in row.scores.items()
        },
    }


def _json_intervals(estimates: dict[str, Estimate]) -> dict[str, list[float | None]]:
    return {name: [known(one.low), known(one.high)] for name, one in estimates.items()}


def _json_improvement(
    comparison: Comparison, tables: Sequence[Table], metric: str
) -> dict[str, Any]:
    chances = comparison.improvement(metric, tables)
    return {
        "metric": metric,
        "better": METRICS[metric].better,
        "controllers": [row.contender.name for row in tables[0].rows],
        "probability": [[None if p is None else known(p.value) for p in row] for row in chances],
        "intervals_95": [
            [None if p is None else [known(p.low), known(p.high)] for p in row] for row in chances
        ],
    }
