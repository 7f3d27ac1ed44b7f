"""Learning curves: what was reached after how many simulation steps (Figure 2 of the paper)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from trafficrl.plots.curves import draw_curve, labelled, that_log
from trafficrl.plots.style import count_steps, new_figure, picture, short_number
from trafficrl.training.run_directory import RunDirectory

if TYPE_CHECKING:
    from matplotlib.figure import Figure

VALIDATED_RETURN = "validation_return"


@picture
def learning_curves(runs: Sequence[RunDirectory], metric: str = VALIDATED_RETURN) -> Figure:
    """``metric`` over training, a panel for each scenario, a line for each algorithm.

    ``metric`` is a column of ``metrics.jsonl``. Runs that differ in their training
    seed alone make one line, with the 95 % interval over seeds; where some of them end
    earlier than others, the others go on as thin lines of their own. Runs that have not
    logged it are left out; ``TrafficRLError`` if none has.
    """
    scenarios = labelled(that_log(runs, metric))
    figure = new_figure(0.6 + 3.2 * len(scenarios), 2.7)
    panels = figure.subplots(1, len(scenarios), squeeze=False)[0]
    for axes, (scenario, groups) in zip(panels, scenarios.items(), strict=True):
        for one in groups:
            draw_curve(axes, one, metric)
        axes.set_title(scenario)
        axes.grid(True)
        count_steps(axes)
        axes.yaxis.set_major_formatter(short_number)
        axes.legend()
    panels[0].set_ylabel(metric.replace("_", " "))
    return figure
