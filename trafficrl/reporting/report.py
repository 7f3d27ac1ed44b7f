"""Drives runs and controllers, and gathers what a report shows of them."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from shutil import which
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from trafficrl.config import ScenarioConfig
from trafficrl.errors import TrafficRLError
from trafficrl.evaluation.carry import carry, task
from trafficrl.evaluation.compare import (
    Contender,
    compare,
    find_contenders,
    scenarios_to_drive,
)
from trafficrl.evaluation.evaluate import run_episodes
from trafficrl.evaluation.sections import Section
from trafficrl.evaluation.tables import KEY_METRICS, sections
from trafficrl.evaluation.trajectory import Trajectory
from trafficrl.plots import (
    find_route,
    horizon_error,
    learning_curves,
    model_error,
    time_space,
    vehicle_series,
)
from trafficrl.plots.files import save
from trafficrl.rendering import Scene, display, film_file, pace, replay
from trafficrl.reporting.facts import RunFacts, facts_of
from trafficrl.training.run_directory import RunDirectory

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLIP_SECONDS = 10.0
CLIP_SPEED = 5.0  # s of traffic in one of the clip


@dataclass(frozen=True)
class Options:
    """How a report is made."""

    controllers: Sequence[str] = ("idm", "idm:noise=0.2")  # beside the runs
    episodes: int = 5
    seed: int = 0
    checkpoint: str = "best"
    clip: bool = True


@dataclass(frozen=True)
class Picture:
    """A figure and what is to be seen in it."""

    caption: str
    svg: bytes


@dataclass
class TaskReport:
    """The runs of one task, beside controllers that were not trained."""

    config: ScenarioConfig
    runs: list[RunFacts]
    tables: list[Section]
    pictures: list[Picture] = field(default_factory=list)
    clip: bytes | None = None  # an MP4
    clip_caption: str = ""  # or why there is none


@dataclass
class Report:
    """A part for each task."""

    tasks: list[TaskReport]
    options: Options
    notes: list[str]


def make_report(
    runs: Sequence[RunDirectory],
    options: Options,
    on_start: Callable[[str], None] = lambda doing: None,
) -> Report:
    """Evaluate runs and controllers on the tasks of the runs and draw what is to be seen.

    Raises ``TrafficRLError`` where a run has nothing to show yet.
    """
    notes: list[str] = []
    by_task: dict[str, list[RunDirectory]] = {}
    for run in runs:
        by_task.setdefault(str(task(run.scenario())), []).append(run)
    tasks = [_report_task(group, options, notes, on_start) for group in by_task.values()]
    return Report(tasks, options, notes)


def _report_task(
    runs: Sequence[RunDirectory],
    options: Options,
    notes: list[str],
    on_start: Callable[[str], None],
) -> TaskReport:
    facts = [facts_of(run) for run in runs]
    texts = [*(str(run.path) for run in runs), *options.controllers]
    contenders, left_out = find_contenders(texts, options.checkpoint)
    notes += left_out
    [config] = scenarios_to_drive(contenders, [], [])

    def tell(contender: Contender, scenario: ScenarioConfig) -> None:
        on_start(f"{scenario.name}: evaluating {contender.name}")

    comparison = compare(
        contenders, [config], episodes=options.episodes, seed=options.seed, on_start=tell
    )
    part = TaskReport(config, facts, sections(comparison, KEY_METRICS))
    on_start(f"{config.name}: drawing")
    part.pictures += _of_training(runs)
    driven = [one for one, row in zip(contenders, comparison.tables[0].rows, strict=True)
              if row.refused is None]  # fmt: skip
    trajectories = {one.name: _episode(one, config, options.seed) for one in driven}
    part.pictures += _of_episodes(trajectories)
    learned = next(one for one in driven if one.trained_on is not None)
    on_start(f"{config.name}: filming {learned.name}")
    part.clip_caption = _clip(part, learned, trajectories[learned.name], options)
    return part


def _of_training(runs: Sequence[RunDirectory]) -> list[Picture]:
    """Curves, and errors of the models where there are any."""
    captions: list[tuple[str, Callable[[Sequence[RunDirectory]], Figure]]] = [
        ("Validated return over training; intervals of 95 % over training seeds.", learning_curves),
        ("Held-out error of the dynamics models, MSE over variance, over training.", model_error),
        ("Held-out error by how many steps the models look ahead.", horizon_error),
    ]
    pictures = []
    for caption, draw in captions:
        try:
            pictures.append(_picture(caption, draw(runs)))
        except TrafficRLError:  # nothing logged of it: no validation yet, or no model at all
            continue
    return pictures


def _of_episodes(trajectories: dict[str, Trajectory]) -> list[Picture]:
    first, own = next(iter(trajectories.items()))
    route = find_route(list(trajectories.values()))
    diagram = time_space(list(trajectories.values()), list(trajectories), route)
    return [
        _picture("Position over time in the first evaluation episode.", diagram),
        _picture(f"Vehicles in the same episode, driven by {first}.", vehicle_series(own)),
    ]


def _picture(caption: str, figure: Figure) -> Picture:
    stream = io.BytesIO()
    save(figure, stream, ".svg")
    return Picture(caption, stream.getvalue())


def _driven_in(contender: Contender, config: ScenarioConfig) -> ScenarioConfig:
    return config if contender.trained_on is None else carry(contender.trained_on, config)


def _episode(contender: Contender, config: ScenarioConfig, seed: int) -> Trajectory:
    """The first one, driven by the first training seed."""
    found: list[Trajectory] = []
    run_episodes(
        contender.drivers[0],
        _driven_in(contender, config),
        episodes=1,
        seed=seed,
        places=True,
        on_episode=found.append,
    )
    return found[0]


def _clip(part: TaskReport, learned: Contender, trajectory: Trajectory, options: Options) -> str:
    """Film the beginning of the first episode into ``part``; its caption, or why there is none."""
    if not options.clip:
        return "No clip was asked for."
    if find_spec("imageio_ffmpeg") is None and which("ffmpeg") is None:
        return "There is no clip, as the extra 'video' is not installed."
    every, fps = pace(trajectory.step_length, CLIP_SPEED)
    size = (1280, 720)
    with TemporaryDirectory(prefix="trafficrl-report-") as folder:
        path = Path(folder) / "clip.mp4"
        try:
            with display(size), film_file(path, fps) as film:
                replay(
                    learned.drivers[0],
                    _driven_in(learned, part.config),
                    trajectory,
                    Scene(graph=True, seconds=CLIP_SECONDS * CLIP_SPEED),
                    seed=options.seed,
                    episode=0,
                    size=size,
                    film=film,
                    every=every,
                )
        except TrafficRLError as error:  # no screen: all else is worth its page
            return f"There is no clip: {error}."
        part.clip = path.read_bytes()
    return (
        f"The first evaluation episode, driven by {learned.name}, {CLIP_SPEED:g} times as fast "
        "as on the road, with the links between vehicles that communicate."
    )
