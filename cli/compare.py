"""``trafficrl compare``."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .evaluation_options import episode_options, set_option
from .progress_line import ProgressLine, progress_line, quiet_option

if TYPE_CHECKING:
    from trafficrl.config import ScenarioConfig
    from trafficrl.evaluation.compare import Contender
    from trafficrl.evaluation.trajectory import Trajectory


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN_OR_CONTROLLER...")
@click.option(
    "--scenario",
    "scenarios",
    multiple=True,
    metavar="S",
    help="Scenario to drive in; may be repeated  [default: the runs' own]",
)
@episode_options(episodes=10)
@set_option
@click.option(
    "--metrics",
    metavar="A,B,...",
    help="Metrics to show; by the first one it is said who is better  [default: key figures]",
)
@click.option(
    "--output",
    "outputs",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Also write all metrics: a directory, or a .csv, .json or .md file; may be repeated",
)
@quiet_option
def compare(
    runs: tuple[str, ...],
    scenarios: tuple[str, ...],
    episodes: int,
    seed: int,
    checkpoint: str,
    overrides: tuple[str, ...],
    metrics: str | None,
    outputs: tuple[Path, ...],
    quiet: bool,
) -> None:
    """Compare runs and controllers on the same evaluation episodes.

    Each is what `trafficrl evaluate` takes, or a pattern such as 'runs/ring/*'.
    Runs that differ in their training seed alone make one row, whose intervals
    are over the seeds.
    """
    from trafficrl.evaluation.compare import compare, find_contenders, scenarios_to_drive
    from trafficrl.evaluation.files import output_file
    from trafficrl.evaluation.tables import FORMATS, KEY_METRICS, as_text, output_paths

    shown = KEY_METRICS if metrics is None else _known_metrics(metrics)
    contenders, notes = find_contenders(runs, checkpoint)
    configs = scenarios_to_drive(contenders, scenarios, overrides)
    for note in notes:
        click.echo(f"note: {note}", err=True)
    with ExitStack() as files:
        # All open before minutes of simulation; each appears when all went well.
        named = [files.enter_context(output_paths(output)) for output in outputs]
        paths = dict.fromkeys(path for some in named for path in some)
        streams = [
            (FORMATS[path.suffix.lower()], files.enter_context(output_file(path))) for path in paths
        ]
        drives = sum(len(one.drivers) for one in contenders) * len(configs)
        with progress_line(drives * episodes, quiet=quiet) as line:
            count = _Count(line, episodes)
            comparison = compare(
                contenders,
                configs,
                episodes=episodes,
                seed=seed,
                overrides=overrides,
                on_start=count.start,
                on_episode=count.episode,
            )
        for render, stream in streams:
            stream.write(render(comparison, shown))
    click.echo(as_text(comparison, shown), nl=False)


def _known_metrics(text: str) -> list[str]:
    from trafficrl.evaluation.metrics import METRICS
    from trafficrl.resources import closest

    names = text.split(",")
    for name in names:
        if name not in METRICS:
            nearest = ", ".join(closest(name, list(METRICS))[:5])
            raise click.BadParameter(f"no metric is called '{name}' (there are {nearest}, ...)")
    return names


class _Count:
    """Episodes that are over, those of contenders that cannot drive included."""

    def __init__(self, line: ProgressLine, episodes: int) -> None:
        self._line = line
        self._episodes = episodes  # of each driver
        self._done = self._begun = 0

    def start(self, contender: Contender, scenario: ScenarioConfig) -> None:
        self._done = self._begun
        self._begun += len(contender.drivers) * self._episodes
        self._line.done(self._done)
        self._line.doing(f"{contender.name} on {scenario.name}")

    def episode(self, trajectory: Trajectory) -> None:
        self._done += 1
        self._line.done(self._done)
