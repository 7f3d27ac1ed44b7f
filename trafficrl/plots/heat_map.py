"""The transfer matrix as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from trafficrl.plots.style import VALUES, new_figure, picture
from trafficrl.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from trafficrl.evaluation.transfer import Cell, Matrix

LUMINANCE = (0.2126, 0.7152, 0.0722)  # of red, green and blue (ITU-R BT.709)
MIDDLE = 0.46  # white and black stand out alike from a colour of this brightness


@picture
def heat_map(matrix: Matrix) -> Figure:
    """A matplotlib figure: values in their cells, hatched where there is none.

    A frame marks who drives where it was trained. A colour says how large a value is
    beside the largest of its column, as scenarios differ by more than controllers do.
    """
    shares = _shares(matrix)
    n, m = shares.shape
    figure = new_figure(2.6 + 0.8 * m, 1.4 + 0.4 * n)
    axes = figure.add_subplot()
    low, high = np.nanmin(shares, initial=0.0), np.nanmax(shares, initial=0.0)
    high = high if high > low else low + 1.0
    image = axes.imshow(
        np.ma.masked_invalid(shares), cmap=VALUES, vmin=low, vmax=high, aspect="auto"
    )
    for row, controller in enumerate(matrix.controllers):
        for column, scenario in enumerate(matrix.scenarios):
            colour = image.to_rgba(shares[row, column])
            _draw(axes, row, column, matrix.cells[controller, scenario], _ink(colour))
    axes.set_xticks(range(m), matrix.scenarios, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(n), matrix.controllers)
    axes.tick_params(length=0)
    axes.set_xlabel("driven in")
    axes.set_title(f"{matrix.metric}, mean of {matrix.episodes} episodes")
    figure.colorbar(image, ax=axes).set_label("value over the largest of its column")
    return figure


def _draw(axes: Axes, row: int, column: int, cell: Cell, ink: str) -> None:
    """The value of a cell, framed where the task is its ``own``; hatching without one."""
    from matplotlib.patches import Rectangle

    if cell.value is None:
        corner = column - 0.5, row - 0.5
        axes.add_patch(
            Rectangle(corner, 1, 1, facecolor="white", edgecolor="0.5", hatch="///", lw=0)
        )
        return
    text = f"{cell.value:.4g}"
    if cell.collisions:
        text += f"\n{cell.collisions:.3g} collided"
    axes.text(column, row, text, ha="center", va="center", color=ink)
    if cell.own:
        corner = column - 0.46, row - 0.46
        axes.add_patch(Rectangle(corner, 0.92, 0.92, fill=False, edgecolor=ink, lw=1.5))


def _ink(colour: Any) -> str:
    """What can be read on a colour (red, green, blue, opacity)."""
    return "white" if np.dot(colour[:3], LUMINANCE) < MIDDLE else "black"


def _shares(matrix: Matrix) -> FloatArray:
    """Each value over the largest of its column, rows by columns, NaN where there is none."""
    values = np.array(
        [
            [matrix.cells[controller, scenario].value for scenario in matrix.scenarios]
            for controller in matrix.controllers
        ],
        dtype=np.float64,
    )
    largest = np.nanmax(np.abs(values), axis=0, initial=0.0)
    return values / np.where(largest > 0.0, largest, 1.0)
