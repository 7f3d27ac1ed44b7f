"""What control costs: commands that SUMO does not follow, messages."""

from __future__ import annotations

import numpy as np

from trafficrl.evaluation.metrics.base import mean, metric
from trafficrl.evaluation.trajectory import Trajectory


@metric("override_fraction", "control", "of commands", "not followed by SUMO", better="lower")
def override_fraction(trajectory: Trajectory) -> float:
    """Share of commands that SUMO did not follow."""
    commanded = trajectory.present & ~trajectory.entered
    overridden = np.where(commanded, trajectory.overridden, np.nan)
    return mean(trajectory.to_horizon(overridden))


@metric(
    "messages_per_control_step",
    "control",
    "messages",
    "all vehicles together",
    better="lower",
    per_vehicle=False,
)
def messages(trajectory: Trajectory) -> float:
    """Messages in a control interval, all vehicles together, until a collision holds them."""
    return mean(trajectory.messages)


@metric(
    "vehicles_without_slot",
    "control",
    "vehicles",
    "came to an open network and were driven by SUMO",
    better="lower",
    main=False,
    per_vehicle=False,
)
def without_slot(trajectory: Trajectory) -> float:
    """Vehicles that found no free slot, or are no cars, and that SUMO's own model drove."""
    return float(trajectory.without_slot)
