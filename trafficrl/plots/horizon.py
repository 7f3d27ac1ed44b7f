"""How errors of the dynamics models grow along a rollout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from trafficrl.plots.curves import Curve, Labelled, labelled
from trafficrl.plots.model_error import ERROR, MEASURE, WHAT, that_have_models
from trafficrl.plots.style import LINES, MARKERS, look, new_figure, picture
from trafficrl.training.run_directory import RunDirectory
from trafficrl.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOMENTS = {"first model": 0.0, "half-way": 0.5, "end of training": 1.0}  # shares of training

APART = 0.25  # control intervals, so that bars do not hide each other


@picture
def horizon_error(runs: Sequence[RunDirectory]) -> Figure:
    """Errors by control intervals ahead, when the first model was trained, half-way and at the end.

    Panels and runs as in ``model_error``, bars are 95 % intervals over seeds.
    """
    having = that_have_models(runs)
    ahead = list(having)
    scenarios = labelled(having[ahead[0]])
    figure = new_figure(7.2, 0.3 + 2.4 * len(scenarios))
    panels = figure.subplots(len(scenarios), 2, squeeze=False, sharex=True)
    for row, (scenario, groups) in zip(panels, scenarios.items(), strict=True):
        for axes, what in zip(row, WHAT, strict=True):
            for one in groups:
                _draw(axes, one, what, ahead)
            axes.set_yscale("log")
            axes.set_title(f"{scenario}: {what}")
            axes.set_xticks(ahead)
            axes.grid(True, which="both")
        row[0].set_ylabel(MEASURE)
        _legend(row[1], groups)
    for axes in panels[-1]:
        axes.set_xlabel("control intervals ahead")
    return figure


def _draw(axes: Axes, one: Labelled, what: str, ahead: list[int]) -> None:
    curves = {h: one.curve(ERROR.format(what=what, horizon=h)) for h in ahead}
    known = {h: curve for h, curve in curves.items() if curve is not None and len(curve.steps)}
    if not known:
        return
    last = max(curve.steps[-1] for curve in known.values())
    for place, share in enumerate(MOMENTS.values()):
        at = np.array([_nearest(curve, share * last) for curve in known.values()])  # (H, 3)
        axes.errorbar(
            np.array(list(known)) + APART * (place - 1),
            at[:, 0],
            yerr=np.abs(at[:, 1:] - at[:, :1]).T if len(one.group.seeds) > 1 else None,
            color=look(one.place)["color"],
            linestyle=_line(place),
            marker=MARKERS[place],
            capsize=2.0,
            elinewidth=0.7,
        )


def _nearest(curve: Curve, steps: float) -> FloatArray:
    """Mean and interval at the logged moment that is nearest to ``steps``."""
    place = int(np.abs(curve.steps - steps).argmin())
    return np.array([curve.mean[place], curve.low[place], curve.high[place]])


def _line(moment: int) -> object:
    """The end is solid."""
    return LINES[len(MOMENTS) - 1 - moment]


def _legend(axes: Axes, groups: list[Labelled]) -> None:
    """Groups by colour, moments by line and marker."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], color=look(one.place)["color"], label=one.label) for one in groups]
    handles += [
        Line2D([], [], color="black", linestyle=_line(place), marker=MARKERS[place], label=moment)  # type: ignore[arg-type]
        for place, moment in enumerate(MOMENTS)
    ]
    axes.legend(handles=handles, loc="center left", bbox_to_anchor=(1.0, 0.5))
