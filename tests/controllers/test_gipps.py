"""Gipps's model against his equations, worked out by hand."""

from __future__ import annotations

import pytest

from trafficrl.controllers import Gipps

from .vehicles import of_follower, of_leader, pair

# V = 20 m/s, a = 1.7, b = 3.4, b^ = 3.2 m/s2, tau = 2/3 s, s0 = 1.5 m ------------------


@pytest.mark.parametrize(
    ("speed", "expected"),
    [
        (0.0, 0.671984),  # 2.5 * 1.7 * sqrt(0.025)
        (10.0, 1.539709),  # 2.5 * 1.7 * 0.5 * sqrt(0.525)
        (20.0, 0.0),
    ],
)
def test_gipps_on_a_free_road(speed: float, expected: float) -> None:
    assert of_leader(Gipps(), speed) == pytest.approx(expected, abs=1e-6)


def test_gipps_keeps_its_speed_at_the_equilibrium_gap() -> None:
    """v_safe = v: s = s0 + 1.5 tau v + v^2 / 2 (1/b - 1/b^), at 10 m/s 10.580882 m."""
    gap = 1.5 + 10.0 + 50.0 * (1 / 3.4 - 1 / 3.2)
    assert gap == pytest.approx(10.580882, abs=1e-6)
    assert of_follower(Gipps(), pair(10.0, 10.0, gap)) == pytest.approx(0.0, abs=1e-9)


def test_gipps_brakes_to_its_safe_speed_within_the_reaction_time() -> None:
    """b tau = 2.266667 and 2 * 10 - 10 * 2/3 + 25 / 3.2 = 21.145833, so that v_safe =
    sqrt(2.266667^2 + 3.4 * 21.145833) - 2.266667 = 6.510213; (6.510213 - 10) / (2/3).
    """
    states = pair(10.0, 5.0, 11.5)
    assert of_follower(Gipps(), states) == pytest.approx(-5.234681, abs=1e-5)
    # The step of the simulation is none of the model's times.
    assert of_follower(Gipps(), states, step=1.0) == of_follower(Gipps(), states, step=0.1)


def test_gipps_stays_where_it_stands_and_starts_when_there_is_room() -> None:
    assert of_follower(Gipps(), pair(0.0, 0.0, 1.5)) == pytest.approx(0.0, abs=1e-12)
    assert of_follower(Gipps(), pair(0.0, 0.0, 0.5)) == pytest.approx(0.0, abs=1e-12)
    assert of_follower(Gipps(), pair(0.0, 0.0, 6.5)) == pytest.approx(0.671984, abs=1e-6)


def test_gipps_brakes_as_hard_as_it_may_where_nothing_is_safe() -> None:
    """The root is of a negative number; the driver would stop within tau, at -30 m/s2."""
    assert of_follower(Gipps(), pair(20.0, 0.0, 2.0)) == -9.0
    assert of_follower(Gipps(max_braking=40.0), pair(20.0, 0.0, 2.0)) == pytest.approx(-30.0)
