"""``trafficrl bench``."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--rounds", type=click.IntRange(1), default=7, show_default=True, help="Times that all is timed"
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write bench.json and bench.md there",
)
@click.option("--list", "list_only", is_flag=True, help="Only name the benchmarks")
def bench(names: tuple[str, ...], rounds: int, output: Path | None, list_only: bool) -> None:
    """Measure how fast trafficrl is on this machine: benchmarks NAME, all without one.

    Figures are medians over rounds. What is compared is timed in turns, and ratios
    are taken within each round; still, a machine with nothing else to do is better.
    """
    from trafficrl.benchmarks.running import GROUPS, misses, run_groups
    from trafficrl.benchmarks.tables import as_markdown
    from trafficrl.evaluation.files import output_directory, output_file

    if list_only:
        click.echo("\n".join(GROUPS))
        return
    for name in names:
        if name not in GROUPS:
            raise click.UsageError(f"no benchmark '{name}' (one of {', '.join(GROUPS)})")
    chosen = names or tuple(GROUPS)
    number = iter(range(1, len(chosen) + 1))

    def started(name: str) -> None:
        click.echo(f"{next(number)}/{len(chosen)} {name}", err=True)

    if output is None:
        content = run_groups(chosen, rounds, started)
    else:
        with (
            output_directory(output),
            output_file(output / "bench.json") as figures,
            output_file(output / "bench.md") as table,
        ):
            content = run_groups(chosen, rounds, started)
            figures.write(json.dumps(content, indent=2) + "\n")
            table.write(as_markdown(content))
    click.echo(as_markdown(content), nl=False)
    missed = misses(content)
    if missed:
        click.echo(f"targets not met: {'; '.join(missed)}", err=True)
