"""Every metric against numbers worked out by hand; waves and SUMO have files of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from trafficrl.evaluation.metrics import METRICS
from trafficrl.evaluation.metrics.base import metric
from trafficrl.evaluation.trajectory import Trajectory

NAN = np.nan


def of(name: str, trajectory: Trajectory) -> float:
    return METRICS[name].of(trajectory)


# Task ---------------------------------------------------------------------------------


def test_returns_and_terms_are_summed_over_agents_and_intervals(make_trajectory) -> None:
    """Two agents, two control intervals of three steps; a term that the return leaves out."""
    trajectory = make_trajectory(
        np.zeros((6, 2)),
        reward=np.array([[1.0, 2.0], [3.0, -4.0]]),
        reward_terms={
            "desired_speed": np.array([[1.0, 2.0], [3.0, -4.0]]),
            "collision": np.array([[0.0, 0.0], [-10.0, -20.0]]),
        },
    )
    assert of("return_mean", trajectory) == 2.0
    assert of("return_per_step", trajectory) == pytest.approx(2.0 / 6)
    assert of("reward_desired_speed", trajectory) == 2.0
    assert of("reward_collision", trajectory) == -30.0
    assert np.isnan(of("reward_squared_headway_error", trajectory))
    assert of("episode_steps", trajectory) == 6.0


def test_a_vehicle_has_the_reward_of_its_agent_and_none_if_it_does_not_learn(
    make_trajectory,
) -> None:
    rewards = np.array([[1.0, 2.0], [3.0, 4.0]])
    trajectory = make_trajectory(
        np.zeros((2, 3)),
        agents=np.array([0, 2]),
        reward=rewards,
        reward_terms={"desired_speed": rewards},
    )
    alone = [trajectory.only(vehicle) for vehicle in range(3)]
    assert [of("return_mean", one) for one in alone] == pytest.approx([4.0, NAN, 6.0], nan_ok=True)
    assert of("reward_desired_speed", alone[2]) == 6.0


# Speed --------------------------------------------------------------------------------


def test_speeds_are_of_the_last_third_and_of_the_whole(make_trajectory) -> None:
    speed = np.array([[0, 0], [1, 1], [2, 2], [3, 3], [4, 6], [5, 9]])
    trajectory = make_trajectory(speed)
    assert of("mean_speed_mps", trajectory) == 6.0
    assert of("speed_std_mps", trajectory) == pytest.approx(np.std([4, 5, 6, 9]))
    assert of("mean_speed_episode_mps", trajectory) == pytest.approx(36 / 12)


def test_steps_that_a_collision_held_still_count_for_speeds_and_length(make_trajectory) -> None:
    """2 steps driven, 4 held: the last third is all of the speed at the collision."""
    trajectory = make_trajectory([[1.0], [3.0]], held_steps=4)
    assert of("mean_speed_mps", trajectory) == 3.0
    assert of("mean_speed_episode_mps", trajectory) == pytest.approx((1 + 5 * 3) / 6)
    assert of("episode_steps", trajectory) == 6.0
    assert of("acceleration_rms_mps2", trajectory) == pytest.approx(np.sqrt(2.0))


def test_throughput_of_a_loop_is_density_times_mean_speed(make_trajectory) -> None:
    """4 vehicles on 100 m at 5 m/s: 0.04 / m * 5 m/s = 0.2 / s = 720 / h."""
    trajectory = make_trajectory(np.full((9, 4), 5.0), path_length=100.0)
    assert of("throughput_vehicles_per_h", trajectory) == pytest.approx(720.0)


def test_throughput_of_an_open_network_is_arrivals_per_hour(make_trajectory) -> None:
    """Two of all vehicles leave in 10 s, whoever drove them."""
    present = np.ones((10, 2), bool)
    present[7:, 0] = False
    trajectory = make_trajectory(np.ones((10, 2)), present=present, left=2)
    assert of("throughput_vehicles_per_h", trajectory) == pytest.approx(720.0)
    nobody_leaves = make_trajectory(np.ones((10, 2)))
    assert np.isnan(of("throughput_vehicles_per_h", nobody_leaves))


# Safety -------------------------------------------------------------------------------


def test_headways_and_time_gaps_leave_out_who_has_no_leader_or_stands(make_trajectory) -> None:
    """Behind vehicle 0, gaps of 10, 20, 30, 40 m at 2, 0.5, 10, 20 m/s."""
    trajectory = make_trajectory(
        [[9.0, 2.0], [9.0, 0.5], [9.0, 10.0], [9.0, 20.0]],
        headway=np.array([[np.inf, 10.0], [np.inf, 20.0], [np.inf, 30.0], [np.inf, 40.0]]),
        leader=np.tile([-1, 0], (4, 1)),
    )
    assert of("headway_mean_m", trajectory) == 25.0
    assert of("headway_p5_m", trajectory) == pytest.approx(10 + 0.05 * 3 * 10)
    assert of("time_gap_mean_s", trajectory) == pytest.approx((5 + 3 + 2) / 3)
    assert of("time_gap_p5_s", trajectory) == pytest.approx(2 + 0.05 * 2 * 1)
    assert np.isnan(of("headway_mean_m", trajectory.only(0)))
    assert np.isnan(of("time_gap_p5_s", trajectory.only(0)))


def test_time_to_collision_is_gap_over_approach(make_trajectory) -> None:
    """Approach at 5, 2, 0 and -1 m/s over gaps of 10, 8, 1 and 1 m: 2 s, 4 s, never, never."""
    own, leader = np.array([10.0, 7.0, 5.0, 4.0]), 5.0
    trajectory = make_trajectory(
        np.stack([np.full(4, leader), own], axis=1),
        headway=np.array([[np.inf, gap] for gap in (10.0, 8.0, 1.0, 1.0)]),
        leader_speed=np.array([[NAN, leader]] * 4),
    )
    assert of("ttc_min_s", trajectory) == 2.0
    assert of("ttc_below_3s_fraction", trajectory) == 0.25
    assert of("ttc_min_s", trajectory.only(1)) == 2.0
    assert np.isnan(of("ttc_min_s", trajectory.only(0)))
    assert np.isnan(of("ttc_below_3s_fraction", trajectory.only(0)))


def test_who_overlaps_the_leader_has_no_time_left_unless_they_do_not_touch(
    make_trajectory,
) -> None:
    """Where lanes merge, two that are level beside each other have a gap below 0."""
    fields = {"headway": np.array([[-0.5], [4.0]]), "leader_speed": np.array([[1.0], [1.0]])}
    collided = np.array([[True], [False]])
    touching = make_trajectory([[2.0], [2.0]], **fields, collided=collided)
    assert of("ttc_min_s", touching) == 0.0
    assert of("headway_mean_m", touching) == 1.75
    beside = make_trajectory([[2.0], [2.0]], **fields)
    assert of("ttc_min_s", beside) == 4.0
    assert of("ttc_below_3s_fraction", beside) == 0.0
    assert of("headway_mean_m", beside) == of("headway_p5_m", beside) == 4.0
    assert of("time_gap_p5_s", beside) == 2.0


def test_collisions_count_vehicles_and_emergency_brakings_their_beginnings(
    make_trajectory,
) -> None:
    collided = np.array([[0, 0, 0], [1, 1, 0], [1, 0, 0], [0, 1, 0]], dtype=bool)
    acceleration = np.array([[-5, 0, -4.5], [-6, -5, 0], [0, 0, -9], [-4.6, -5, -9]])
    trajectory = make_trajectory(np.ones((4, 3)), collided=collided, acceleration=acceleration)
    assert of("collisions", trajectory) == 2
    assert of("emergency_brakings", trajectory) == 2 + 2 + 1
    assert [of("collisions", trajectory.only(i)) for i in range(3)] == [1, 1, 0]


def test_a_slot_that_another_vehicle_takes_can_collide_anew(make_trajectory) -> None:
    collided = np.array([[1], [1], [0], [1]], dtype=bool)
    entered = np.array([[0], [0], [1], [0]], dtype=bool)
    trajectory = make_trajectory(np.ones((4, 1)), collided=collided, entered=entered)
    assert of("collisions", trajectory) == 2


def test_teleports_are_counted(make_trajectory) -> None:
    teleported = np.array([[1, 0], [0, 0], [1, 1]], dtype=bool)
    assert of("teleports", make_trajectory(np.ones((3, 2)), teleported=teleported)) == 3


# Comfort ------------------------------------------------------------------------------


def test_acceleration_and_jerk_are_root_mean_squares(make_trajectory) -> None:
    """Accelerations 0, 2, -1, -1 m/s2 in steps of 0.5 s: jerks 4, -6, 0 m/s3."""
    trajectory = make_trajectory([[5.0], [6.0], [5.5], [5.0]], step=0.5)
    assert of("acceleration_rms_mps2", trajectory) == pytest.approx(np.sqrt((4 + 1 + 1) / 4))
    assert of("jerk_rms_mps3", trajectory) == pytest.approx(np.sqrt((16 + 36) / 3))


# Energy -------------------------------------------------------------------------------


def test_emissions_are_rates_times_time_and_over_the_distance(make_trajectory) -> None:
    """Two vehicles at 10 m/s for 5 s drive 0.1 km; 1 and 3 g of fuel a second make 20 g."""
    rates = np.zeros((5, 2, 3))
    rates[:, 0], rates[:, 1] = (1000.0, 3000.0, 2.0), (3000.0, 9000.0, 4.0)
    trajectory = make_trajectory(np.full((5, 2), 10.0), emissions=rates)
    expected = {
        "fuel_g": 20.0,
        "co2_g": 60.0,
        "nox_mg": 30.0,
        "fuel_g_per_km": 200.0,
        "co2_g_per_km": 600.0,
        "nox_mg_per_km": 300.0,
    }
    assert {name: of(name, trajectory) for name in expected} == pytest.approx(expected)
    assert of("fuel_g_per_km", trajectory.only(1)) == pytest.approx(15.0 / 0.05)
    standing = make_trajectory(np.zeros((5, 2)), emissions=rates)
    assert np.isnan(of("co2_g_per_km", standing)) and of("co2_g", standing) == 60.0


# Control ------------------------------------------------------------------------------


def test_overrides_are_a_share_of_commands_and_messages_a_mean(make_trajectory) -> None:
    overridden = np.array([[1, 0], [0, 0], [1, 1], [0, 0]], dtype=bool)
    trajectory = make_trajectory(
        np.ones((4, 2)), overridden=overridden, messages=np.array([4.0, 1.0])
    )
    assert of("override_fraction", trajectory) == 3 / 8
    assert of("override_fraction", trajectory.only(0)) == 0.5
    assert of("messages_per_control_step", trajectory) == 2.5


# Vehicles that come and go ------------------------------------------------------------


def half_there(make_trajectory, **fields: Any) -> Trajectory:
    """Vehicle 1 is there in steps 2 and 3 of 4 alone."""
    present = np.array([[1, 0], [1, 1], [1, 1], [1, 0]], dtype=bool)
    entered = np.array([[0, 0], [0, 1], [0, 0], [0, 0]], dtype=bool)
    speed = np.where(present, [[1.0, 0.0], [2.0, 5.0], [3.0, 8.0], [4.0, 0.0]], NAN)
    acceleration = np.array([[1.0, NAN], [1.0, NAN], [1.0, 3.0], [1.0, NAN]])
    emissions = np.where(present[..., None], 1000.0, NAN) * np.ones(3)
    return make_trajectory(
        speed,
        present=present,
        entered=entered,
        acceleration=acceleration,
        emissions=emissions,
        position=np.where(present, 0.0, NAN),
        **fields,
    )


def test_metrics_are_over_who_is_there(make_trajectory) -> None:
    overridden = np.array([[0, 0], [1, 0], [0, 1], [0, 0]], dtype=bool)
    trajectory = half_there(make_trajectory, overridden=overridden, left=1)
    expected = {
        "mean_speed_episode_mps": (1 + 2 + 3 + 4 + 5 + 8) / 6,
        "mean_speed_mps": 4.0,
        "speed_std_mps": 0.0,
        "acceleration_rms_mps2": np.sqrt((4 * 1 + 9) / 5),
        "jerk_rms_mps3": 0.0,
        "fuel_g": 6.0,
        "fuel_g_per_km": 6.0 / 0.023,
        "override_fraction": 2 / 5,
        "throughput_vehicles_per_h": 3600 / 4,
    }
    assert {name: of(name, trajectory) for name in expected} == pytest.approx(expected)


def test_every_metric_stands_an_empty_network(make_trajectory) -> None:
    """Nobody is there at all: nothing is defined but counts, and nothing warns."""
    gone, never = np.full((6, 2), NAN), np.zeros((6, 2), bool)
    fields = {name: gone for name in ("position", "distance", "acceleration", "headway")}
    for path_length in (np.inf, 100.0):
        trajectory = make_trajectory(
            gone,
            present=never,
            emissions=np.full((6, 2, 3), NAN),
            path_length=path_length,
            **fields,
        )
        with np.errstate(all="raise"):
            figures = {name: metric.of(trajectory) for name, metric in METRICS.items()}
        counts = {"collisions", "emergency_brakings", "teleports", "episode_steps", "return_mean"}
        assert all(figures[name] in (0.0, 6.0) for name in counts)
        assert np.isnan(figures["mean_speed_mps"]) and np.isnan(figures["wave_amplitude_mps"])


# The list -----------------------------------------------------------------------------


def test_a_metric_is_listed_once() -> None:
    with pytest.raises(ValueError, match="metric 'collisions' is registered twice"):
        metric("collisions", "safety", "vehicles", "again")(lambda trajectory: 0.0)


def test_names_end_in_the_unit_that_they_have() -> None:
    units = {"m/s": "_mps", "m/s2": "_mps2", "m/s3": "_mps3", "m": "_m", "s": "_s"}
    units |= {"g": "_g", "mg": "_mg", "g/km": "_g_per_km", "mg/km": "_mg_per_km"}
    units |= {"vehicles/h": "_vehicles_per_h"}
    for name, one in METRICS.items():
        assert one.unit not in units or name.endswith(units[one.unit]), name
