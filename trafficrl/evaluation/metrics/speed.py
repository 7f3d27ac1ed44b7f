"""How fast and how even the traffic flows."""

from __future__ import annotations

import numpy as np

from trafficrl.evaluation.metrics.base import PER_HOUR, last_third, mean, metric
from trafficrl.evaluation.trajectory import Trajectory


@metric("mean_speed_mps", "speed", "m/s", "last third of the episode", better="higher")
def mean_speed(trajectory: Trajectory) -> float:
    """Mean over vehicles and the last third of the episode."""
    return mean(last_third(trajectory.to_horizon(trajectory.speed)))


@metric("speed_std_mps", "speed", "m/s", "over vehicles and time, last third", better="lower")
def speed_std(trajectory: Trajectory) -> float:
    """Standard deviation over vehicles and time in the last third of the episode."""
    speeds = last_third(trajectory.to_horizon(trajectory.speed))
    known = speeds[~np.isnan(speeds)]
    return float(known.std()) if known.size else np.nan


@metric("mean_speed_episode_mps", "speed", "m/s", "whole episode", better="higher")
def mean_speed_episode(trajectory: Trajectory) -> float:
    """Mean over vehicles and the whole episode."""
    return mean(trajectory.to_horizon(trajectory.speed))


@metric(
    "throughput_vehicles_per_h",
    "speed",
    "vehicles/h",
    "past a point of the loop, or arriving",
    better="higher",
    per_vehicle=False,
)
def throughput(trajectory: Trajectory) -> float:
    """Flow on a loop, arrivals on an open network.

    On a loop, distance driven over length and time in the last third of the
    episode, which is density times mean speed (Edie, "Discussion of traffic
    stream measurements and definitions", 1963). On an open network, vehicles
    that have left it, whoever drove them, over the duration of the episode; not
    defined where nobody ever enters or leaves.
    """
    if trajectory.closed:
        driven = np.nansum(last_third(trajectory.speed), axis=1).mean()
        return float(PER_HOUR * driven / trajectory.path_length)
    came = trajectory.entered.any() or not trajectory.present.all() or trajectory.without_slot
    if not trajectory.left and not came:
        return np.nan
    return PER_HOUR * trajectory.left / (len(trajectory.present) * trajectory.step_length)
