"""The optimal velocity model against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from trafficrl.controllers import OVM
from trafficrl.controllers.ovm import optimal_velocity

from .vehicles import FREE, of_follower, pair


@pytest.mark.parametrize(
    ("headway", "expected"),
    [(5.0, 0.0), (12.5, 4.393398), (20.0, 15.0), (27.5, 25.606602), (35.0, 30.0), (FREE, 30.0)],
)
def test_optimal_velocity(headway: float, expected: float) -> None:
    assert optimal_velocity(np.array([headway]))[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("speed", "leader_speed", "headway", "expected"),
    [
        (14.0, 15.5, 20.0, 0.5 * 1.0 + 0.5 * 1.5),
        (15.0, 15.0, 20.0, 0.0),
        (0.0, 0.0, 35.0, 2.5),  # 15 before it is clipped
        (20.0, 20.0, 5.0, -2.5),  # -10 before it is clipped
    ],
)
def test_ovm_acceleration_and_its_bounds(
    speed: float, leader_speed: float, headway: float, expected: float
) -> None:
    assert of_follower(OVM(), pair(speed, leader_speed, headway)) == pytest.approx(expected)


def test_ovm_gains_are_each_vehicles_own() -> None:
    gains = np.array([[0.1, 0.2]])
    u = OVM().with_gains(pair(14.0, 14.0, 20.0), gains, 0.0)
    assert u[0].tolist() == pytest.approx([0.1 * (30 - 14), 0.2 * (15 - 14)])
