"""How far an evaluation is: a line on stderr, which goes when all is done."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

quiet_option = click.option("--quiet", is_flag=True, help="Show no progress on stderr")


class ProgressLine:
    """Counts episodes; shows nothing unless it is shown somewhere."""

    def done(self, episodes: int) -> None:
        """So many of all episodes have ended."""

    def doing(self, what: str) -> None:
        """This is what drives now, and where."""


@contextmanager
def progress_line(episodes: int, *, quiet: bool) -> Iterator[ProgressLine]:
    """A line for ``episodes`` in all, where stderr is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield ProgressLine()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        MofNCompleteColumn(),
        TextColumn("episodes"),
        BarColumn(bar_width=20),
        TimeRemainingColumn(),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=episodes)

        class Shown(ProgressLine):
            def done(self, episodes: int) -> None:
                bar.update(task, completed=episodes)

            def doing(self, what: str) -> None:
                bar.update(task, description=what)

        yield Shown()
