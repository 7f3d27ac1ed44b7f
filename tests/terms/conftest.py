"""Vehicle states made by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from trafficrl.types import VehicleStates

MakeStates = Callable[..., VehicleStates]


@pytest.fixture
def lap() -> MakeStates:
    """``lap(positions, speeds)`` on 400 m that cross themselves at 100 m and 300 m.

    The vehicles are listed from the front to the back; ``crossings`` replaces
    the crossing, ``()`` leaves a plain loop.
    """

    def make(
        positions: list[float],
        speeds: list[float] | None = None,
        crossings: tuple[tuple[float, float], ...] = ((100.0, 300.0),),
    ) -> VehicleStates:
        position = np.array([positions])
        shape = position.shape
        zeros, false = np.zeros(shape), np.zeros(shape, dtype=bool)
        leader = np.roll(np.arange(len(positions)), 1)[None, :]
        headway = np.mod(np.take_along_axis(position, leader, axis=1) - position, 400.0) - 5.0
        return VehicleStates(
            time=0.0,
            position=position,
            distance=zeros,
            speed=zeros if speeds is None else np.array([speeds]),
            acceleration=zeros,
            headway=headway,
            leader=leader,
            follower=np.roll(np.arange(len(positions)), -1)[None, :],
            commanded_acceleration=zeros,
            commanded_speed=zeros,
            overridden=false,
            collided=false,
            target_speed=zeros,
            target_acceleration=zeros,
            final_target_speed=zeros,
            path_length=np.array([400.0]),
            crossings=crossings,
        )

    return make
