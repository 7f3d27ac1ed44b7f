"""Ploeg's CACC against its differential equation, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from trafficrl.controllers import Ploeg

from .vehicles import of_follower, of_leader, pair

# h = 0.7 s, kp = 0.2 1/s2, kd = 0.7 1/s, r = 2 m, k0 = 0.4 1/s, V = 30 m/s --------------


def test_ploeg_filters_what_it_senses_and_is_sent() -> None:
    """e = 14.5 - 2 - 10.5 = 2, de/dt = -1 - 0.7 * 0.5 = -1.35, so that w = 0.4 - 0.945 + 0.3.

    From u = 0.5 the mean over 0.1 s is w + (0.5 - w) (1 - exp(-1/7)) * 7 = 0.449232.
    """
    states = pair(15.0, 14.0, 14.5, acceleration=0.5, leader_command=0.3)
    assert of_follower(Ploeg(), states) == pytest.approx(0.449232, abs=1e-6)


def test_ploeg_keeps_its_speed_at_the_equilibrium_gap() -> None:
    assert of_follower(Ploeg(), pair(15.0, 15.0, 12.5)) == pytest.approx(0.0, abs=1e-12)
    assert of_follower(Ploeg(), pair(0.0, 0.0, 2.0)) == pytest.approx(0.0, abs=1e-12)


def test_ploeg_comes_to_do_as_its_leader_is_told() -> None:
    """At no error du/dt = (u_leader - u) / h: 1 - exp(-t / h) after t."""
    states, driver = pair(15.0, 15.0, 12.5, leader_command=1.0), Ploeg()
    driver.reset(states, np.random.default_rng(0))
    change = [0.1 * driver.acceleration(states, 0.1)[0, 1] for _ in range(7)]
    # The integral of u over h: h - h (1 - 1/e) = h / e.
    assert sum(change) == pytest.approx(0.7 / np.e, abs=1e-12)


@pytest.mark.parametrize("step", [0.01, 0.05, 0.7])
def test_ploeg_ends_at_the_same_speed_with_any_step(step: float) -> None:
    states, driver = pair(15.0, 14.5, 13.0, acceleration=-0.4, leader_command=0.2), Ploeg()
    driver.reset(states, np.random.default_rng(0))
    steps = round(0.7 / step)
    gained = sum(step * driver.acceleration(states, step)[0, 1] for _ in range(steps))
    # w = 0.2 * 0.5 + 0.7 (-0.5 + 0.28) + 0.2 = 0.146; 0.7 w + (-0.4 - w) 0.7 (1 - 1/e)
    expected = 0.7 * 0.146 - 0.546 * 0.7 * (1 - 1 / np.e)
    assert gained == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("speed", "expected"), [(29.5, 0.2), (30.0, 0.0), (32.0, -0.8), (0.0, 2.0)]
)
def test_ploeg_goes_to_its_desired_speed_without_a_leader(speed: float, expected: float) -> None:
    assert of_leader(Ploeg(), speed) == pytest.approx(expected, abs=1e-12)


def test_ploeg_is_bounded_and_remembers_no_more_than_its_bounds() -> None:
    driver, near, right = Ploeg(), pair(20.0, 0.0, 3.0), pair(15.0, 15.0, 12.5)
    driver.reset(near, np.random.default_rng(0))
    assert [driver.acceleration(near, 0.7)[0, 1] for _ in range(9)][-1] == -4.0
    # u = -4 decays from its bound: mean of -4 exp(-t / h) over h.
    assert driver.acceleration(right, 0.7)[0, 1] == pytest.approx(-4.0 * (1 - 1 / np.e))
