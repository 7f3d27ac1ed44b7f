"""Gaps, near misses and worse. Everything is towards the leader in the own lane."""

from __future__ import annotations

import numpy as np

from trafficrl.evaluation.metrics.base import headways, mean, metric, percentile
from trafficrl.evaluation.trajectory import Trajectory
from trafficrl.types import BoolArray, FloatArray

MOVING = 1.0  # m/s: a time gap at less says nothing
CRITICAL_TTC = 3.0  # s
# m/s2; SUMO's default deceleration of a passenger car is 4.5, which its models use to the full.
HARD_BRAKING = 4.55


@metric("collisions", "safety", "vehicles", "collided at least once", better="lower")
def collisions(trajectory: Trajectory) -> float:
    """Vehicles that collided at least once."""
    return float(_events(trajectory.collided, trajectory.entered, once=True))


@metric("emergency_brakings", "safety", "events", "braking beyond 4.55 m/s2", better="lower")
def emergency_brakings(trajectory: Trajectory) -> float:
    """How often a vehicle begins to brake harder than SUMO's default deceleration."""
    return float(_events(trajectory.acceleration < -HARD_BRAKING, trajectory.entered))


@metric("teleports", "safety", "events", "by SUMO", better="lower", main=False)
def teleports(trajectory: Trajectory) -> float:
    """How often SUMO began to teleport a vehicle."""
    return float(trajectory.teleported.sum())


@metric("ttc_min_s", "safety", "s", "smallest time to collision", better="higher")
def ttc_min(trajectory: Trajectory) -> float:
    """Smallest time to collision; not defined where nobody ever approaches the leader."""
    times = _time_to_collision(trajectory)
    return float(times.min()) if np.isfinite(times.min(initial=np.inf)) else np.nan


@metric("ttc_below_3s_fraction", "safety", "of time", "less than 3 s to collision", better="lower")
def ttc_below(trajectory: Trajectory) -> float:
    """Share of the time that vehicles have a leader in which the time to collision is under 3 s.

    Time exposed to it of Minderhoud and Bovy, "Extended time-to-collision
    measures for road traffic safety assessment", Accident Analysis and
    Prevention 33 (2001), over the time driven behind a leader.
    """
    behind = ~np.isnan(headways(trajectory))
    return mean((_time_to_collision(trajectory) < CRITICAL_TTC)[behind].astype(np.float64))


@metric("headway_mean_m", "safety", "m", "mean over vehicles and time", main=False)
def headway_mean(trajectory: Trajectory) -> float:
    """Mean gap from front to the leader's rear bumper over vehicles and time."""
    return mean(headways(trajectory))


@metric("headway_p5_m", "safety", "m", "5th percentile", better="higher")
def headway_p5(trajectory: Trajectory) -> float:
    """5th percentile of the gaps over vehicles and time."""
    return percentile(headways(trajectory), 5.0)


@metric("time_gap_mean_s", "safety", "s", "mean at 1 m/s and more", main=False)
def time_gap_mean(trajectory: Trajectory) -> float:
    """Mean gap over own speed, at 1 m/s and more."""
    return mean(_time_gaps(trajectory))


@metric("time_gap_p5_s", "safety", "s", "5th percentile at 1 m/s and more", better="higher")
def time_gap_p5(trajectory: Trajectory) -> float:
    """5th percentile of the time gaps at 1 m/s and more."""
    return percentile(_time_gaps(trajectory), 5.0)


def _time_gaps(trajectory: Trajectory) -> FloatArray:
    """Gap over own speed (T, M) in s; NaN without a leader and below ``MOVING``."""
    moving = trajectory.speed >= MOVING
    return np.where(moving, headways(trajectory), np.nan) / np.where(moving, trajectory.speed, 1.0)


def _time_to_collision(trajectory: Trajectory) -> FloatArray:
    """Gap over the speed of approach (T, M) in s, ``inf`` where a vehicle does not approach."""
    approach = np.nan_to_num(trajectory.speed - trajectory.leader_speed)
    gap = np.maximum(np.nan_to_num(headways(trajectory), nan=np.inf), 0.0)
    approaching = approach > 0.0
    return np.where(approaching, gap / np.where(approaching, approach, 1.0), np.inf)


def _events(happening: BoolArray, entered: BoolArray, *, once: bool = False) -> int:
    """How often something begins; with ``once`` for how many vehicles."""
    if once:  # a slot that another vehicle has taken counts anew
        spells = np.cumsum(entered, axis=0)
        return len({*zip(*np.nonzero(happening)[1:], spells[happening], strict=True)})
    before = np.zeros_like(happening)
    before[1:] = happening[:-1]
    return int((happening & ~before).sum())
