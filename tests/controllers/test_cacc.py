"""PATH's CACC against its recursion, worked out by hand."""

from __future__ import annotations

import pytest

from trafficrl.controllers import CACC

from .vehicles import of_follower, of_leader, pair

# kp = 0.45 1/s, kd = 0.25, interval 0.01 s, T = 0.6 s, s0 = 2 m, k0 = 0.4 1/s, V = 30 m/s


@pytest.mark.parametrize(
    ("speed", "leader_speed", "headway", "expected"),
    [
        (15.0, 15.0, 11.0, 0.0),  # s0 + T v
        (15.0, 14.0, 12.0, 1.25),  # (0.45 * 1 - 0.25 * 1) / (0.01 + 0.25 * 0.6)
        (15.0, 15.5, 10.5, -0.625),  # (0.45 * -0.5 + 0.25 * 0.5) / 0.16
        (0.0, 0.0, 2.0, 0.0),
        (29.5, 29.5, 200.0, 0.2),  # 0.4 * 0.5
        (20.0, 0.0, 10.0, -4.0),  # -42 before it is bounded
    ],
)
def test_cacc_follows(speed: float, leader_speed: float, headway: float, expected: float) -> None:
    states = pair(speed, leader_speed, headway)
    assert of_follower(CACC(), states) == pytest.approx(expected, abs=1e-9)
    # The interval of the law is the vehicle's, not the simulation's.
    assert of_follower(CACC(), states, step=1.0) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("interval", [0.01, 0.1])
def test_cacc_is_the_published_recursion(interval: float) -> None:
    """v_k - v_(k-1) = 0.45 e + 0.25 de/dt, with de/dt = v_leader - v - T a at that very a."""
    states = pair(15.0, 14.5, 11.3)
    a = of_follower(CACC(control_interval=interval), states)
    error, rate = 11.3 - 2.0 - 0.6 * 15.0, -0.5 - 0.6 * a
    assert interval * a == pytest.approx(0.45 * error + 0.25 * rate, abs=1e-12)


@pytest.mark.parametrize(
    ("speed", "expected"), [(29.5, 0.2), (30.0, 0.0), (32.0, -0.8), (0.0, 2.0)]
)
def test_cacc_goes_to_its_desired_speed_without_a_leader(speed: float, expected: float) -> None:
    assert of_leader(CACC(), speed) == pytest.approx(expected, abs=1e-12)
