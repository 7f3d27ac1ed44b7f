"""Options of commands that draw a picture."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .numbers import FiniteRange

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_INCHES = FiniteRange(1.0, 100.0)
_OPTIONS = (
    click.option(
        "--output",
        "outputs",
        multiple=True,
        required=True,
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="The picture: .png, .pdf or .svg; may be repeated",
    ),
    click.option("--title", metavar="TEXT", help="Above the picture; '' for none"),
    click.option("--width", type=_INCHES, metavar="INCHES"),
    click.option("--height", type=_INCHES, metavar="INCHES"),
)


def picture_options(command: Callable[..., Figure]) -> Callable[..., None]:
    """Adds the options to a command that returns a figure, which is written to all files.

    They open before the command begins, and appear when all went well.
    """

    @functools.wraps(command)
    def wrapped(
        outputs: tuple[Path, ...],
        title: str | None,
        width: float | None,
        height: float | None,
        **others: Any,
    ) -> None:
        from trafficrl.plots.files import picture_files
        from trafficrl.plots.style import set_title

        with picture_files(outputs) as write:
            figure = command(**others)
            if title is not None:
                set_title(figure, title)
            before = figure.get_size_inches()
            figure.set_size_inches(width or before[0], height or before[1])
            write(figure)
        for path in dict.fromkeys(outputs):
            click.echo(f"wrote {path}")

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped
