"""``trafficrl plot``: a subcommand for each picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from .driving_options import DRIVING, DrivingChoice, driving_options
from .numbers import FiniteRange
from .picture_options import picture_options

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from trafficrl.evaluation.trajectory import Trajectory
    from trafficrl.training.run_directory import RunDirectory

_drivers_argument = click.argument("runs", nargs=-1, metavar="[RUN_OR_CONTROLLER]...")
_runs_argument = click.argument("runs", nargs=-1, required=True, metavar="RUN...")
_files_option = click.option(
    "--trajectories",
    "files",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Instead of driving, what `evaluate --trajectories` wrote (.csv, .parquet); repeatable",
)


@click.group()
def plot() -> None:
    """Draw pictures as PNG, PDF or SVG (extra 'plot')."""


@plot.command("time-space")
@_drivers_argument
@_files_option
@click.option(
    "--route",
    metavar="'EDGE EDGE ...'",
    help="Positions along these edges  [default: the course, or the edges driven most]",
)
@driving_options
@picture_options
def time_space_command(
    runs: tuple[str, ...], files: tuple[Path, ...], route: str | None, driving: DrivingChoice
) -> Figure:
    """Position over time, coloured by speed; a panel for each controller or file."""
    from trafficrl.plots import find_route, time_space
    from trafficrl.plots.style import set_title

    trajectories, labels, title = _episodes(runs, files, driving)
    found = find_route(trajectories, None if route is None else route.split())
    if found is not None and route is None:
        click.echo(f"route: {' '.join(found.edges)} (driven most; --route takes another)")
    figure = time_space(trajectories, labels, found)
    set_title(figure, title)
    return figure


@plot.command("vehicles")
@_drivers_argument
@_files_option
@click.option("--only", metavar="A,B,...", help="Vehicles to show, such as cav_0,veh_3")
@driving_options
@picture_options
def vehicles_command(
    runs: tuple[str, ...], files: tuple[Path, ...], only: str | None, driving: DrivingChoice
) -> Figure:
    """Speed, headway and acceleration of each vehicle over time, of one controller or file."""
    from trafficrl.plots import vehicle_series
    from trafficrl.plots.style import set_title

    if len(runs) + len(files) > 1:
        raise click.UsageError("one controller, or one file of --trajectories, at a time")
    (trajectory,), (label,), title = _episodes(runs, files, driving)
    figure = vehicle_series(trajectory, None if only is None else only.split(","))
    set_title(figure, f"{label}: {title}" if title else label)
    return figure


@plot.command("learning")
@_runs_argument
@click.option(
    "--metric",
    default="validation_return",
    show_default=True,
    help="A column of metrics.jsonl",
)
@picture_options
def learning_command(runs: tuple[str, ...], metric: str) -> Figure:
    """Learning curves: runs that differ in their seed alone make one, with an interval."""
    from trafficrl.plots import learning_curves
    from trafficrl.plots.curves import that_log

    found = _find(runs)
    _note_others(found, that_log(found, metric), f"nothing is logged as '{metric}'")
    return learning_curves(found, metric)


@plot.command("model-error")
@_runs_argument
@picture_options
def model_error_command(runs: tuple[str, ...]) -> Figure:
    """State and reward errors of dynamics models over training."""
    from trafficrl.plots import model_error

    return model_error(_with_models(runs))


@plot.command("horizon")
@_runs_argument
@picture_options
def horizon_command(runs: tuple[str, ...]) -> Figure:
    """Errors of dynamics models by how far they look ahead."""
    from trafficrl.plots import horizon_error

    return horizon_error(_with_models(runs))


@plot.command("transfer")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@picture_options
def transfer_command(directory: Path) -> Figure:
    """The heat map of what `trafficrl transfer --output DIR` wrote."""
    from trafficrl.evaluation.transfer_files import read_matrix
    from trafficrl.plots import heat_map

    return heat_map(read_matrix(directory))


@plot.command("graph")
@click.argument("what", metavar="RUN_OR_SCENARIO")
@click.option(
    "--controller",
    metavar="NAME",
    default="idm",
    show_default=True,
    help="Who drives in a scenario",
)
@click.option("--vehicle", metavar="NAME", help="Whose neighbours are shown  [default: the first]")
@click.option("--hops", type=click.IntRange(0), default=2, show_default=True, help="kappa")
@click.option(
    "--time",
    type=FiniteRange(0.0),
    default=10.0,
    show_default=True,
    help="Seconds into the episode",
)
@driving_options
@picture_options
def graph_command(
    what: str,
    controller: str,
    vehicle: str | None,
    hops: int,
    time: float,
    driving: DrivingChoice,
) -> Figure:
    """The vehicle graph on the road, with the vehicles within --hops of one."""
    from dataclasses import replace

    from trafficrl.evaluation.snapshot import take_snapshot
    from trafficrl.plots import vehicle_graph
    from trafficrl.plots.style import set_title

    if Path(what).is_dir():
        _refuse(["controller"], f"has no effect: the run {what} drives")
    else:
        _refuse(["scenario"], f"has no effect: {what} is the scenario")
        driving, what = replace(driving, scenario=what), controller
    (drive,) = driving.drives([what])
    snapshot = take_snapshot(
        drive.driver, drive.config, time=time, seed=driving.seed, episode=driving.episode
    )
    figure = vehicle_graph(snapshot, vehicle, hops)
    set_title(figure, f"{drive.config.name}, {drive.label}, after {snapshot.time:g} s")
    return figure


def _episodes(
    runs: Sequence[str], files: Sequence[Path], driving: DrivingChoice
) -> tuple[list[Trajectory], list[str], str]:
    """What is driven or read, with a label each, and a title of all."""
    from trafficrl.evaluation.trajectory_reader import read_trajectory

    if bool(runs) == bool(files):
        raise click.UsageError("give either runs and controllers, or --trajectories")
    if files:
        _refuse(DRIVING, "has no effect on --trajectories, which are driven already")
        names = [file.name for file in files]
        labels = [one.name if names.count(one.name) == 1 else str(one) for one in files]
        return [read_trajectory(file, driving.episode) for file in files], labels, ""
    drives = driving.drives(runs)
    title = f"{drives[0].config.name}, episode {driving.episode} of seed {driving.seed}"
    return [driving.trajectory(one) for one in drives], [one.label for one in drives], title


def _refuse(names: Sequence[str], why: str) -> None:
    """A usage error if one of the parameters was given."""
    context = click.get_current_context()
    for parameter in context.command.params:
        given = context.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
        if given and parameter.name in names:
            raise click.UsageError(f"{parameter.opts[0]} {why}")


def _find(texts: Sequence[str]) -> list[RunDirectory]:
    """The runs, after a word on those that will be left out."""
    from trafficrl.evaluation.groups import find_runs, group_runs

    runs = find_runs(texts)
    for note in group_runs(runs)[1]:
        click.echo(f"note: {note}", err=True)
    return runs


def _with_models(texts: Sequence[str]) -> list[RunDirectory]:
    from trafficrl.plots.model_error import that_have_models

    runs = _find(texts)
    having = next(iter(that_have_models(runs).values()))
    _note_others(runs, having, "no errors of a dynamics model are logged")
    return having


def _note_others(runs: Sequence[RunDirectory], kept: Sequence[RunDirectory], reason: str) -> None:
    for run in runs:
        if run not in kept:
            click.echo(f"note: {run.path} is left out: {reason}", err=True)
