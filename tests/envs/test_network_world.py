"""Vehicles on streets: they circulate for ever, or come and go, and SUMO keeps the law."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import libsumo
import numpy as np
import pytest

from trafficrl.config import load_scenario
from trafficrl.controllers import make_controller
from trafficrl.envs.array_env import ArrayEnv, Step
from trafficrl.envs.circulation import Circulation
from trafficrl.envs.order import too_close
from trafficrl.errors import ScenarioError, TrafficRLError
from trafficrl.training.episodes import EpisodeRecorder

OpenArray = Callable[..., ArrayEnv]
GRID, MERGE = "transfer/grid", "transfer/merge"
SHORT = "warmup=null"
TWO_LANES = "network={kind: random, lanes: 2, seed: 5, junctions: traffic_light}"


def drive(env: ArrayEnv, seed: int = 0, **parameters: float) -> list[Step]:
    """An episode of IDM drivers."""
    rng = np.random.default_rng(seed)
    env.reset(rng)
    controller = make_controller("idm", parameters)
    controller.reset(env.states, rng)
    steps = []
    while not env.done:
        steps.append(env.drive(controller))
    return steps


def same(one: list[Step], other: list[Step]) -> bool:
    return all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for a, b in zip(one, other, strict=True)
        for name in ("obs", "reward", "overridden", "collided", "entered", "commands")
    )


@pytest.mark.parametrize(
    ("scenario", "overrides"),
    [
        (GRID, []),
        ("transfer/network", [TWO_LANES, "vehicles.0.count=50"]),
        (MERGE, ["warmup.duration_s=10"]),
        ("transfer/ring_2lanes", []),
        ("transfer/figure_eight_30", []),
    ],
)
def test_an_episode_repeats_bit_for_bit_and_depends_on_its_seed_alone(
    scenario: str, overrides: list[str], open_array: OpenArray
) -> None:
    env = open_array(scenario, *overrides, "episode.steps=400")
    first = drive(env, 1, noise=0.2)
    other = drive(env, 2, noise=0.2)
    assert same(first, drive(env, 1, noise=0.2))
    assert not same(first, other)
    fresh = open_array(scenario, *overrides, "episode.steps=400")
    assert same(first, drive(fresh, 1, noise=0.2))


def test_traci_gives_the_same_episode(open_array: OpenArray) -> None:
    overrides = ["episode.steps=100", "vehicles.0.count=8", SHORT]
    here = drive(open_array(MERGE, *overrides))
    there = drive(open_array(MERGE, *overrides, "simulation.backend=traci"))
    assert same(here, there)


# Circulation --------------------------------------------------------------------


def test_routes_do_not_depend_on_how_vehicles_are_driven(open_array: OpenArray) -> None:
    """Who compares two controllers compares them on the same routes."""
    env = open_array(GRID, "episode.steps=600", "vehicles.0.count=4")
    seen = []
    for desired_speed in (5.0, 10.0):
        rng = np.random.default_rng(0)
        env.reset(rng)
        controller = make_controller("idm", {"desired_speed": desired_speed})
        passed: dict[str, list[str]] = {}
        while not env.done:
            env.drive(controller)
            for vehicle in libsumo.vehicle.getIDList():
                road, edges = libsumo.vehicle.getRoadID(vehicle), passed.setdefault(vehicle, [])
                if not road.startswith(":") and edges[-1:] != [road]:
                    edges.append(road)
        seen.append(passed)
    slow, fast = seen
    for vehicle, edges in slow.items():
        assert 2 < len(edges) < len(fast[vehicle])
        assert edges == fast[vehicle][: len(edges)]


@pytest.mark.parametrize(
    "network", [{"kind": "grid"}, {"kind": "spider"}, {"kind": "random", "seed": 3}]
)
def test_nobody_stops_at_the_end_of_a_route(network: Any, open_array: OpenArray) -> None:
    """A lone vehicle drives far beyond its first route, at the speed limit where it is straight."""
    env = open_array(
        "transfer/network", f"network={network}", "vehicles.0.count=1", "episode.steps=6000"
    )
    env.reset()
    controller = make_controller("idm")
    slowest = np.inf
    while not env.done:
        env.drive(controller)
        assert env.states.present.all()
        if env.steps > 300:  # it has got going
            slowest = min(slowest, float(env.states.speed.min()))
    assert env.states.distance.min() > 4500.0
    assert slowest > 1.5  # it turns, but never stops


def test_all_circulate_for_300_s_without_a_jam_that_stays(open_array: OpenArray) -> None:
    env = open_array(GRID)
    drive(env)
    assert env.steps == 3000
    assert env.states.present.all()
    # More than the first 1,500 m of route, and three times what a vehicle at rest would have.
    assert np.median(env.states.distance) > 1800.0
    assert env.states.distance.min() > 900.0


def test_who_cannot_change_lanes_in_time_goes_where_the_lane_leads(open_array: OpenArray) -> None:
    """Else it would wait at the lane's end for a gap, and others behind it, to the end."""
    env = open_array("transfer/network", "network={kind: grid, lanes: 2}", "vehicles.0.count=60")
    env.reset(np.random.default_rng(0))
    controller = make_controller("idm")
    standing = longest = np.zeros(60)
    while not env.done:
        env.drive(controller)
        standing = np.where(env.states.speed[0] < 0.1, standing + 0.5, 0.0)
        longest = np.maximum(longest, standing)
    assert longest.max() < 150.0


def test_a_missed_turn_takes_nothing_from_the_stream_of_the_way(
    open_array: OpenArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing, missed = Circulation._miss_turn, set()

    def watched(self: Circulation, index: int, odometer: float) -> None:
        way, other = (
            streams[index].bit_generator.state for streams in (self._streams, self._missed)
        )
        missing(self, index, odometer)
        assert self._streams[index].bit_generator.state == way
        if self._missed[index].bit_generator.state != other:
            missed.add(index)

    monkeypatch.setattr(Circulation, "_miss_turn", watched)
    env = open_array(
        "transfer/network",
        "network={kind: grid, lanes: 3, columns: 3, rows: 3}",
        "vehicles.0.count=80",
        "episode.steps=300",
    )
    drive(env)
    assert missed


def test_vehicles_stand_apart_at_the_start_and_fill_streets_by_length(
    open_array: OpenArray,
) -> None:
    env = open_array("transfer/network", "network={kind: random, seed: 3}", "vehicles.0.count=200")
    counts: dict[str, list[int]] = {}
    for _ in range(30):
        env.reset()
        assert env.states.headway.min() >= 2.0 - 1e-6
        assert not env.states.speed.any()
        on = [libsumo.vehicle.getRoadID(one) for one in libsumo.vehicle.getIDList()]
        for edge in libsumo.edge.getIDList():
            counts.setdefault(edge, []).append(on.count(edge))
    lengths = {edge: libsumo.lane.getLength(f"{edge}_0") for edge in counts if edge[0] != ":"}
    density = 200 / sum(lengths.values())
    means = np.array([np.mean(counts[edge]) for edge in lengths])
    expected = density * np.array(list(lengths.values()))
    np.testing.assert_allclose(means, expected, atol=0.5)


def test_a_vehicle_that_sumo_removes_leaves_an_empty_slot(open_array: OpenArray) -> None:
    env = open_array("transfer/network", "network={kind: grid, lanes: 2}", "episode.steps=600")
    env.reset()
    controller = make_controller("idm")
    road = libsumo.vehicle.getRoadID("cav_7")
    libsumo.vehicle.setRoute("cav_7", [road])  # SUMO takes who is at the end off the road
    present = []
    while not env.done:
        step = env.drive(controller)
        assert np.isfinite(step.obs).all()
        assert env.states.present[0, np.arange(30) != 7].all()
        present.append(bool(env.states.present[0, 7]))
    assert present == sorted(present, reverse=True)
    assert present[0] and not present[-1]
    assert step.commands[0, 7] == step.reward[0, 7] == 0


# Who comes and goes ---------------------------------------------------------------


def test_slots_are_taken_freed_and_taken_again(open_array: OpenArray) -> None:
    env = open_array(MERGE, SHORT, "vehicles.0.count=60", "episode.control_interval_s=0.1")
    env.reset(np.random.default_rng(0))
    controller = make_controller("idm")
    before, entries, departed = env.states.present[0], 0, libsumo.simulation.getDepartedNumber()
    while not env.done:
        step = env.drive(controller)
        states = env.states
        departed += libsumo.simulation.getDepartedNumber()
        new = step.entered[0]
        assert (new <= states.present[0]).all()
        assert ((states.present[0] & ~before) <= new).all()  # nobody comes unnoticed
        assert states.present.sum() == libsumo.vehicle.getIDCount()
        entries += int(new.sum())
        before = states.present[0]
    assert env.world.without_slot.tolist() == [0]
    assert entries == departed > 100
    assert env.states.distance.max() < 1600.0  # a lap of nobody: each began at 0


def test_absent_slots_are_harmless(open_array: OpenArray) -> None:
    env = open_array(MERGE, SHORT, "episode.steps=600", "graph.range_m=100")
    env.reset(np.random.default_rng(0))
    while not env.done:
        step = env.step(np.full((1, 80, 1), 1.0))
        states = env.states
        absent = ~states.present
        assert absent.any()
        assert np.isfinite(step.obs).all()
        for values, nothing in (
            (states.speed, 0.0),
            (states.acceleration, 0.0),
            (states.distance, 0.0),
            (states.headway, np.inf),
            (states.leader, -1),
            (states.follower, -1),
            (states.commanded_speed, 0.0),
            (states.commanded_acceleration, 0.0),
            (states.overridden, False),
            (states.collided, False),
        ):
            assert (values[absent] == nothing).all()
        assert not np.isin(states.leader, np.flatnonzero(absent)).any()
        assert np.isnan(env.world.coordinates()[absent]).all()
        # Who was there for no whole step of the interval earns nothing and obeys nothing.
        idle = step.commands == 0
        assert not step.reward[idle].any()
        assert not step.overridden[idle].any()


def test_the_graph_follows_who_comes_goes_and_changes_leaders(open_array: OpenArray) -> None:
    env = open_array(MERGE, SHORT, "episode.steps=1500")
    env.reset(np.random.default_rng(0))
    controller = make_controller("idm")
    versions = set()
    while not env.done:
        env.drive(controller)
        (graph,) = env.vehicle_graphs()
        present, leader = env.states.present[0], env.states.leader[0]
        assert set(graph.graph.nodes) == set(np.flatnonzero(present).tolist())
        links = {frozenset(pair) for pair in enumerate(leader.tolist()) if pair[1] >= 0}
        assert {frozenset(edge) for edge in graph.graph.edges} == links
        assert all(
            len(one) == 0
            for one, here in zip(graph.k_hop_sets(1), present, strict=True)
            if not here
        )
        versions.add(id(graph))
    assert len(versions) > 20


def test_vehicles_beyond_the_slots_are_driven_by_sumo_and_counted(open_array: OpenArray) -> None:
    env = open_array(MERGE, SHORT, "vehicles.0.count=5", "episode.steps=1200")
    recorder = EpisodeRecorder(env)
    env.reset(np.random.default_rng(0))
    recorder.begin()
    controller = make_controller("idm")
    seen_outside, summaries = False, []
    while not env.done:
        summaries += recorder.add(env.drive(controller))
        outside = np.isfinite(env.states.headway) & (env.states.leader < 0)
        seen_outside |= bool(outside.any())
        # They are seen all the same: how far ahead, and how fast.
        assert np.isfinite(env.states.leader_speed[outside]).all()
    assert seen_outside
    (summary,) = summaries
    assert summary.without_slot == env.world.without_slot[0] > 20
    assert env.states.present.sum() <= 5 < libsumo.vehicle.getIDCount()


def test_a_slot_can_be_that_of_a_model_of_sumo_s(open_array: OpenArray) -> None:
    """Whoever takes it, in every episode; then nothing is commanded and overridden."""
    groups = "vehicles=[{controller: learned, count: 3}, {controller: 'sumo:IDM', count: 60}]"
    env = open_array(MERGE, groups, "arrangement=spread", "warmup.duration_s=30")
    model = np.isin(np.arange(63), env.agents, invert=True)
    first = drive(env, 1)
    assert same(first, drive(env, 1))
    driven = np.concatenate([step.commands for step in first]).sum(axis=0)
    overridden = np.concatenate([step.overridden for step in first]).sum(axis=0)
    assert driven[model].min() > 0 and not overridden[model].any()


def test_only_cars_take_slots(open_array: OpenArray, tmp_path: Path) -> None:
    routes = tmp_path / "mixed.rou.xml"
    routes.write_text(
        '<routes><vType id="trafficrl_bus" vClass="bus" length="12"/>'
        '<vType id="car" length="3" maxSpeed="7" speedFactor="0.5"/>'
        '<route id="r" edges="motorway acceleration onward"/>'
        '<vehicle id="bus" type="trafficrl_bus" route="r" depart="0"/>'
        '<vehicle id="one" type="car" route="r" depart="3"/>'
        '<trip id="two" from="on_ramp" to="onward" depart="3"/></routes>'
    )
    env = open_array(MERGE, SHORT, f"network.route_files=[{routes}]", "episode.steps=300")
    drive(env)
    assert env.world.without_slot.tolist() == [1]
    assert env.states.present.sum() == 2
    # Under the scenario's type they are as long as all others and not bound to 7 m/s.
    assert libsumo.vehicle.getLength("one") == libsumo.vehicle.getLength("two") == 5.0
    assert libsumo.vehicle.getLength("bus") == 12.0
    assert env.states.speed.max() > 15.0


def test_an_episode_without_any_vehicle_says_so(open_array: OpenArray, tmp_path: Path) -> None:
    routes = tmp_path / "none.rou.xml"
    routes.write_text("<routes/>")
    env = open_array(MERGE, SHORT, f"network.route_files=[{routes}]", "episode.steps=20")
    recorder = EpisodeRecorder(env)
    env.reset()
    recorder.begin()
    with pytest.raises(TrafficRLError, match=r"nobody to drive .*network\.route_files"):
        while not env.done:
            recorder.add(env.step(np.zeros((1, 80, 1))))


# The law -------------------------------------------------------------------------


def offences(env: ArrayEnv) -> dict[str, int]:
    """What vehicles do that all push as hard as they can."""
    counts = {"red": 0, "speeding": 0, "collided": 0}
    env.reset(np.random.default_rng(0))
    while not env.done:
        lights = {one: libsumo.vehicle.getNextTLS(one) for one in libsumo.vehicle.getIDList()}
        roads = {one: libsumo.vehicle.getRoadID(one) for one in lights}
        step = env.step(np.full((1, env.n_agents, 1), 1.0))
        counts["collided"] += int(step.collisions.sum())
        for one, lamps in lights.items():
            road = libsumo.vehicle.getRoadID(one)
            entered = road.startswith(":") and not roads[one].startswith(":")
            counts["red"] += entered and bool(lamps) and lamps[0][3] in "rR"
            limit = libsumo.lane.getMaxSpeed(libsumo.vehicle.getLaneID(one))
            counts["speeding"] += libsumo.vehicle.getSpeed(one) > limit + 1e-6
    return counts


LIGHTS = ["network.junctions=traffic_light", "episode.control_interval_s=0.1", "episode.steps=900"]


def test_red_lights_right_of_way_and_speed_limits_are_kept(open_array: OpenArray) -> None:
    assert offences(open_array(GRID, *LIGHTS)) == {"red": 0, "speeding": 0, "collided": 0}


@pytest.mark.parametrize(
    ("mode", "broken"),
    [(0, ["red", "speeding", "collided"]), (9, ["red"]), (17, ["collided"])],
)
def test_each_part_of_the_law_is_a_bit_of_the_speed_mode(
    mode: int, broken: list[str], open_array: OpenArray
) -> None:
    """1: safe speed and speed limits, 8: right of way, 16: red lights (docs/networks.md)."""
    found = offences(open_array(GRID, *LIGHTS, f"simulation.speed_mode={mode}"))
    assert all(found[name] > 0 for name in broken)
    if mode & 1:
        assert found["speeding"] == 0
    if mode & 16:
        assert found["red"] == 0


# What cannot be ---------------------------------------------------------------------


def test_more_vehicles_than_fit_are_refused_with_the_number_that_does(
    open_array: OpenArray,
) -> None:
    with pytest.raises(ScenarioError, match=r"vehicles: 900 do not fit grid.* \(at most \d+, 2 m"):
        open_array(GRID, "vehicles.0.count=900")
    with pytest.raises(ScenarioError) as caught:
        open_array(GRID, "vehicles.0.count=2000")
    most = int(str(caught.value).partition("at most ")[2].partition(",")[0])
    env = open_array(GRID, f"vehicles.0.count={most}", "episode.steps=5")
    env.reset()
    assert env.states.headway.min() > 1.9
    with pytest.raises(ScenarioError, match=f"at most {most}"):
        open_array(GRID, f"vehicles.0.count={most + 1}")


def test_streets_have_one_replica_and_no_lead() -> None:
    with pytest.raises(ScenarioError, match="replicas: 2 copies of streets"):
        ArrayEnv(load_scenario(GRID), replicas=2)
    with pytest.raises(ScenarioError, match=r"training\.replicas: should be 1 on streets"):
        load_scenario(GRID, ["training.replicas=2"])
    with pytest.raises(ScenarioError, match="nobody is the 'lead' on streets"):
        load_scenario(GRID, ["vehicles=[{controller: lead}, {controller: learned}]"])
    with pytest.raises(ScenarioError, match="does not go with streets without route_files"):
        load_scenario(GRID, ["start={kind: uniform}"])
    with pytest.raises(ScenarioError, match="does not go with streets with route_files"):
        load_scenario(MERGE, ["start={kind: spread}"])


@pytest.mark.parametrize(
    ("least", "in_line", "expected"),
    [
        (0.0, True, [True, False, False]),
        (0.0, False, [False, False, False]),
        (2.0, False, [True, True, False]),
    ],
)
def test_a_gap_below_0_is_contact_only_where_vehicles_stay_in_line(
    least: float, in_line: bool, expected: list[bool]
) -> None:
    headway = np.array([[-0.5, 1.0, np.inf]])
    assert too_close(headway, least, in_line=in_line).tolist() == [expected]
