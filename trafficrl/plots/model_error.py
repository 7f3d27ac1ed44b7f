"""How wrong the dynamics models are, over training (Figure 3 of the paper)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from trafficrl.errors import TrafficRLError
from trafficrl.plots.curves import draw_curve, labelled
from trafficrl.plots.style import count_steps, new_figure, picture
from trafficrl.training.run_directory import RunDirectory

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ERROR = "model_{what}_error_{horizon}"  # as metrics.jsonl has it
WHAT = ("state", "reward")
MEASURE = "MSE / variance"


def that_have_models(runs: Sequence[RunDirectory]) -> dict[int, list[RunDirectory]]:
    """The runs that have logged errors, for each number of control intervals ahead.

    Raises ``TrafficRLError`` where there are none.
    """
    pattern = re.compile(ERROR.format(what=WHAT[0], horizon=r"(\d+)"))
    found: dict[int, list[RunDirectory]] = {}
    for run in runs:
        columns = {column for row in run.metrics() for column in row}
        for match in filter(None, map(pattern.fullmatch, columns)):
            found.setdefault(int(match[1]), []).append(run)
    if not found:
        names = ", ".join(str(run.path) for run in runs)
        raise TrafficRLError(f"{names}: no errors of a dynamics model are logged (dmpo trains one)")
    return dict(sorted(found.items()))


@picture
def model_error(runs: Sequence[RunDirectory]) -> Figure:
    """Errors one control interval ahead: MSE over variance of what is predicted, log scale.

    A row for each scenario, states on the left, rewards on the right; on held-out
    real data, lines and intervals as in ``learning_curves``. Runs without a model are left
    out; ``TrafficRLError`` if none has one.
    """
    horizon, having = next(iter(that_have_models(runs).items()))
    scenarios = labelled(having)
    figure = new_figure(7.2, 0.3 + 2.4 * len(scenarios))
    panels = figure.subplots(len(scenarios), 2, squeeze=False, sharex="row")
    for row, (scenario, groups) in zip(panels, scenarios.items(), strict=True):
        for axes, what in zip(row, WHAT, strict=True):
            for one in groups:
                draw_curve(axes, one, ERROR.format(what=what, horizon=horizon))
            axes.set_yscale("log")
            axes.set_title(f"{scenario}: {what}")
            axes.grid(True, which="both")
            count_steps(axes)
        row[0].set_ylabel(MEASURE)
        row[1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
