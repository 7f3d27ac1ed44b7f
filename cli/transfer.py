"""``trafficrl transfer``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from trafficrl.evaluation.dealing import Assignment
    from trafficrl.evaluation.transfer import Cell

LISTS = "--scenarios"


class ListOptions(click.Command):
    """A command whose option ``--scenarios`` takes all words up to the next option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        words: list[str] = []
        listing = False
        for word in args:
            if word.startswith("-"):
                listing = word == LISTS
            elif listing and words[-1] != LISTS:
                words.append(LISTS)
            words.append(word)
        return super().parse_args(ctx, words)


@click.command(cls=ListOptions)
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option(
    LISTS,
    "scenarios",
    metavar="A B C ...",
    multiple=True,
    required=True,
    help="Scenarios to drive in, up to the next option: files or bundled names",
)
@click.option(
    "--baseline",
    "baselines",
    metavar="CONTROLLER",
    multiple=True,
    help="A controller beside idm, such as idm:noise=0.2; may be repeated",
)
@click.option("--episodes", type=click.IntRange(1), default=5, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--metric", default="mean_speed_mps", show_default=True, help="Figure to compare")
@click.option(
    "--checkpoint", type=click.Choice(["best", "latest"]), default="best", show_default=True
)
@click.option(
    "--assign",
    type=click.Choice(["shared", "slot", "position"]),
    help="How a run's policies are dealt to the vehicles  [default: shared, or by position]",
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Also write CSV, JSON, Markdown and a heat map (PNG, SVG; extra 'plot')",
)
def transfer(
    runs: tuple[str, ...],
    scenarios: tuple[str, ...],
    baselines: tuple[str, ...],
    episodes: int,
    seed: int,
    metric: str,
    checkpoint: str,
    assign: Assignment | None,
    output: Path | None,
) -> None:
    """Drive each RUN in each scenario, its own or not, with IDM beside it."""
    from trafficrl.evaluation.heat_map import require_matplotlib, write_heat_map
    from trafficrl.evaluation.transfer import as_text, write
    from trafficrl.evaluation.transfer import transfer as matrix_of

    if output is not None:
        require_matplotlib()  # before minutes of simulation, as that the directory can be made
        output.mkdir(parents=True, exist_ok=True)
    matrix = matrix_of(
        [*runs, "idm", *baselines],
        scenarios,
        episodes=episodes,
        seed=seed,
        metric=metric,
        checkpoint=checkpoint,
        assign=assign,
        on_cell=_show,
    )
    click.echo(as_text(matrix))
    if output is not None:
        for file in [*write(matrix, output), *write_heat_map(matrix, output)]:
            click.echo(f"wrote {file}")


def _show(cell: Cell) -> None:
    """Progress, apart from the result."""
    outcome = cell.reason if cell.value is None else f"{cell.value:.4g}"
    click.echo(f"{cell.controller} in {cell.scenario}: {outcome}", err=True)
