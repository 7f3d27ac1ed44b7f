"""Waves of known amplitude, and lines of known gain."""

from __future__ import annotations

import numpy as np
import pytest

from trafficrl import load_scenario
from trafficrl.evaluation.drivers import make_driver
from trafficrl.evaluation.evaluate import run_episodes, string_gain_spectrum
from trafficrl.evaluation.metrics import METRICS
from trafficrl.evaluation.metrics.waves import head_to_tail
from trafficrl.evaluation.trajectory import Trajectory
from trafficrl.types import FloatArray

STEP = 0.1  # s
GAP_GAIN, SPEED_GAIN, TIME_GAP = 0.1, 0.5, 1.0  # 1/s2, 1/s, s


def wave_amplitude(trajectory: Trajectory) -> float:
    return METRICS["wave_amplitude_mps"].of(trajectory)


def string_gain(trajectory: Trajectory) -> float:
    return METRICS["string_gain_max"].of(trajectory)


# Loops --------------------------------------------------------------------------------


def travelling(number: int, vehicles: int, spread: float = 0.0) -> tuple[FloatArray, FloatArray]:
    """Positions and speeds (T, M) in a wave of 2 m/s on 260 m; ``spread`` m from even places."""
    time = np.arange(300)[:, None] * STEP
    even = np.arange(vehicles) * 260.0 / vehicles
    away = spread * np.random.default_rng(0).uniform(-1, 1, vehicles)
    position = np.mod(even + away + 5.0 * time, 260.0)
    return position, 5.0 + 2.0 * np.cos(2 * np.pi * number * position / 260.0 - 0.3 * time)


@pytest.mark.parametrize("number", [1, 2, 5, 10])
def test_the_amplitude_of_a_travelling_wave_is_found_exactly(make_trajectory, number: int) -> None:
    position, speed = travelling(number, 22)
    trajectory = make_trajectory(speed, STEP, position=position, path_length=260.0)
    assert wave_amplitude(trajectory) == pytest.approx(2.0)


def test_uneven_gaps_hardly_change_the_amplitude(make_trajectory) -> None:
    position, speed = travelling(1, 22, spread=3.0)
    trajectory = make_trajectory(speed, STEP, position=position, path_length=260.0)
    assert wave_amplitude(trajectory) == pytest.approx(2.0, rel=0.02)


def test_the_order_of_the_columns_and_absent_vehicles_do_not_matter(make_trajectory) -> None:
    position, speed = travelling(2, 22)
    mixed = np.random.default_rng(1).permutation(22)
    wider = [np.insert(values[:, mixed], (0, 7), np.nan, axis=1) for values in (position, speed)]
    trajectory = make_trajectory(
        wider[1], STEP, position=wider[0], path_length=260.0, present=~np.isnan(wider[0])
    )
    assert wave_amplitude(trajectory) == pytest.approx(2.0)


def test_the_strongest_of_two_waves_counts_and_even_traffic_has_none(make_trajectory) -> None:
    position, strong = travelling(1, 22)
    weak = 5.0 + 0.25 * (travelling(3, 22)[1] - 5.0)
    both = make_trajectory(strong + weak, STEP, position=position, path_length=260.0)
    assert wave_amplitude(both) == pytest.approx(2.0)
    even = make_trajectory(np.full((300, 22), 7.0), STEP, position=position, path_length=260.0)
    assert wave_amplitude(even) == pytest.approx(0.0, abs=1e-12)


def test_a_wave_needs_a_loop_and_three_vehicles(make_trajectory) -> None:
    position, speed = travelling(1, 22)
    assert np.isnan(wave_amplitude(make_trajectory(speed, STEP, position=position)))
    two = make_trajectory(speed[:, :2], STEP, position=position[:, :2], path_length=260.0)
    assert np.isnan(wave_amplitude(two))


# Lines --------------------------------------------------------------------------------


def chain(first: FloatArray, followers: int) -> FloatArray:
    """Speeds (T, 1 + followers) of a linear line behind a vehicle with these speeds (T,).

    dv/dt = GAP_GAIN (h - TIME_GAP v) + SPEED_GAIN (v_leader - v), in even motion at first.
    """
    speed = np.zeros((len(first), 1 + followers))
    speed[:, 0] = first - first[0]
    gap = np.zeros(followers)
    for t in range(len(first) - 1):
        behind, ahead = speed[t, 1:], speed[t, :-1]
        u = GAP_GAIN * (gap - TIME_GAP * behind) + SPEED_GAIN * (ahead - behind)
        speed[t + 1, 1:] = behind + STEP * u
        change = ahead - behind + speed[t + 1, :-1] - speed[t + 1, 1:]
        gap = gap + 0.5 * STEP * change  # trapezoid
    return speed + first[0]


def known_gain(frequency: FloatArray, followers: int) -> FloatArray:
    """Of ``chain``, from the z transform of its recursion."""
    z = np.exp(2j * np.pi * frequency * STEP)
    derivative = (z - 1) / STEP
    integral = (z + 1) / (2 * derivative)
    own = derivative + GAP_GAIN * integral + GAP_GAIN * TIME_GAP + SPEED_GAIN
    gain: FloatArray = np.abs((GAP_GAIN * integral + SPEED_GAIN) / own) ** followers
    return gain


def line(make_trajectory, first: FloatArray, followers: int = 8) -> Trajectory:
    speed = chain(first, followers)
    leader = np.tile(np.arange(-1, followers), (len(speed), 1))
    return make_trajectory(speed, STEP, leader=leader)


def seconds(duration: float) -> FloatArray:
    return np.arange(round(duration / STEP)) * STEP


@pytest.mark.parametrize("frequency", [0.02, 0.05, 0.1])
def test_a_few_periods_of_a_sine_have_the_known_gain(make_trajectory, frequency: float) -> None:
    time = seconds(300)
    sine = np.where(time < 4 / frequency, np.sin(2 * np.pi * frequency * time), 0.0)
    found = head_to_tail(line(make_trajectory, 15.0 + sine))
    assert found is not None
    at = np.argmin(np.abs(found.frequency - frequency))
    assert found.excited[at]
    expected = known_gain(found.frequency, 8)
    assert found.gain[found.excited] == pytest.approx(expected[found.excited], rel=1e-3)


def test_a_sine_that_goes_on_to_the_end_errs_by_its_delay_alone(make_trajectory) -> None:
    """About 10 s through the line of 300 s."""
    sine = 15.0 + np.sin(2 * np.pi * 0.05 * seconds(300))
    expected = known_gain(np.array([0.05]), 8)[0]
    assert string_gain(line(make_trajectory, sine)) == pytest.approx(expected, rel=0.06)


def test_a_change_of_speed_has_the_known_gain(make_trajectory) -> None:
    """The slow-down's ramp, in a minute and a half: speeds do not end where they began."""
    ramp = np.interp(seconds(90), [0, 30], [30, 15])
    found = head_to_tail(line(make_trajectory, ramp))
    assert found is not None and found.excited.sum() >= 2
    expected = known_gain(found.frequency, 8)[found.excited]
    assert found.gain[found.excited] == pytest.approx(expected, rel=0.02)


def test_the_gain_of_a_line_grows_with_its_length(make_trajectory) -> None:
    pulse = 15.0 - 5.0 * np.exp(-np.square((seconds(200) - 30) / 6))
    gains = [string_gain(line(make_trajectory, pulse, followers)) for followers in (1, 4, 8)]
    assert 1.0 < gains[0] < gains[1] < gains[2]
    assert gains[1] == pytest.approx(gains[0] ** 4, rel=0.01)


def test_columns_in_any_order_form_a_line(make_trajectory) -> None:
    """Column 2 leads, then 0, then 1."""
    pulse = 15.0 - 5.0 * np.exp(-np.square((seconds(200) - 30) / 6))
    speed = chain(pulse, 2)[:, [1, 2, 0]]
    mixed = make_trajectory(speed, STEP, leader=np.tile([2, 0, -1], (len(speed), 1)))
    assert string_gain(mixed) == pytest.approx(string_gain(line(make_trajectory, pulse, 2)))


def test_a_gain_needs_a_line_and_a_disturbance(make_trajectory) -> None:
    pulse = 15.0 - 5.0 * np.exp(-np.square((seconds(100) - 30) / 6))
    good = line(make_trajectory, pulse)
    speed, leader = good.speed, good.leader
    never = np.zeros_like(good.collided)
    crash, swapped, forked = never.copy(), leader.copy(), leader.copy()
    crash[50, 3] = True
    swapped[500:, [3, 4]] = swapped[500:, [4, 3]]
    forked[:, 8] = 6
    assert string_gain(good) > 1.0
    for broken in (
        make_trajectory(speed, STEP, leader=leader, path_length=500.0),
        make_trajectory(speed, STEP, leader=leader, collided=crash),
        make_trajectory(speed, STEP, leader=swapped),
        make_trajectory(speed, STEP, leader=forked),
        make_trajectory(speed, STEP, leader=leader, present=~crash),
        make_trajectory(speed[:, :1], STEP),
    ):
        assert np.isnan(string_gain(broken)) and string_gain_spectrum(broken) is None
    assert np.isnan(string_gain(line(make_trajectory, np.full(300, 15.0))))


# SUMO ---------------------------------------------------------------------------------


def test_a_platoon_in_sumo_has_the_gain_of_its_linear_model() -> None:
    """OVM (0.5, 0.5) behind a lead that slows down by 0.2 m/s in 3 s.

    Around 20 m, u = alpha (V(h) - v) + beta (v_leader - v) has V' = pi / 2 per s, so a
    vehicle has the transfer function (beta s + alpha V') / (s^2 + (alpha + beta) s + alpha V').
    """
    config = load_scenario(
        "slowdown",
        [
            "start.speed_mps=15.2",
            "start.speed_factor=[1.0, 1.0]",
            "start.headway_m=20.127",  # V(h) = 15.2 m/s
            "vehicles.0.parameters={final_speed: 15.0, ramp: 3.0}",
            "episode.steps=1200",
            "network.length_m=9000",
        ],
    )
    episodes: list[Trajectory] = []
    run_episodes(make_driver("constant:3")[0], config, episodes=1, on_episode=episodes.append)
    found = head_to_tail(episodes[0])
    assert found is not None
    s = 2j * np.pi * found.frequency[found.excited]
    spring = 0.5 * np.pi / 2
    expected = np.abs((0.5 * s + spring) / (s**2 + s + spring)) ** 8
    assert found.gain[found.excited] == pytest.approx(expected, rel=0.03)


def test_noisy_drivers_on_the_ring_make_a_wave_and_quiet_ones_none() -> None:
    overrides = ["start.jitter_m=0", "episode.steps=6000"]
    noisy, quiet = (
        run_episodes(make_driver(name)[0], load_scenario("ring", overrides), episodes=1)[0]
        for name in ("idm:noise=0.2", "idm")
    )
    assert noisy["wave_amplitude_mps"] > 1.5 and quiet["wave_amplitude_mps"] < 0.02
    assert np.isnan(noisy["string_gain_max"])


def test_flow_on_the_ring_is_density_times_speed_and_what_passes_a_point() -> None:
    """22 vehicles on 260 m at 4.82 m/s."""
    episodes: list[Trajectory] = []
    config = load_scenario("ring", ["start.jitter_m=0"])
    (figures,) = run_episodes(make_driver("idm")[0], config, episodes=1, on_episode=episodes.append)
    flow = figures["throughput_vehicles_per_h"]
    assert flow == pytest.approx(22 / 0.260 * figures["mean_speed_mps"] * 3.6)
    assert flow == pytest.approx(1468, rel=0.005)
    position = episodes[0].position[2000:]  # the last 100 s
    passed = (np.diff(position, axis=0) < 0).sum()
    assert passed == pytest.approx(flow / 36, abs=1)
