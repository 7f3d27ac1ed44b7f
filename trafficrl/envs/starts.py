"""Where the vehicles stand and how fast they go when an episode begins."""

from __future__ import annotations

import numpy as np

from trafficrl.config.scenario import PlatoonStart, StartConfig, UniformStart
from trafficrl.types import TAIL_ROOM, VEHICLE_LENGTH, FloatArray


def start_positions(
    start: StartConfig,
    lengths: FloatArray,
    vehicles: int,
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    """Front bumpers in m along the course and speeds in m/s, each (B, M), front to back.

    ``lengths`` (B,) in m are those of the courses.
    """
    if isinstance(start, UniformStart):
        return _uniform(start, lengths, vehicles, rng)
    assert isinstance(start, PlatoonStart), "other starts are not along a course"
    return _platoon(start, len(lengths), vehicles, rng)


def _uniform(
    start: UniformStart,
    lengths: FloatArray,
    vehicles: int,
    rng: np.random.Generator,
) -> tuple[FloatArray, FloatArray]:
    spacing = lengths[:, None] / vehicles
    offset = start.jitter_m * rng.uniform(-1.0, 1.0, (len(lengths), vehicles))
    turn = lengths[:, None] * rng.random((len(lengths), 1)) if start.rotate else 0.0
    first = lengths[:, None] - 0.5 * spacing
    positions = np.mod(first - spacing * np.arange(vehicles) + offset + turn, lengths[:, None])
    return positions, np.full(positions.shape, start.speed_mps)


def _platoon(
    start: PlatoonStart, replicas: int, vehicles: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    headway = np.full((replicas, vehicles), start.headway_m)
    headway[:, 0] = 0.0
    if vehicles > 1:
        headway[:, 1] *= _draw(start.first_headway_factor, rng, replicas)
    speed = start.speed_mps * _draw(start.speed_factor, rng, replicas)[:, None]
    behind_first = np.cumsum(headway + VEHICLE_LENGTH, axis=1) - VEHICLE_LENGTH
    last = behind_first[:, -1:]
    positions = last + VEHICLE_LENGTH + TAIL_ROOM - behind_first
    return positions, np.broadcast_to(speed, positions.shape).copy()


def _draw(interval: list[float], rng: np.random.Generator, replicas: int) -> FloatArray:
    low, high = interval
    return rng.uniform(low, high, replicas)
