"""``trafficrl transfer``."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .evaluation_options import assign_option, episode_options

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
@episode_options(episodes=5)
@click.option("--metric", default="mean_speed_mps", show_default=True, help="Figure to compare")
@assign_option
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
    from trafficrl.evaluation.transfer import transfer as matrix_of
    from trafficrl.evaluation.transfer_files import as_text, matrix_files

    # All files open before hours of simulation; each appears when all went well.
    with nullcontext() if output is None else matrix_files(output) as write:
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
        click.echo(as_text(matrix), nl=False)
        files = [] if write is None else write(matrix)
    for file in files:
        click.echo(f"wrote {file}")


def _show(cell: Cell) -> None:
    """Progress, apart from the result."""
    outcome = cell.reason if cell.value is None else f"{cell.value:.4g}"
    click.echo(f"{cell.controller} in {cell.scenario}: {outcome}", err=True)
