"""What a training is scored by: a figure of its validation episodes, never of evaluation."""

from __future__ import annotations

import math

from trafficrl.errors import TrafficRLError
from trafficrl.sweep.config import Objective
from trafficrl.training.run_directory import RunDirectory
from trafficrl.training.validation import PREFIX, merit


def is_complete(run: RunDirectory, total_steps: int) -> bool:
    """Whether a training that ended in order had no steps left."""
    return run.metrics_file.exists() and run.metrics()[-1]["sim_steps"] >= total_steps


def score(run: RunDirectory, objective: Objective) -> float:
    """The figure of the objective in the validation that counts; ``TrafficRLError`` if none."""
    validations = [
        {key.removeprefix(PREFIX): value for key, value in row.items() if key.startswith(PREFIX)}
        for row in run.metrics()
        if f"{PREFIX}return" in row
    ]
    if not validations:
        raise TrafficRLError(f"{run.metrics_file}: has no validation")
    best = objective.validation == "best"
    chosen = max(validations, key=merit) if best else validations[-1]
    found = float(chosen[objective.figure])
    if not math.isfinite(found):
        raise TrafficRLError(f"{run.metrics_file}: {objective.figure} is {found}")
    return found
