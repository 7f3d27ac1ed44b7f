"""What is seen of a training: one display for each option, all with the same methods."""

from __future__ import annotations

import functools
import json
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .main import PROGRAM

if TYPE_CHECKING:
    from trafficrl.config import ScenarioConfig
    from trafficrl.training.progress import Phase, Progress
    from trafficrl.training.trainer import Trainer

VALIDATION = "validation_"  # begins the keys of a validation in metrics.jsonl
FIGURES = "return {return:,.6g}, speed {mean_speed_mps:.2f} m/s (spread {speed_std_mps:.2f})"


@dataclass(frozen=True)
class Start:
    """A training that begins or goes on."""

    config: ScenarioConfig
    path: Path
    resumed_at: int  # steps, 0 for a new one

    def lines(self) -> list[str]:
        """For people."""
        training = self.config.training
        told = [
            f"{self.config.name}: {self.config.n_agents} learning vehicles, {training.algorithm}, "
            f"seed {training.seed}, {training.total_steps:,} simulation steps "
            f"over {counted(training.replicas * training.simulations, 'replica')}",
            f"run directory: {self.path}",
        ]
        if self.resumed_at >= training.total_steps:
            return [*told, f"complete: all {self.resumed_at:,} steps were done before"]
        return [*told, f"resumed at {self.resumed_at:,} steps"] if self.resumed_at else told

    def validations(self) -> Iterator[tuple[int, dict[str, float]]]:
        """Steps and figures of those before it was resumed."""
        file = self.path / "metrics.jsonl"
        for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
            row = json.loads(line)
            figures = {key.removeprefix(VALIDATION): row[key] for key in row if VALIDATION in key}
            if figures:
                yield row["sim_steps"], figures


def counted(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


@dataclass(frozen=True)
class End:
    """A training that has been saved, complete or not; its simulation is closed."""

    trainer: Trainer

    @property
    def path(self) -> Path:
        return self.trainer.run.path

    def lines(self) -> list[str]:
        """For people."""
        from trafficrl.simulation.sumo_warnings import describe

        told, path = [], shlex.quote(str(self.path))
        warnings = self.trainer.warnings
        if warnings.tally.total:
            told.append(describe(warnings.tally, warnings.file))
        if lost := self.trainer.fleet.lost:
            were = "worker was" if lost == 1 else "workers were"
            told.append(f"{lost} lost {were} replaced")
        if given_up := self.trainer.fleet.given_up:
            told.append(f"episodes were given up {given_up} times: this run does not repeat")
        if self.trainer.stopped_early:
            told.append(f"stopped at {self.trainer.sim_steps:,} steps and saved; go on with:")
            told.append(f"  {PROGRAM} train --resume {path}")
        if self.trainer.run.best.exists():
            told += ["evaluate the best policy with:", f"  {PROGRAM} evaluate {path}"]
        return told


class Display:
    """Shows nothing but what was lost.

    Entered before anything can fail, left when all is done or has failed.
    """

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def started(self, start: Start) -> None:
        """The run directory is there."""

    def phase(self, phase: Phase) -> None:
        """This is what is done now."""

    def updated(self, progress: Progress) -> None:
        """After every update. Lost workers are told on stderr: they are no part of the results."""
        for loss in progress.workers_lost:
            click.echo(f"warning: {loss}", err=True)

    def stopping(self) -> None:
        """An interrupt: the running update is the last. Called from a signal handler."""
        click.echo("\nstopping after this update (once more: at once)", err=True)

    def finished(self, end: End) -> None:
        """After the last update."""


class Quiet(Display):
    """The run directory, at the end: what a script needs."""

    def finished(self, end: End) -> None:
        click.echo(str(end.path))


class Lines(Display):
    """A line for each validation, under a progress bar where there is a terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        # Rich takes a pipe for a terminal where variables such as FORCE_COLOR say so.
        terminal = sys.stdout.isatty()
        self._console = Console(soft_wrap=True, force_terminal=terminal)
        self._bar = Bar(
            TextColumn("{task.completed:>9,.0f} steps"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[rate]:>6,.0f}/s"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=self._console,
            disable=not terminal,
        )
        self._task = self._bar.add_task("", total=None, rate=0.0, figures="")

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def started(self, start: Start) -> None:
        for line in start.lines():
            click.echo(line)
        total = start.config.training.total_steps
        self._bar.update(self._task, total=total, completed=start.resumed_at)
        self._bar.start()

    def updated(self, progress: Progress) -> None:
        super().updated(progress)
        figures = (
            f"speed {progress.metrics['mean_speed_mps']:.2f} m/s  "
            f"return {progress.metrics['return_per_step']:.3g} a step"
        )
        self._bar.update(
            self._task,
            completed=progress.sim_steps,
            rate=progress.steps_per_second,
            figures=figures,
        )
        if progress.validation is not None:
            line = validation_line(progress, progress.validation)
            self._console.print(line, highlight=False, markup=False)

    def finished(self, end: End) -> None:
        self._bar.stop()
        for line in end.lines():
            click.echo(line)


class Verbose(Display):
    """Every update with all its figures and times, and SUMO's warnings."""

    def started(self, start: Start) -> None:
        for line in start.lines():
            click.echo(line)

    def updated(self, progress: Progress) -> None:
        from trafficrl.simulation.sumo_warnings import where

        super().updated(progress)
        for row in progress.warnings:
            if "text" in row:
                click.echo(f"warning of SUMO ({where(row)}): {row['text']}")
            else:
                click.echo(f"warnings of SUMO, {row['kind']}: {row['note']}")
        seconds = ", ".join(f"{key} {value:.2f}" for key, value in progress.seconds.items())
        click.echo(
            f"{progress.sim_steps:>9,} steps  {progress.steps_per_second:>6,.0f}/s  "
            f"update {progress.iteration}: {seconds}"
        )
        click.echo(
            "  " + ", ".join(f"{key} {value:.5g}" for key, value in progress.metrics.items())
        )
        for episode in progress.episodes:
            figures = FIGURES.format_map(episode.row())
            click.echo(
                f"  episode {episode.episode} (replica {episode.replica}): {figures}, "
                f"collisions {episode.collisions}, overridden {episode.override_fraction:.1%}"
            )
        if progress.validation is not None:
            click.echo(validation_line(progress, progress.validation))

    def finished(self, end: End) -> None:
        for line in end.lines():
            click.echo(line)


def validation_line(progress: Progress, figures: Mapping[str, float]) -> str:
    """The figures of a validation, and when it was."""
    return (
        f"{progress.sim_steps:>9,} steps  {progress.steps_per_second:>6,.0f}/s  validation: "
        f"{FIGURES.format_map(figures)}, collisions {figures['collisions']:.3g}"
    )


def _watch() -> Display:
    from .watch import Watch

    return Watch()


def _log_json() -> Display:
    from .log_json import JsonLines

    return JsonLines()


DISPLAYS: dict[str, tuple[Callable[[], Display], str]] = {
    "--watch": (_watch, "Fill the terminal with the run, live"),
    "--quiet": (Quiet, "Print nothing but the run directory, at the end"),
    "--verbose": (Verbose, "Print all figures of every update, and SUMO's warnings"),
    "--log-json": (_log_json, "Print an event a line as JSON"),
}


def one_of(
    displays: dict[str, tuple[Callable[[], Any], str]], otherwise: Callable[[], Any]
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds an option for each display; the command gets the chosen one as ``display``."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(command)
        def wrapped(**arguments: Any) -> Any:
            chosen = [name for name in displays if arguments.pop(_parameter(name))]
            if len(chosen) > 1:
                raise click.UsageError(f"{' and '.join(chosen)} exclude one another")
            make = displays[chosen[0]][0] if chosen else otherwise
            return command(display=make(), **arguments)

        for name, (_, text) in reversed(displays.items()):
            wrapped = click.option(name, is_flag=True, help=text)(wrapped)
        return wrapped

    return decorate


def _parameter(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


display_options = one_of(DISPLAYS, Lines)
