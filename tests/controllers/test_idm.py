"""The intelligent driver model against numbers worked out by hand, and on the ring in SUMO."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest

from trafficrl import load_scenario
from trafficrl.controllers import IDM
from trafficrl.envs.array_env import ArrayEnv
from trafficrl.types import FloatArray

from .vehicles import of_follower, pair

# v0 = 30 m/s, T = 1 s, s0 = 2 m, a = 1 m/s2, b = 1.5 m/s2


def test_idm_keeps_its_speed_at_the_equilibrium_gap() -> None:
    """At 15 m/s: s* = 2 + 15 and s = 17 / sqrt(1 - (15/30)^4) = 17.5575 m."""
    assert of_follower(IDM(), pair(15.0, 15.0, 17.0 / 0.9375**0.5)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(("speed", "expected"), [(0.0, 1.0), (15.0, 0.9375), (30.0, 0.0)])
def test_idm_on_a_free_road(speed: float, expected: float) -> None:
    states = pair(0.0, speed, 1000.0)
    assert IDM().acceleration(states, 0.1)[0, 0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("leader_speed", "expected"),
    [
        # s* = 2 + 10 + 10 * 5 / (2 sqrt(1.5)) = 32.412415: 1 - 1/81 - (32.412415/20)^2
        (5.0, -1.6387573),
        # s* = 2 + 10 = 12: 1 - 1/81 - 0.36
        (10.0, 0.6276543),
        # 10 + 10 * (10 - 20) / (2 sqrt(1.5)) < 0, so s* = 2: 1 - 1/81 - 0.01
        (20.0, 0.9776543),
    ],
)
def test_idm_brakes_the_more_the_faster_it_approaches(leader_speed: float, expected: float) -> None:
    assert of_follower(IDM(), pair(10.0, leader_speed, 20.0)) == pytest.approx(expected, abs=1e-6)


def test_idm_braking_is_not_clipped() -> None:
    assert of_follower(IDM(), pair(20.0, 0.0, 10.0)) < -100.0


@pytest.mark.parametrize("step", [0.01, 0.1, 1.0])
def test_idm_noise_disturbs_the_speed_alike_at_every_step_length(step: float) -> None:
    """The speed spreads by noise * sqrt(t), whichever steps t is made of."""
    states = pair(10.0, 10.0, 20.0)
    noisy, quiet = IDM(noise=0.2), IDM()
    noisy.reset(states, np.random.default_rng(1))
    disturbance = [
        step * (noisy.acceleration(states, step) - quiet.acceleration(states, step))
        for _ in range(4000)
    ]
    assert np.std(disturbance) == pytest.approx(0.2 * step**0.5, rel=0.03)
    assert np.mean(disturbance) == pytest.approx(0.0, abs=0.01 * step**0.5)


def test_idm_noise_repeats_with_its_seed() -> None:
    def drawn(seed: int) -> FloatArray:
        states, driver = pair(10.0, 10.0, 20.0), IDM(noise=0.2)
        driver.reset(states, np.random.default_rng(seed))
        return np.array([driver.acceleration(states, 0.1) for _ in range(5)])

    assert (drawn(1) == drawn(1)).all()
    assert (drawn(1) != drawn(2)).all()
    assert len(np.unique(drawn(1))) == 10  # each vehicle and step its own


# In SUMO ------------------------------------------------------------------------------


def last_third(driver: IDM, *overrides: str, seed: int = 0) -> FloatArray:
    """Speeds (T, 22) in m/s on the shipped ring, all vehicles driven by ``driver``."""
    speeds = []
    config = load_scenario("ring", overrides)
    with closing(ArrayEnv(config, seed=seed)) as env:
        env.reset()
        driver.reset(env.states, env.rng)
        while not env.done:
            env.drive(driver)
            speeds.append(env.states.speed[0])
    return np.array(speeds[-len(speeds) // 3 :])


@pytest.mark.parametrize(("length", "expected"), [(220, 3.00), (260, 4.82)])
def test_idm_on_the_ring_ends_in_uniform_flow(length: int, expected: float) -> None:
    """The gap is length/22 - 5 m, and v solves s*(v) = gap * sqrt(1 - (v/30)^4)."""
    speeds = last_third(IDM(), f"network.length_m={length}", "start.jitter_m=0")
    assert speeds.mean() == pytest.approx(expected, rel=0.01)
    assert speeds.std() < 0.01


def test_noisy_idm_on_the_ring_drives_in_stop_and_go_waves() -> None:
    runs = [last_third(IDM(noise=0.2), seed=seed) for seed in range(3)]
    assert np.mean([run.mean() for run in runs]) < 4.0
    assert min(run.std() for run in runs) > 2.0
    assert min(run.min() for run in runs) < 0.1  # somebody stands still
    assert min(run.max() for run in runs) > 7.0  # and somebody drives freely
