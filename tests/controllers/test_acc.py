"""PATH's ACC against its law, worked out by hand."""

from __future__ import annotations

import pytest

from trafficrl.controllers import ACC

from .vehicles import of_follower, of_leader, pair

# k1 = 0.23 1/s2, k2 = 0.07 1/s, T = 1.1 s, s0 = 2 m, k0 = 0.4 1/s, V = 30 m/s ----------


@pytest.mark.parametrize(
    ("speed", "leader_speed", "headway", "expected"),
    [
        (15.0, 15.0, 18.5, 0.0),  # s0 + T v
        (15.0, 14.0, 20.0, 0.275),  # 0.23 (20 - 2 - 16.5) - 0.07
        (15.0, 16.0, 17.5, -0.16),  # 0.23 (-1) + 0.07
        (0.0, 0.0, 2.0, 0.0),
        (29.5, 29.5, 200.0, 0.2),  # 0.4 * 0.5, and not 0.23 * 165.55
        (0.0, 0.0, 100.0, 2.0),  # 12 before it is bounded
        (20.0, 20.0, 2.0, -4.0),  # -5.06 before it is bounded
    ],
)
def test_acc_follows(speed: float, leader_speed: float, headway: float, expected: float) -> None:
    states = pair(speed, leader_speed, headway)
    assert of_follower(ACC(), states) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("speed", "expected"), [(29.5, 0.2), (30.0, 0.0), (32.0, -0.8), (0.0, 2.0)]
)
def test_acc_goes_to_its_desired_speed_without_a_leader(speed: float, expected: float) -> None:
    assert of_leader(ACC(), speed) == pytest.approx(expected, abs=1e-12)


def test_acc_with_another_time_gap() -> None:
    """Those of the experiment: 1.1, 1.6 and 2.2 s."""
    assert of_follower(ACC(time_gap=2.2), pair(15.0, 15.0, 35.0)) == pytest.approx(0, abs=1e-12)
