"""What a training is scored by: a figure of its validation episodes, never of evaluation."""

from __future__ import annotations

import math

from trafficrl.errors import TrafficRLError
from trafficrl.sweep.config import Objective
from trafficrl.training.run_directory import RunDirectory

VALIDATION = "validation_"  # begins the keys of a validation in metrics.jsonl


def is_complete(run: RunDirectory, total_steps: int) -> bool:
    """Whether a training that ended in order had no steps left."""
    return run.metrics_file.exists() and run.metrics()[-1]["sim_steps"] >= total_steps


def score(run: RunDirectory, objective: Objective) -> float:
    """The figure of the objective in the validation that counts; ``TrafficRLError`` if none."""
    validations = [row for row in run.metrics() if f"{VALIDATION}return" in row]
    if not validations:
        raise TrafficRLError(f"{run.metrics_file}: has no validation")
    if objective.validation == "best":
        # As the trainer keeps best.pt: of equal ones the first.
        chosen = max(
            validations,
            key=lambda row: (-row[f"{VALIDATION}collisions"], row[f"{VALIDATION}return"]),
        )
    else:
        chosen = validations[-1]
    found = float(chosen[f"{VALIDATION}{objective.figure}"])
    if not math.isfinite(found):
        raise TrafficRLError(f"{run.metrics_file}: {objective.figure} is {found}")
    return found
