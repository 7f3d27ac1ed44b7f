"""``trafficrl bench``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--rounds", type=click.IntRange(1), default=7, show_default=True, help="Times that all is timed"
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write bench.json and bench.md there, after each benchmark",
)
@click.option("--list", "list_only", is_flag=True, help="Only name the benchmarks")
def bench(names: tuple[str, ...], rounds: int, output: Path | None, list_only: bool) -> None:
    """Measure how fast trafficrl is on this machine: benchmarks NAME, all without one.

    Figures are medians over rounds. What is compared is timed in turns, and ratios
    are taken within each round; still, a machine with nothing else to do is better.
    Targets that are not met are told, and are no failure.
    """
    from trafficrl.benchmarks.running import GROUPS, failures, misses, run_groups
    from trafficrl.benchmarks.tables import as_markdown
    from trafficrl.errors import TrafficRLError
    from trafficrl.evaluation.files import output_directory

    for name in names:
        if name not in GROUPS:
            raise click.UsageError(f"no benchmark '{name}' (one of {', '.join(GROUPS)})")
    chosen = names or tuple(GROUPS)
    if list_only:
        click.echo("\n".join(chosen))
        return
    number = iter(range(1, len(chosen) + 1))

    def started(name: str) -> None:
        click.echo(f"{next(number)}/{len(chosen)} {name}", err=True)

    content: Mapping[str, Any] = {}
    with nullcontext() if output is None else output_directory(output):
        for content in run_groups(chosen, rounds, started):
            if output is not None:  # an hour's figures should not hang on the last of them
                _write(output / "bench.json", json.dumps(content, indent=2) + "\n")
                _write(output / "bench.md", as_markdown(content))
    click.echo(as_markdown(content), nl=False)
    if missed := misses(content):
        click.echo(f"targets not met: {'; '.join(missed)}", err=True)
    if failed := failures(content):
        raise TrafficRLError(f"failed: {'; '.join(failed)}")


def _write(path: Path, text: str) -> None:
    from trafficrl.evaluation.files import output_file

    with output_file(path) as file:
        file.write(text)
