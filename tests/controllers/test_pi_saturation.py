"""PI with saturation against the equations of its paper, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from trafficrl.controllers import PISaturation

from .vehicles import of_follower, of_leader, pair

# 7 to 30 m for 1 m/s of catch-up, max(2 s dv, 4 m) and 2 m for alpha -------------------


def commanded(speed: float, leader_speed: float, headway: float) -> float:
    """The first command, when U and the old command are the own speed; one interval a step."""
    driver = PISaturation(max_acceleration=1e3, max_braking=1e3)
    return speed + 0.1 * of_follower(driver, pair(speed, leader_speed, headway))


@pytest.mark.parametrize(
    ("speed", "leader_speed", "headway", "expected"),
    [
        # alpha = 1, target = 5 + 11.5 / 23, beta = 1/2: (5.5 + 5) / 2
        (5.0, 5.0, 18.5, 5.25),
        # The catch-up speed is at most 1 m/s: (6 + 5) / 2
        (5.0, 5.0, 90.0, 5.5),
        # alpha = (5 - 4) / 2, beta = 3/4: 0.75 (0.5 * 5 + 0.5 * 4) + 0.25 * 5
        (5.0, 4.0, 5.0, 4.625),
        # max(2 * 3, 4) = 6 m, alpha = 1/2: 0.75 (0.5 * 5 + 0.5 * 8) + 0.25 * 5
        (5.0, 8.0, 7.0, 6.125),
        # alpha = 0: the leader's speed
        (5.0, 3.0, 4.0, 3.0),
        (5.0, 3.0, 1.0, 3.0),
        (0.0, 0.0, 6.8, 0.0),
    ],
)
def test_pi_saturation_commands(
    speed: float, leader_speed: float, headway: float, expected: float
) -> None:
    assert commanded(speed, leader_speed, headway) == pytest.approx(expected, abs=1e-12)


def means(*states: tuple[float, float], averaging_time: float = 38.0) -> list[float]:
    """U of a vehicle that has driven so many m at so many s, read off a far too large gap.

    alpha = 1 and the old command weighs nothing after a long step, so the command is U + 1 m/s.
    """
    driver = PISaturation(averaging_time=averaging_time, max_acceleration=1e3, max_braking=1e3)
    seen = []
    for index, (time, driven) in enumerate(states):
        state = pair(0.0, 0.0, 90.0, time, driven=driven)
        if index == 0:
            driver.reset(state, np.random.default_rng(0))
        seen.append(10.0 * driver.acceleration(state, 10.0)[0, 1] - 1.0)
    return seen


def test_pi_saturation_averages_over_its_last_38_s() -> None:
    """10 m/s for 19 s, standing for 19 s, then 4 m/s for 19 s."""
    seen = means((0, 0), (19, 190), (38, 190), (47.5, 228), (57, 266))
    # All of it up to 38 s, then 9.5 s to 47.5 s (95 m to 228 m) and 19 s to 57 s.
    assert seen == pytest.approx([0.0, 10.0, 5.0, 133 / 38, 2.0], abs=1e-9)


@pytest.mark.parametrize("step", [0.1, 0.25, 2.0])
def test_pi_saturation_averages_alike_with_any_step(step: float) -> None:
    """10 m/s up to 20 s and 5 m/s after it: (18 * 10 + 20 * 5) / 38 at 40 s."""
    times = step * np.arange(round(40.0 / step) + 1)
    driven = 10.0 * times - 5.0 * np.maximum(0.0, times - 20.0)
    seen = means(*zip(times.tolist(), driven.tolist(), strict=True))
    assert seen[-1] == pytest.approx(280 / 38)


def test_pi_saturation_blends_alike_with_any_step() -> None:
    """The old command keeps half in 0.1 s and so 1/16 in 0.4 s: 6 - 1/16."""
    states = pair(5.0, 5.0, 90.0)
    ends = []
    for step in (0.05, 0.1, 0.4):
        driver = PISaturation(max_acceleration=1e3, max_braking=1e3)
        driver.reset(states, np.random.default_rng(0))
        changes = [driver.acceleration(states, step)[0, 1] for _ in range(round(0.4 / step))]
        ends.append(5.0 + step * changes[-1])
    assert ends == pytest.approx([6 - 1 / 16] * 3, abs=1e-12)


def test_pi_saturation_keeps_its_average_without_a_leader() -> None:
    assert of_leader(PISaturation(), 7.0) == pytest.approx(0.0, abs=1e-12)


def test_pi_saturation_is_bounded() -> None:
    assert of_follower(PISaturation(), pair(5.0, 0.0, 1.0)) == -3.0
    assert of_follower(PISaturation(), pair(5.0, 5.0, 90.0)) == 1.5
