"""FollowerStopper against the equations of its paper, worked out by hand."""

from __future__ import annotations

import pytest

from trafficrl.controllers import FollowerStopper, make_controller
from trafficrl.errors import ScenarioError

from .vehicles import of_follower, of_leader, pair

# Envelopes x0 = 4.5, 5.25, 6.0 m with d = 1.5, 1.0, 0.5 m/s2; U = 5 m/s ----------------


@pytest.mark.parametrize(
    ("speed", "leader_speed", "headway", "expected"),
    [
        # No closing in: x = 4.5, 5.25, 6.0.
        (4.0, 4.0, 4.0, 0.0),
        (4.0, 4.0, 4.5, 0.0),
        (4.0, 4.0, 4.875, 2.0),  # half of the leader's speed
        (4.0, 4.0, 5.25, 4.0),
        (4.0, 4.0, 5.625, 4.5),  # half way from the leader's speed to U
        (4.0, 4.0, 6.0, 5.0),
        (4.0, 4.0, 60.0, 5.0),
        # Closing in at 2 m/s: x = 4.5 + 4/3, 5.25 + 4/2, 6 + 4 m.
        (6.0, 4.0, 5.83, 0.0),
        (6.0, 4.0, 6.541667, 2.0),
        (6.0, 4.0, 7.25, 4.0),
        (6.0, 4.0, 8.625, 4.5),
        (6.0, 4.0, 10.0, 5.0),
        # A leader that is faster than U counts as one at U and opens no envelope.
        (4.0, 8.0, 4.875, 2.5),
        (0.0, 0.0, 4.5, 0.0),
        (0.0, 0.0, 5.25, 0.0),
    ],
)
def test_follower_stopper_commands(
    speed: float, leader_speed: float, headway: float, expected: float
) -> None:
    command = FollowerStopper(desired_speed=5.0).commanded_speed(pair(speed, leader_speed, headway))
    assert command[0, 1] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("step", [0.05, 0.1, 1.0])
def test_follower_stopper_has_its_speed_at_the_end_of_the_step(step: float) -> None:
    driver = FollowerStopper(desired_speed=5.0, max_acceleration=100.0, max_braking=100.0)
    for headway, command in [(5.625, 4.5), (4.875, 2.0), (60.0, 5.0)]:
        assert 4.0 + step * of_follower(driver, pair(4.0, 4.0, headway), step) == (
            pytest.approx(command)
        )
    assert 6.0 + step * of_leader(driver, 6.0, step) == pytest.approx(5.0)


def test_follower_stopper_is_bounded() -> None:
    driver = FollowerStopper(desired_speed=5.0)
    assert of_follower(driver, pair(4.0, 4.0, 4.0)) == -3.0
    assert of_follower(driver, pair(0.0, 4.0, 60.0)) == 1.5
    assert of_leader(driver, 0.0) == 1.5
    assert of_leader(driver, 5.0) == 0.0


def test_follower_stopper_needs_a_desired_speed() -> None:
    with pytest.raises(ScenarioError, match="needs its parameter 'desired_speed'"):
        make_controller("follower_stopper")
