"""Who follows whom."""

from __future__ import annotations

import numpy as np

from trafficrl.types import BoolArray, FloatArray, IntArray


def fixed_order(vehicles: int, loop: bool, replicas: int) -> tuple[IntArray, IntArray]:
    """Leader and follower (B, M) in one lane, of vehicles numbered from the front to the back."""
    leader = np.arange(vehicles) - 1
    follower = np.arange(vehicles) + 1
    if loop and vehicles > 1:
        leader[0] = vehicles - 1
        follower[-1] = 0
    else:
        leader[0] = follower[-1] = -1
    return np.tile(leader, (replicas, 1)), np.tile(follower, (replicas, 1))


def distance_ahead(position: FloatArray, path_length: FloatArray | None) -> FloatArray:
    """m along the course from each front bumper to the leader's (B, M), ``inf`` without one.

    Vehicles are in the order of ``fixed_order``; ``path_length`` (B,) closes a loop.
    """
    vehicles = position.shape[1]
    ahead = position.take(np.arange(-1, vehicles - 1), axis=1) - position
    if path_length is None or vehicles == 1:
        ahead[:, 0] = np.inf
        return ahead
    ahead %= path_length[:, None]
    return ahead


def too_close(headway: FloatArray, least: float, *, in_line: bool) -> BoolArray:
    """Who has a headway below ``least`` m, (B, M).

    Unless vehicles stay ``in_line``, a gap below 0 alone is no contact: where lanes
    merge or are changed, two can be level beside each other.
    """
    if least > 0.0 or in_line:
        return headway < least
    return np.zeros(headway.shape, dtype=bool)


def neighbours_by_lane(
    leader: IntArray, gap: FloatArray, shape: tuple[int, int]
) -> tuple[IntArray, IntArray, FloatArray]:
    """Leader, follower and headway (B, M) from SUMO's view of all lanes, (B*M,) each."""
    follower = np.full(leader.shape, -1, dtype=np.int64)
    # Of several followers (lanes that merge) the nearest one counts.
    for own in np.argsort(-gap):
        if leader[own] >= 0:
            follower[leader[own]] = own
    first = (np.arange(shape[0]) * shape[1])[:, None]
    in_replica = [
        np.where(index.reshape(shape) >= 0, index.reshape(shape) - first, -1)
        for index in (leader, follower)
    ]
    return in_replica[0], in_replica[1], gap.reshape(shape)
