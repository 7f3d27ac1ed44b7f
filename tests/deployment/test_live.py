"""Vehicles of somebody else's SUMO drive as they do in an evaluation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from trafficrl import load_policy, load_scenario
from trafficrl.config import ScenarioConfig
from trafficrl.deployment.files import export_policy
from trafficrl.deployment.live import Summary, drive, live_driver
from trafficrl.deployment.traffic import LiveTraffic
from trafficrl.envs.array_env import ArrayEnv
from trafficrl.errors import TrafficRLError
from trafficrl.evaluation.carry import carry
from trafficrl.evaluation.driver import Driver
from trafficrl.evaluation.drivers import make_driver
from trafficrl.simulation.connection import SumoConnection
from trafficrl.simulation.net_files import build_streets
from trafficrl.simulation.options import sumo_options
from trafficrl.simulation.sumo_types import SumoTypes
from trafficrl.types import VEHICLE_LENGTH, VehicleStates

EVERY_STEP = "episode.control_interval_s=0.1"
STEPS = 300  # of 0.1 s
# Of the scenario's own type from the start: deploying leaves vehicles their types.
FLOWS = """<routes>
    <route id="along" edges="motorway acceleration onward"/>
    <route id="onto" edges="on_ramp acceleration"/>
    <flow id="main" type="trafficrl" route="along" begin="0" end="99" period="2" departSpeed="25"/>
    <flow id="ramp" type="trafficrl" route="onto" begin="1" end="99" period="6" departPos="380"
          departSpeed="12"/>
</routes>
"""
Speeds = list[dict[str, float]]


class Recorded(Summary):
    """Keeps the traffic of each step."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[list[str]] = []
        self.states: list[VehicleStates] = []

    def add(self, traffic: LiveTraffic) -> None:
        super().add(traffic)
        self.ids.append(list(traffic.ids))
        self.states.append(traffic.states)

    def speeds(self) -> Speeds:
        return [
            dict(zip(ids, states.speed[0].tolist(), strict=True))
            for ids, states in zip(self.ids, self.states, strict=True)
        ]


@pytest.fixture
def merge(tmp_path: Path) -> ScenarioConfig:
    (tmp_path / "flows.rou.xml").write_text(FLOWS)
    routes = f"network.route_files=['{tmp_path / 'flows.rou.xml'}']"
    changes = ["warmup=null", "vehicles.0.count=40", EVERY_STEP, routes, "simulation.speed_mode=25"]
    return load_scenario("transfer/merge", changes)


@pytest.fixture
def foreign(merge: ScenarioConfig, start, tmp_path: Path) -> Iterator[SumoConnection]:
    """The SUMO of the merge's first episode, started by somebody else."""
    types = SumoTypes(merge.simulation, VEHICLE_LENGTH)
    seed = int(np.random.default_rng(0).integers(2**31))
    network = build_streets(merge.network)
    log = tmp_path / "warnings.txt"
    options = sumo_options(merge.simulation, network, seed, types=types.write(), warnings=log)
    with connected(start(None, *options)) as sumo:
        yield sumo
    types.close()


def connected(started: tuple[object, int]) -> closing[SumoConnection]:
    return closing(SumoConnection("localhost", started[1], wait=20.0))


def evaluated(driver: Driver, config: ScenarioConfig, steps: int) -> Speeds:
    """Speeds of an evaluation's first steps, by SUMO's names of the vehicles."""
    speeds: Speeds = []
    with closing(ArrayEnv(config)) as env:
        rng = np.random.default_rng(0)
        driver.prepare(env)
        obs = env.reset(rng)
        driver.begin(env, rng)
        for _ in range(steps):
            obs = driver.step(env, obs).obs
            slots = env.world._slots  # type: ignore[attr-defined]
            speeds.append({name: env.states.speed[0, slot] for name, slot in slots.items()})
    return speeds


def agree(first: Speeds, second: Speeds) -> None:
    assert [set(one) for one in first] == [set(one) for one in second]
    far = max(abs(one[name] - two[name]) for one, two in zip(first, second) for name in one)  # noqa: B905
    assert far < 1e-6


@pytest.mark.parametrize("who", ["run", "idm", "ploeg", "pi_saturation"])
def test_vehicles_drive_as_in_an_evaluation(trained, merge, foreign, who: str) -> None:
    """Every vehicle, at every step, as they come and go at a merge."""
    name = str(trained("dppo", True, "ring_local", EVERY_STEP)) if who == "run" else who
    there, own = make_driver(name, "latest" if who == "run" else "best")
    expected = evaluated(there, merge if own is None else carry(own, merge), STEPS)
    seen = Recorded()
    modes = {"speed_mode": 25, "lane_change_mode": merge.simulation.lane_change_mode}
    driver = live_driver(name, "latest", None)
    assert drive(driver, foreign, "*", seen, steps=STEPS, **modes) == f"{STEPS} steps are over"
    agree(expected, seen.speeds())
    assert seen.vehicles == len({one for step in expected for one in step}) > 15
    assert any(set(before) - set(after) for before, after in pairwise(expected)), "some left"
    driven = np.concatenate([states.speed[states.driven] for states in seen.states])
    assert f"mean speed {driven.mean():.2f} m/s" in str(seen) and len(driven) == seen.commands


@pytest.mark.parametrize(
    ("algorithm", "shared", "assign"), [("ic3net", True, None), ("dmpo", False, "slot")]
)
def test_a_decision_is_held_for_the_control_interval(
    trained, start, algorithm: str, shared: bool, assign
) -> None:
    run = trained(algorithm, shared)
    with connected(start("ring")) as sumo:
        seen = Recorded()
        drive(live_driver(str(run), "latest", assign), sumo, "*", seen, steps=40, speed_mode=1)
    assert seen.vehicles == 22 and not seen.collided
    asked = np.array([states.commanded_acceleration[0] for states in seen.states])
    assert (np.abs(np.diff(asked[::5], axis=0)) > 0).any(), "decides anew"
    blocks = asked.reshape(8, 5, 22)
    np.testing.assert_array_equal(blocks, blocks[:, :1].repeat(5, axis=1))


def test_what_is_exported_drives_the_same(trained, start, tmp_path) -> None:
    run = trained("dppo", True, "ring_local")
    with (tmp_path / "policy.pt").open("wb") as stream:
        export_policy(load_policy(run, "latest"), stream, "torch")
    both = []
    for name in (run, tmp_path / "policy.pt"):
        with connected(start("merge")) as sumo:
            seen = Recorded()
            drive(live_driver(str(name), "latest", None), sumo, "*", seen, steps=60)
            both.append(seen.speeds())
    assert both[0] == both[1] and len(both[0][-1]) > 2


def test_only_the_cars_that_are_named_are_driven(start) -> None:
    """The others, and a lorry of that name, stay as they are."""
    with connected(start("merge", "--seed", "4")) as sumo:
        seen = Recorded()
        drive(live_driver("idm", "best", None), sumo, "ramp.*", seen, steps=250, speed_mode=0)
        names = {name for ids in seen.ids for name in ids}
        assert names == {f"ramp.{number}" for number in range(seen.vehicles)}
        assert seen.vehicles >= 2
        assert any(name.startswith("main.") for name in sumo.on_the_road())


def test_lorries_are_left_to_sumo(merge, start, tmp_path) -> None:
    lorry = FLOWS.replace("<routes>", '<routes><vType id="lorry" vClass="truck"/>')
    lorry = lorry.replace('id="ramp" type="trafficrl"', 'id="ramp" type="lorry"')
    (tmp_path / "lorries.rou.xml").write_text(lorry.replace('type="trafficrl"', ""))
    net = build_streets(merge.network).net_file
    with connected(start(None, "-n", str(net), "-r", str(tmp_path / "lorries.rou.xml"))) as sumo:
        seen = Recorded()
        drive(live_driver("idm", "best", None), sumo, "*", seen, steps=5)
        assert "ramp.0" in sumo.on_the_road()
    assert {name.partition(".")[0] for ids in seen.ids for name in ids} == {"main"}


def test_vehicles_that_are_there_already_are_taken_over(start) -> None:
    with connected(start("ring")) as sumo:
        for _ in range(30):
            sumo.step(np.empty(0))
        seen = Recorded()
        drive(live_driver("idm", "best", None), sumo, "*", seen, steps=1)
        assert seen.vehicles == 22 and sumo.time == pytest.approx(3.1)
        # They did not begin at rest, and it does not look as if they had.
        assert np.abs(seen.states[0].acceleration).max() < 5.0


def test_it_ends_where_sumo_would(start) -> None:
    with connected(start("ring", "--end", "2")) as sumo:
        seen = Summary()
        reason = drive(live_driver("idm", "best", None), sumo, "*", seen)
        assert (reason, seen.steps) == ("SUMO's end time, 2 s, is reached", 19)


def test_it_ends_with_the_last_vehicle(merge, start, tmp_path) -> None:
    few = FLOWS.replace('end="99"', 'end="3"')
    (tmp_path / "few.rou.xml").write_text(few.replace(' type="trafficrl"', ""))
    net = build_streets(merge.network).net_file
    options = ["-n", str(net), "-r", str(tmp_path / "few.rou.xml"), "--step-length", "0.5"]
    with connected(start(None, *options)) as sumo:
        seen = Summary()
        reason = drive(live_driver("idm", "best", None), sumo, "*", seen)
    assert reason == "no vehicle is left, and none will come"
    assert seen.vehicles == 3 and seen.steps > 20


def test_it_stops_when_it_is_asked_to_and_gives_back(start) -> None:
    with connected(start("ring")) as sumo:
        seen = Summary()
        idm = live_driver("idm", "best", None)
        stop = lambda: seen.steps >= 7  # noqa: E731
        assert drive(idm, sumo, "*", seen, speed_mode=0, stop=stop) == "stopped"
        assert seen.steps == 7 and sumo.is_open
        api = sumo._api.vehicle
        assert {api.getSpeedMode(one) for one in sumo.on_the_road()} == {31}


def test_an_interval_that_sumo_cannot_hold(trained, start) -> None:
    with connected(start("ring", "--step-length", "0.2")) as sumo:
        driver = live_driver(str(trained()), "latest", None)
        with pytest.raises(TrafficRLError, match=r"every 0.5 s, .* steps of 0.2 s") as caught:
            drive(driver, sumo, "*", Summary())
        assert "\n" not in str(caught.value)
        assert sumo.time == 0.0, "nothing was touched"


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (
            ("dppo", False, "paper/ring_dppo"),
            "'position_over_length' depends on the net.*travel",
        ),
        (("dppo", True, "catchup"), "'speed_error' compares with a scripted lead"),
    ],
)
def test_features_that_do_not_travel(trained, run, message: str) -> None:
    with pytest.raises(TrafficRLError, match=message) as caught:
        live_driver(str(trained(*run)), "latest", None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "assign", "message"),
    [
        ("nothing", None, "nothing: neither a run directory, nor an exported policy, nor a contr"),
        ("idm:mood=1", None, "idm:mood=1: .*no parameter 'mood'"),
        ("sumo:IDM", None, "is SUMO's own model"),
        ("idm", "slot", "--assign deals the policies of a trained run"),
    ],
)
def test_who_cannot_drive(text: str, assign, message: str) -> None:
    with pytest.raises(TrafficRLError, match=message):
        live_driver(text, "best", assign)


def test_one_policy_of_several_is_not_shared(trained) -> None:
    with pytest.raises(TrafficRLError, match="--assign shared: each of its 6 vehicles"):
        live_driver(str(trained("dppo", False)), "latest", "shared")
