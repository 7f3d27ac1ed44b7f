"""What all pictures have in common: fonts, colours, and the same bytes of the same data."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, ParamSpec

from trafficrl.errors import TrafficRLError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")

VALUES = "cividis"  # even in brightness, for the colour-blind and for print (Nunez et al., 2018)
# Okabe and Ito, "Color Universal Design" (2008), without the yellow, which is faint on white.
CATEGORIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)))
MARKERS = "osD^vPX"
GREY = "0.55"  # of what is there, but not what the picture is about

SETTINGS = {
    "font.size": 8.0,
    "axes.titlesize": 9.0,
    "axes.labelsize": 8.0,
    "legend.fontsize": 7.5,
    "xtick.labelsize": 8.0,
    "ytick.labelsize": 8.0,
    "figure.titlesize": 9.0,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "grid.linewidth": 0.4,
    "grid.color": "0.85",
    "lines.linewidth": 1.3,
    "lines.markersize": 3.5,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "hatch.linewidth": 0.6,
    # Text stays text, to search in and to edit.
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "trafficrl",  # names of parts follow from what they are
}


def require_matplotlib() -> None:
    """Raise ``TrafficRLError`` where there is none."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise TrafficRLError(
            "pictures need matplotlib, which is not installed (pip install 'trafficrl[plot]')"
        ) from None


def picture(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Makes ``draw`` work in our style, whatever the caller's own settings are."""

    @wraps(draw)
    def styled(*args: P.args, **kwargs: P.kwargs) -> Figure:
        require_matplotlib()
        with in_style():
            return draw(*args, **kwargs)

    return styled


def in_style() -> Any:
    """A context with our settings; ``require_matplotlib`` comes first."""
    from matplotlib import style

    return style.context(["default", SETTINGS])


def new_figure(width: float, height: float, wspace: float = 0.02) -> Figure:
    """An empty figure, in inches, that makes room for its labels itself.

    ``wspace`` is the room between panels, as a share of their width.
    """
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(wspace=wspace))


def look(place: int) -> dict[str, Any]:
    """Colour, line and marker of a category: apart in colour, and without colour too."""
    return {
        "color": CATEGORIES[place % len(CATEGORIES)],
        "linestyle": LINES[place % len(LINES)],
        "marker": MARKERS[place % len(MARKERS)],
    }


def count_steps(axes: Axes) -> None:
    """Has simulation steps along x."""
    axes.xaxis.set_major_formatter(short_number)
    axes.set_xlabel("simulation steps")


def short_number(value: float, place: float = 0.0) -> str:
    """A tick's label, wherever its ``place`` on the axis: 500, 50k, -1.5M."""
    sizes = ((1e6, "M"), (1e3, "k"))
    size, letter = next((one for one in sizes if abs(value) >= one[0]), (1.0, ""))
    return f"{round(value / size, 9):g}{letter}".replace("-", "\N{MINUS SIGN}")


def set_title(figure: Figure, text: str) -> None:
    """Put ``text`` above all panels, in place of what stood there."""
    with in_style():
        figure.suptitle(text)
