"""Validation curves of runs as one CSV, and how soon each came near a reference.

    python benchmarks/learning_curves.py curves.csv --reference RUN RUN...

A run has come near when its validated return reaches 90 % of the last one of
the reference run; costs (negative returns) may be 1 / 0.9 times as high.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import click

FIELDS = ("run", "sim_steps", "return", "mean_speed_mps", "speed_std_mps", "collisions")


def validations(run: Path) -> list[dict[str, float]]:
    """The validations of a run, in order."""
    rows = []
    for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if "validation_return" in row:
            rows.append({key.removeprefix("validation_"): value for key, value in row.items()})
    return rows


def near(reference: float) -> float:
    """The return that counts as near the reference."""
    return 0.9 * reference if reference >= 0.0 else reference / 0.9


@click.command()
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("runs", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--reference", type=click.Path(exists=True, path_type=Path), help="A run to reach")
def main(output: Path, runs: tuple[Path, ...], reference: Path | None) -> None:
    """Write the validation curves of RUNS to OUTPUT."""
    with open(output, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, FIELDS, extrasaction="ignore")
        writer.writeheader()
        for run in runs:
            writer.writerows({"run": run.name, **row} for row in validations(run))
    if reference is None:
        return
    goal = near(validations(reference)[-1]["return"])
    click.echo(f"to reach {goal:,.6g}:")
    for run in runs:
        steps = [row["sim_steps"] for row in validations(run) if row["return"] >= goal]
        click.echo(f"  {run.name}: {f'{steps[0]:,} steps' if steps else 'not reached'}")


if __name__ == "__main__":
    main()
