"""SUMO starts once in a process; what goes wrong is one error, and no obstacle afterwards."""

from __future__ import annotations

import gc
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trafficrl.config import load_scenario
from trafficrl.errors import ScenarioError, SimulationError
from trafficrl.simulation.networks import build_network
from trafficrl.simulation.sumo import SumoSimulation

Prepare = Callable[..., Any]  # see conftest.py


def test_a_second_libsumo_simulation_is_refused_until_the_first_is_closed(
    prepare: Prepare,
) -> None:
    first, second = prepare("ring").load(), prepare("ring")
    first.place_evenly(3)
    with pytest.raises(SimulationError, match=r"close the other.*simulation\.backend: traci"):
        second.load()
    first.simulation.step(np.full(3, 0.1))  # not disturbed by the attempt
    assert first.simulation.read()[0].tolist() == [0.1] * 3
    first.simulation.close()
    second.load().place_evenly(2)
    with pytest.raises(SimulationError, match="runs already in this process"):
        first.load()
    second.simulation.close()
    first.load().place_evenly(4)
    assert len(first.simulation.read()[0]) == 4


def test_traci_runs_beside_libsumo(prepare: Prepare) -> None:
    both = [prepare("ring").load(), prepare("ring", "simulation.backend=traci").load()]
    for traffic in both:
        traffic.place_evenly(3)
    both[0].simulation.step(np.full(3, 0.1))
    assert [traffic.simulation.read()[0][0] for traffic in both] == [0.1, 0.0]


def test_a_simulation_that_was_dropped_without_closing_does_not_block_the_next(
    prepare: Prepare,
) -> None:
    config = load_scenario("ring")
    leaked = SumoSimulation(config.simulation, vehicle_length=5.0)
    leaked.load(build_network(config.network))
    del leaked
    gc.collect()
    traffic = prepare("ring").load()
    traffic.place_evenly(5)
    traffic.simulation.step(np.full(5, 0.1))
    assert traffic.simulation.read()[0].tolist() == [0.1] * 5


def test_closing_twice_or_before_loading_does_no_harm(prepare: Prepare) -> None:
    running, idle = prepare("ring").load(), prepare("ring")
    idle.simulation.close()
    running.place_evenly(2)
    running.simulation.step(np.full(2, 0.1))
    running.simulation.close()
    running.simulation.close()
    running.load()


@pytest.mark.parametrize("backend", ["libsumo", "traci"])
@pytest.mark.parametrize("started", [False, True])
def test_a_missing_network_is_one_error_and_no_obstacle(
    backend: str, started: bool, prepare: Prepare
) -> None:
    traffic = prepare("ring", f"simulation.backend={backend}")
    if started:
        traffic.load()
    missing = replace(traffic.network, net_file=Path("/nowhere/ring.net.xml"))
    with pytest.raises(SimulationError, match=r"/nowhere/ring\.net\.xml") as caught:
        traffic.simulation.load(missing)
    assert "\n" not in str(caught.value)
    traffic.load().place_evenly(3)
    assert len(traffic.simulation.read()[0]) == 3


def test_more_vehicles_than_fit_are_refused_before_sumo_starts() -> None:
    with pytest.raises(ScenarioError, match=r"38 vehicles do not fit a ring of 260 m.*at most 37"):
        load_scenario("ring", ["vehicles.0.count=38"])


def test_a_speed_above_the_limit_is_one_error_and_no_obstacle(prepare: Prepare) -> None:
    traffic = prepare("ring").load()
    with pytest.raises(SimulationError, match="speed"):
        traffic.place(np.array([200.0, 100.0]), np.array([30.0, 35.0]))
    traffic.place_evenly(3, speed=30.0)
    assert traffic.simulation.read()[0].tolist() == [30.0] * 3


def test_vehicles_can_be_placed_anew_after_one_has_left_the_road(prepare: Prepare) -> None:
    traffic = prepare("catchup", "network.length_m=350", "episode.steps=10").load()
    positions = 300.0 - 25.0 * np.arange(9)
    traffic.place(positions, 15.0)
    with pytest.raises(SimulationError, match="v0"):
        traffic.trajectory(np.full((100, 9), 15.0))
    traffic.place(positions, 15.0)
    assert traffic.simulation.read()[0].tolist() == [15.0] * 9


def test_a_sumo_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trafficrl.simulation.sumo.CLOSE_TIMEOUT", 0.5)
    config = load_scenario("ring", ["simulation.backend=traci"])
    simulation = SumoSimulation(config.simulation, vehicle_length=5.0)
    simulation.load(build_network(config.network, 1))
    process = simulation._process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    simulation.close()
    assert process.returncode == -signal.SIGKILL
