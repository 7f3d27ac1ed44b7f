"""``trafficrl report``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from .evaluation_options import episode_options


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("report.html"),
    show_default=True,
    metavar="FILE",
)
@click.option(
    "--controller",
    "controllers",
    multiple=True,
    default=("idm", "idm:noise=0.2"),
    show_default=True,
    metavar="C",
    help="Beside the runs; may be repeated",
)
@episode_options(episodes=5)
@click.option("--clip/--no-clip", default=True, show_default=True, help="Embed a video")
def report(
    runs: tuple[str, ...],
    output: Path,
    controllers: tuple[str, ...],
    episodes: int,
    seed: int,
    checkpoint: str,
    clip: bool,
) -> None:
    """Write one self-contained page on RUNs: what was trained, curves, figures, pictures.

    Runs that differ in their training seed alone are shown as one. Each task has a
    part of its own, with classical controllers beside the runs.
    """
    from trafficrl.evaluation.files import output_file
    from trafficrl.evaluation.groups import find_runs
    from trafficrl.plots.style import require_matplotlib
    from trafficrl.reporting import Options, as_html, make_report

    if output.suffix.lower() not in (".html", ".htm"):
        raise click.UsageError(f"--output {output}: the page is an .html file")
    require_matplotlib()
    options = Options(controllers, episodes, seed, checkpoint, clip)
    with output_file(output) as stream:
        stream.write(as_html(make_report(find_runs(runs), options, _tell)))
    click.echo(f"wrote {output}")


def _tell(doing: str) -> None:
    if sys.stderr.isatty():
        click.echo(doing, err=True)
