"""The speed that a gap allows, which both observations and rewards compare with."""

from __future__ import annotations

from trafficrl.types import FloatArray


def allowed_speed(
    gap: FloatArray, *, min_gap: float, time_gap: float, highest: float
) -> FloatArray:
    """(gap - min gap) / time gap within [0, highest], m/s, of gaps in m; ``highest`` without end.

    In steady flow every vehicle drives at it, whatever the density.
    """
    allowed: FloatArray = (gap - min_gap) / time_gap
    return allowed.clip(0.0, highest)
