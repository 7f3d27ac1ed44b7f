"""How it feels to ride along."""

from __future__ import annotations

import numpy as np

from trafficrl.evaluation.metrics.base import metric, root_mean_square
from trafficrl.evaluation.trajectory import Trajectory


@metric("acceleration_rms_mps2", "comfort", "m/s2", "root mean square", better="lower")
def acceleration_rms(trajectory: Trajectory) -> float:
    """Root mean square of realised accelerations over vehicles and time."""
    return root_mean_square(trajectory.acceleration)


@metric("jerk_rms_mps3", "comfort", "m/s3", "root mean square", better="lower")
def jerk_rms(trajectory: Trajectory) -> float:
    """Root mean square of the change of acceleration from step to step, over the step."""
    return root_mean_square(np.diff(trajectory.acceleration, axis=0) / trajectory.step_length)
