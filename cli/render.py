"""``trafficrl render``."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .driving_options import Drive, DrivingChoice, driving_options
from .numbers import FiniteRange

if TYPE_CHECKING:
    from trafficrl.evaluation.trajectory import Trajectory
    from trafficrl.rendering import Film

CLIP = 10.0  # s of video


class Size(click.ParamType[tuple[int, int]]):
    """Width and height of a picture, such as 1280x720."""

    name = "WxH"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        parts = re.fullmatch(r"([0-9]{1,6})x([0-9]{1,6})", str(value))
        if parts is None:
            self.fail(f"'{value}' is not a size such as 1280x720", param, ctx)
        width, height = map(int, parts.groups())
        if not (1280 <= width <= 4096 and 240 <= height <= 4096):
            self.fail(f"'{value}' is not from 1280x240 to 4096x4096", param, ctx)
        return width, height


@click.command()
@click.argument("run")
@driving_options
@click.option(
    "--color",
    type=click.Choice(["speed", "acceleration", "reward", "policy"]),
    default="speed",
    show_default=True,
    help="What vehicles are coloured by",
)
@click.option("--graph", is_flag=True, help="Draw links between vehicles that communicate")
@click.option(
    "--follow",
    metavar="VEHICLE",
    help="Keep the camera on one such as cav_3, on all, or on the network  "
    "[default: all on an open road, else network]",
)
@click.option("--start", type=FiniteRange(0), default=0.0, metavar="S", help="Skip so many seconds")
@click.option(
    "--delay-ms",
    type=FiniteRange(0),
    metavar="MS",
    help="How long a simulation step takes on the screen, at least  [default: as on the road]",
)
@click.option(
    "--video",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Make an .mp4 or a .gif instead, without a screen",
)
@click.option(
    "--frames",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Make a folder of pictures instead, without a screen",
)
@click.option(
    "--speed",
    type=FiniteRange(0, min_open=True),
    default=5.0,
    show_default=True,
    metavar="X",
    help="Seconds of traffic in one of the video",
)
@click.option(
    "--seconds",
    type=FiniteRange(0, min_open=True),
    metavar="S",
    help=f"Length of the video  [default: {CLIP:g}]",
)
@click.option("--size", type=Size(), default="1280x720", show_default=True, help="In pixels")
def render(
    run: str,
    driving: DrivingChoice,
    color: str,
    graph: bool,
    follow: str | None,
    start: float,
    delay_ms: float | None,
    video: Path | None,
    frames: Path | None,
    speed: float,
    seconds: float | None,
    size: tuple[int, int],
) -> None:
    """Show an evaluation episode of RUN, or of a controller such as idm, in sumo-gui.

    RUN is what `trafficrl evaluate` takes, and the episode is one of those that
    it drives with the same --seed, to the last bit. With --video or --frames no
    screen is needed.
    """
    if video is not None and frames is not None:
        raise click.UsageError("give one of --video and --frames")
    filmed = video is not None or frames is not None
    if not filmed and not os.environ.get("DISPLAY"):
        raise click.UsageError("there is no display for sumo-gui (make a --video instead)")

    from trafficrl.rendering import Scene, display, film_file, frame_folder, pace, replay
    from trafficrl.training.run_directory import RunDirectory

    [drive] = driving.drives([run])
    step = drive.config.simulation.step_s
    every, fps = pace(step, speed)
    if filmed and seconds is None:
        seconds = CLIP
    scene = Scene(color, graph, follow, start, None if seconds is None else seconds * speed)
    config = scene.shortened(drive.config)
    differs_at = None
    with ExitStack() as stack:
        # Opened before anything is driven, which takes a while.
        film: Film | None = None
        if video is not None:
            film = stack.enter_context(film_file(video, fps))
        elif frames is not None:
            film = stack.enter_context(frame_folder(frames))
        if filmed:
            stack.enter_context(display(size))
        trajectory = driving.trajectory(Drive(drive.label, drive.driver, config))
        steps = scene.steps(trajectory)
        with _progress(len(steps)) as advance, _closing_is_fine(unless=filmed):
            differs_at = replay(
                drive.driver,
                config,
                trajectory,
                scene,
                seed=driving.seed,
                episode=driving.episode,
                size=size,
                delay=0.0 if filmed else (step if delay_ms is None else delay_ms / 1000.0),
                film=film,
                every=every,
                on_step=advance,
            )
    # A folder of runs stands for its newest one: say which.
    name = str(RunDirectory.open(Path(run)).path) if Path(run).exists() else run
    _tell(f"{name} on {config.name}", trajectory, steps)
    if differs_at is not None:
        click.echo(
            f"note: from {differs_at * step:g} s on this is not what evaluate drives", err=True
        )
    for path in filter(None, (video, frames)):
        click.echo(f"wrote {path}")


@contextmanager
def _closing_is_fine(*, unless: bool) -> Iterator[None]:
    """Somebody who has seen enough closes the window, which ends nothing but the show."""
    from trafficrl.errors import ConnectionLost

    try:
        yield
    except ConnectionLost:
        if unless:
            raise
        click.echo("the window was closed", err=True)


@contextmanager
def _progress(steps: int) -> Iterator[Callable[[], None]]:
    """A bar over the steps that are shown, on a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("rendering", total=steps)
        yield lambda: bar.advance(task)


def _tell(what: str, trajectory: Trajectory, steps: range) -> None:
    """What was to be seen."""
    import numpy as np

    shown = slice(steps.start, steps.stop)
    speed = np.nanmean(trajectory.speed[shown])
    collided = int(trajectory.collided[shown].any(axis=0).sum())
    first, last = (t * trajectory.step_length for t in (steps.start, steps.stop))
    click.echo(
        f"{what}, {first:g} to {last:g} s: mean speed {speed:.2f} m/s "
        f"(spread {np.nanstd(trajectory.speed[shown]):.2f}), {collided} vehicles collided"
    )
