"""The speed that a vehicle's gap allows, which both observations and rewards compare with."""

from __future__ import annotations

import numpy as np

from trafficrl.terms.conflicts import conflict_neighbours
from trafficrl.types import VEHICLE_LENGTH, FloatArray, VehicleStates


def allowed_speed(
    states: VehicleStates, *, min_gap: float, time_gap: float, highest: float
) -> FloatArray:
    """(h - min gap) / time gap within [0, highest], m/s, (B, M); ``highest`` on a free road.

    Of the gap h in m to the leader, or to who arrives at the crossing before,
    whichever is smaller. In steady flow every vehicle drives at it, whatever the density.
    """
    gap = np.minimum(states.headway, conflict_neighbours(states).leader_gap - VEHICLE_LENGTH)
    allowed: FloatArray = np.clip((gap - min_gap) / time_gap, 0.0, highest)
    return allowed
