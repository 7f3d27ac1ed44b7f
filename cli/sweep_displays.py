"""What is seen of a sweep: one display for each option, all with the same methods."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from .displays import counted
from .log_json import tell
from .main import PROGRAM, error_message

if TYPE_CHECKING:
    from trafficrl.sweep.runner import News, Runner

COMPARED = 3  # of the best, in the command that is shown at the end


class Display:
    """Shows the directory, at the end: what a script needs."""

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def started(self, runner: Runner, jobs: int) -> None:
        """The sweep directory is there; ``jobs`` trainings run at once."""

    def told(self, runner: Runner, news: News) -> None:
        """A training has ended."""

    def stopping(self) -> None:
        """An interrupt: trainings save and end. Called from a signal handler."""
        click.echo("\nstopping the trainings (once more: at once)", err=True)

    def finished(self, runner: Runner) -> None:
        """Nothing runs any more; the results are written."""
        click.echo(str(runner.directory.path))


class Lines(Display):
    """A line for each training, under a progress bar where there is a terminal; a table."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
        )

        terminal = sys.stdout.isatty()
        self._console = Console(soft_wrap=True, force_terminal=terminal)
        self._bar = Progress(
            MofNCompleteColumn(),
            TextColumn("trainings"),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            console=self._console,
            disable=not terminal,
        )
        self._task = self._bar.add_task("", total=None)

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def started(self, runner: Runner, jobs: int) -> None:
        for line in heading(runner, jobs):
            click.echo(line)
        self._bar.update(self._task, total=runner.n_trainings, completed=runner.n_done)
        self._bar.start()

    def told(self, runner: Runner, news: News) -> None:
        from trafficrl.sweep.plan import show_point

        self._bar.update(self._task, completed=runner.n_done)
        figure = runner.plan.config.objective.figure
        good = news.event == "finished"
        what = f"{figure} {news.said:,.6g}" if good else f"{news.event}: {news.said}"
        total = f"{runner.n_trainings}"
        line = (
            f"{runner.n_done:>{len(total)}}/{total}  {news.trial.name} seed {news.seed}  {what}  "
            f"({', '.join(show_point(news.trial.point))})"
        )
        self._console.print(line, highlight=False, markup=False)

    def finished(self, runner: Runner) -> None:
        from trafficrl.sweep.table import section

        self._bar.stop()
        click.echo()
        click.echo(section(runner.plan, runner.trials).text())
        for line in next_commands(runner):
            click.echo(line)


class JsonLines(Display):
    """An object a line on stdout, and nothing else there."""

    def __exit__(self, *error: object) -> None:
        if isinstance(error[1], BaseException):
            with suppress(OSError):  # it may be stdout that cannot be written
                tell("error", message=error_message(error[1]))

    def started(self, runner: Runner, jobs: int) -> None:
        tell(
            "started",
            sweep=str(runner.directory.path),
            scenario=runner.plan.base.name,
            points=runner.plan.n_points,
            seeds=runner.plan.config.seeds,
            trainings=runner.n_trainings,
            done=runner.n_done,
            jobs=jobs,
        )

    def told(self, runner: Runner, news: News) -> None:
        tell(
            news.event,
            trial=news.trial.name,
            seed=news.seed,
            values=news.trial.point,
            done=runner.n_done,
            **{"score" if news.event == "finished" else "reason": news.said},
        )

    def finished(self, runner: Runner) -> None:
        from trafficrl.sweep.table import best

        found = best(runner.plan, runner.trials)
        tell(
            "stopped" if runner.stopped_early else "complete",
            sweep=str(runner.directory.path),
            done=runner.n_done,
            best=found and {"trial": found.name, "values": found.point, "score": found.score},
        )


def heading(runner: Runner, jobs: int) -> list[str]:
    """What is swept, for people."""
    plan = runner.plan
    points, seeds = counted(plan.n_points, "point"), counted(len(plan.config.seeds), "seed")
    lines = [
        f"{plan.base.name}: {points} x {seeds}, {counted(runner.n_trainings, 'training')}, "
        f"{jobs} at once",
        f"sweep directory: {runner.directory.path}",
    ]
    return [*lines, f"{runner.n_done} are done already"] if runner.n_done else lines


def next_commands(runner: Runner) -> list[str]:
    """How to go on with what there is now."""
    from trafficrl.sweep.table import ranked

    path, told = runner.directory.path, [f"table: {runner.directory.path / 'results.md'}"]
    if runner.stopped_early:
        told += ["stopped; go on with:", f"  {PROGRAM} sweep --resume {shlex.quote(str(path))}"]
    if any(trial.failures for trial in runner.trials):
        again = f"  {PROGRAM} sweep --resume {shlex.quote(str(path))} --retry-failed"
        told += ["try again what failed with:", again]
    good = [trial for trial in ranked(runner.plan, runner.trials) if trial.score is not None]
    if good and not runner.stopped_early:
        runs = " ".join(shlex.quote(f"{path / trial.name}/seed-*") for trial in good[:COMPARED])
        seed = runner.plan.config.seeds[0]
        run = shlex.quote(str(path / good[0].name / f"seed-{seed}"))
        told += [
            "validation has chosen; evaluate the best on episodes that it has not seen with:",
            f"  {PROGRAM} compare {runs}",
            f"  {PROGRAM} evaluate {run}",
        ]
    return told


DISPLAYS: dict[str, tuple[Callable[[], Any], str]] = {
    "--quiet": (Display, "Print nothing but the sweep directory, at the end"),
    "--log-json": (JsonLines, "Print an event a line as JSON"),
}
