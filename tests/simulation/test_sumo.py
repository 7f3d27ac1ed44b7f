"""SUMO drives what it is told, repeats itself and loses nobody."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import libsumo
import numpy as np
import pytest

from trafficrl.types import FloatArray

LENGTH = 5.0  # m, of a vehicle
Prepare = Callable[..., Any]  # see conftest.py

RING = ("ring", 260.0 * (21.5 - np.arange(22)) / 22, 0.0)
PLATOON = ("catchup", 300.0 - 25.0 * np.arange(9), 15.0)


def random_commands(steps: int, count: int, top: float = 8.0) -> FloatArray:
    return np.random.default_rng(1).uniform(0.0, top, (steps, count))


def assert_same(one: list[FloatArray], other: list[FloatArray]) -> None:
    assert len(one) == len(other)
    for mine, yours in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, yours)


@pytest.mark.parametrize(("scenario", "positions", "speed"), [RING, PLATOON])
def test_traci_and_libsumo_are_bit_identical(
    scenario: str, positions: FloatArray, speed: float, prepare: Prepare
) -> None:
    commands = random_commands(80, len(positions), top=2 * speed or 8.0)
    seen = []
    for backend in ("libsumo", "traci"):
        traffic = prepare(scenario, f"simulation.backend={backend}").load()
        traffic.place(positions, speed)
        seen.append(traffic.trajectory(commands))
    assert_same(*seen)


@pytest.mark.parametrize(("scenario", "positions", "speed"), [RING, PLATOON])
def test_placing_anew_equals_a_fresh_start(
    scenario: str, positions: FloatArray, speed: float, prepare: Prepare
) -> None:
    commands = random_commands(200, len(positions))
    traffic = prepare(scenario).load()
    traffic.place(positions, speed)
    fresh = traffic.trajectory(commands)
    traffic.place(positions + 1.5, speed / 2)
    traffic.trajectory(commands[::-1])
    traffic.place(positions, speed)
    assert_same(traffic.trajectory(commands), fresh)


def test_a_vehicle_drives_what_is_commanded_by_the_trapezoid_rule(prepare: Prepare) -> None:
    traffic = prepare("ring", "simulation.speed_mode=0").load()
    traffic.place(np.array([100.0]))
    driven, last = 0.0, 0.0
    for command in random_commands(300, 1):
        traffic.simulation.step(command)
        driven += 0.05 * (last + command.item())
        last = command.item()
        speeds, distances = traffic.simulation.read()
        assert (speeds[0], distances[0]) == pytest.approx((last, driven), abs=1e-9)


@pytest.mark.parametrize("mode", [0, 1])
def test_a_free_vehicle_takes_up_any_speed_at_once(mode: int, prepare: Prepare) -> None:
    traffic = prepare("ring", f"simulation.speed_mode={mode}").load()
    traffic.place(np.array([100.0]))
    for speed in (0.3, 0.6, 0.2, 1.0):
        traffic.simulation.step(np.array([speed]))
        assert traffic.simulation.read()[0].tolist() == [speed]


def test_vehicles_in_a_jam_are_neither_teleported_nor_lost(prepare: Prepare) -> None:
    """320 s behind a standing vehicle; SUMO's own patience ends at 300 s."""
    traffic = prepare("ring").load()
    traffic.place_evenly(22)
    commands = np.full(22, 5.0)
    commands[0] = 0.0
    for _ in range(3200):
        traffic.simulation.step(commands)
        assert libsumo.simulation.getStartingTeleportNumber() == 0
    speeds, distances = traffic.simulation.read()
    assert libsumo.vehicle.getIDCount() == 22
    assert speeds.max() < 0.1
    # The queue has closed up to SUMO's gaps of 2 m: vehicle i by i times what was free.
    expected = np.arange(22) * (260 / 22 - LENGTH - 2.0)
    np.testing.assert_allclose(distances, expected, rtol=0, atol=0.1)


def test_nobody_vanishes_or_jumps_after_a_collision(prepare: Prepare) -> None:
    traffic = prepare("ring", "simulation.speed_mode=0").load()
    traffic.place_evenly(22)
    commands = np.zeros(22)
    commands[1] = 5.0
    seen: set[int] = set()
    for _ in range(400):
        traffic.simulation.step(commands)
        seen |= set(traffic.collided())
    assert {0, 1} <= seen
    assert libsumo.vehicle.getIDCount() == 22
    distances = traffic.simulation.read()[1]
    assert distances[1] == pytest.approx(199.75, abs=1e-6)
    assert (np.delete(distances, 1) == 0).all()


def test_a_collision_is_an_overlap_and_no_small_gap(prepare: Prepare) -> None:
    traffic = prepare("ring", "simulation.speed_mode=0").load()
    traffic.place(np.array([100.0, 90.0]))
    reports = {}
    for _ in range(40):
        traffic.simulation.step(np.array([0.0, 2.0]))
        gap = 100.0 - LENGTH - 90.0 - traffic.simulation.read()[1][1]
        if collided := traffic.collided():
            reports[round(gap, 6)] = collided
    # 0.2 m a step: once, in the first step with an overlap.
    assert reports == {-0.1: [0, 1]}


def test_a_collision_at_the_crossing_is_seen(prepare: Prepare) -> None:
    """Two vehicles reach the figure eight's crossing from two arms at once."""
    traffic = prepare("figure_eight", "simulation.speed_mode=0").load()
    north, west = traffic.network.courses[0].crossings  # 201 m from each other along the course
    traffic.place(np.array([west - 40.0, north - 40.0]))
    collided: list[int] = []
    for _ in range(60):
        traffic.simulation.step(np.full(2, 10.0))
        collided = collided or traffic.collided()
    assert collided == [0, 1]


def test_leaders_agree_with_geometry_on_two_lanes(prepare: Prepare) -> None:
    traffic = prepare("ring", "network.lanes=2").load()
    start = np.sort(np.random.default_rng(2).choice(np.arange(0.0, 260.0, 8.0), 20, replace=False))
    traffic.place(start, lanes=2)
    lane = np.arange(20) % 2
    for command in random_commands(150, 20):
        index, gap, _ = traffic.simulation.leaders()
        position = start + traffic.simulation.read()[1]
        ahead = np.mod(position - position[:, None], 260.0)  # from row to column
        ahead[lane[:, None] != lane] = np.inf
        np.fill_diagonal(ahead, np.inf)
        assert index.tolist() == ahead.argmin(axis=1).tolist()
        np.testing.assert_allclose(gap, ahead.min(axis=1) - LENGTH, rtol=0, atol=1e-6)
        traffic.simulation.step(command)
    assert traffic.simulation.read()[1].min() > 10.0


def test_a_lone_vehicle_has_no_leader(prepare: Prepare) -> None:
    traffic = prepare("ring", "network.length_m=100", "vehicles.0.count=1").load()
    traffic.place(np.array([30.0]))
    index, gap, _ = traffic.simulation.leaders()
    assert (index.tolist(), gap.tolist()) == ([-1], [np.inf])


def test_as_many_vehicles_as_fit_drive_without_collision(prepare: Prepare) -> None:
    traffic = prepare("ring").load()
    traffic.place_evenly(37)
    for command in random_commands(300, 37):
        traffic.simulation.step(command)
        assert traffic.collided() == []
    assert libsumo.vehicle.getIDCount() == 37
