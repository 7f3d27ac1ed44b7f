"""Networks are as long as they say, closed, and keep their vehicles."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import libsumo
import pytest

from trafficrl.config.networks import FigureEightNetwork, RingNetwork, RoadNetwork
from trafficrl.errors import ScenarioError, SimulationError
from trafficrl.simulation.networks import BuiltNetwork, Course, build_network
from trafficrl.simulation.programs import sumo_program
from trafficrl.simulation.sumo_files import NAMES, write_sumo_files
from trafficrl.simulation.xmlfiles import without_opening_comment

COMMITTED = Path(__file__).parents[2] / "sumo_configs"


def ring(**keys: Any) -> RingNetwork:
    return RingNetwork(kind="ring", **keys)


def figure_eight(**keys: Any) -> FigureEightNetwork:
    return FigureEightNetwork(kind="figure_eight", **keys)


def road(**keys: Any) -> RoadNetwork:
    return RoadNetwork(kind="road", **keys)


Start = Callable[[BuiltNetwork], None]


@pytest.fixture
def start_sumo() -> Iterator[Start]:
    def start(network: BuiltNetwork) -> None:
        options = ["--step-length", "0.1", "--time-to-teleport", "-1", "--no-step-log"]
        options += ["--collision.action", "warn", "--collision.check-junctions", "--seed", "1"]
        if network.additional_file is not None:
            options += ["--additional-files", str(network.additional_file)]
        libsumo.start(["sumo", "--net-file", str(network.net_file), *options])

    yield start
    libsumo.close()


@dataclass
class Vehicle:
    name: str
    course: Course
    start: float  # m

    def disagreement(self) -> float:
        """m between the odometer's position on the course and that by edge and lane."""
        position = (self.start + libsumo.vehicle.getDistance(self.name)) % self.course.length
        edge = libsumo.vehicle.getRoadID(self.name)
        on_lane = libsumo.vehicle.getLanePosition(self.name)
        if not edge.startswith(":"):
            expected = self.course.position(edge, on_lane)
        else:  # a lane inside a junction begins where an edge ends
            ends = map(sum, zip(self.course.edge_starts, self.course.edge_lengths, strict=True))
            expected = min((end + on_lane for end in ends), key=lambda at: abs(at - position))
        gap = abs(expected - position)
        return min(gap, self.course.length - gap)


def fill(network: BuiltNetwork, per_replica: int) -> list[Vehicle]:
    libsumo.vehicletype.setImperfection("DEFAULT_VEHTYPE", 0)
    libsumo.vehicletype.setMinGap("DEFAULT_VEHTYPE", 2)
    vehicles = []
    for replica, course in enumerate(network.courses):
        for edge in course.edges:
            libsumo.route.add(f"from_{edge}", course.route_from(edge))
        for index in range(per_replica):
            start = course.drivable((index + 0.5) * course.length / per_replica)
            edge, position = network.courses[replica].locate(start)
            name = f"{replica}_{index}"
            libsumo.vehicle.add(name, f"from_{edge}", departPos=f"{position:.6f}", departSpeed="0")
            vehicles.append(Vehicle(name, course, start))
    return vehicles


def connections(network: BuiltNetwork) -> list[ElementTree.Element]:
    return ElementTree.parse(network.net_file).getroot().findall("connection")


@pytest.mark.parametrize("length", [20.0, 220.0, 260.0, 231.123456, 1000.0])
def test_ring_is_as_long_as_the_scenario_says(
    length: float, tmp_path: Path, start_sumo: Start
) -> None:
    network = build_network(ring(length_m=length), directory=tmp_path)
    start_sumo(network)
    lengths = [libsumo.lane.getLength(lane) for lane in libsumo.lane.getIDList()]
    assert sum(lengths) == pytest.approx(length, abs=1e-6)
    assert network.courses[0].length == pytest.approx(length, abs=1e-6)


def test_replicas_are_separate_and_have_their_own_lengths(tmp_path: Path) -> None:
    drawn = [220.0, 251.5, 270.0]
    network = build_network(ring(), 3, lengths=drawn, directory=tmp_path)
    assert [course.length for course in network.courses] == pytest.approx(drawn, abs=1e-6)
    assert network.courses[1].edges == ("r1_e0", "r1_e1")
    links = connections(network)
    assert len(links) == 6
    assert all(link.attrib["from"][:3] == link.attrib["to"][:3] for link in links)


@pytest.mark.parametrize("config", [ring(lanes=2)])
def test_courses_close_without_dead_ends(config: Any, tmp_path: Path) -> None:
    network = build_network(config, directory=tmp_path)
    edges = network.courses[0].edges
    drivable = {
        (link.attrib["from"], link.attrib["to"], link.attrib["fromLane"], link.attrib["toLane"])
        for link in connections(network)
        if not link.attrib["from"].startswith(":")
    }
    following = zip(edges, (*edges[1:], edges[0]), strict=True)
    assert drivable == {(*pair, lane, lane) for pair in following for lane in "01"}


@pytest.mark.parametrize(
    "config", [ring(lanes=2, speed_limit_mps=13.5), road(lanes=3, speed_limit_mps=25.0)]
)
def test_lanes_and_speed_limit_are_honoured(config: Any, tmp_path: Path, start_sumo: Start) -> None:
    network = build_network(config, directory=tmp_path)
    start_sumo(network)
    for edge in network.courses[0].edges:
        assert libsumo.edge.getLaneNumber(edge) == config.lanes
        assert libsumo.lane.getMaxSpeed(f"{edge}_0") == config.speed_limit_mps


def test_road_is_open_and_exact(tmp_path: Path) -> None:
    network = build_network(road(length_m=1234.5), directory=tmp_path)
    course = network.courses[0]
    assert (course.length, course.closed, network.additional_file) == (1234.5, False, None)
    assert network.courses[0].locate(1234.5) == ("e0", 1234.5)
    with pytest.raises(ScenarioError, match="not on the road"):
        network.courses[0].locate(1234.6)


def test_west_to_east_has_right_of_way_in_the_figure_eight(
    tmp_path: Path, start_sumo: Start
) -> None:
    network = build_network(figure_eight(), directory=tmp_path)
    course = network.courses[0]
    assert course.length == pytest.approx(402.7, abs=0.1)
    assert len(course.crossings) == 2
    start_sumo(network)
    foes = libsumo.lane.getInternalFoes(":centre_0_0")
    assert foes == (":centre_1_0",)
    has_priority = {edge: libsumo.lane.getLinks(f"{edge}_0")[0][1] for edge in ("e1", "e3")}
    assert has_priority == {"e1": False, "e3": True}


@pytest.mark.parametrize(
    ("config", "replicas", "count"),
    [(ring(), 1, 22), (ring(), 3, 22), (figure_eight(), 1, 14), (figure_eight(), 2, 14)],
)
def test_vehicles_circulate_for_ever_and_the_odometer_says_where(
    config: Any, replicas: int, count: int, tmp_path: Path, start_sumo: Start
) -> None:
    network = build_network(config, replicas, directory=tmp_path)
    start_sumo(network)
    vehicles = fill(network, count)
    worst = 0.0
    for _ in range(3000):
        libsumo.simulationStep()
        assert libsumo.vehicle.getIDCount() == replicas * count
        worst = max(worst, *(vehicle.disagreement() for vehicle in vehicles))
    laps = [libsumo.vehicle.getDistance(v.name) / v.course.length for v in vehicles]
    assert min(laps) > 3
    assert worst < 1e-5


def test_positions_inside_the_crossing_move_to_its_nearer_end(tmp_path: Path) -> None:
    network = build_network(figure_eight(), directory=tmp_path)
    course = network.courses[0]
    crossing = course.crossings[0]
    before, after = course.locate(crossing - 0.01), course.locate(crossing + 0.01)
    assert before == ("e1", course.edge_lengths[1])
    assert after == ("e2", 0.0)
    assert course.position(*after) == course.drivable(crossing + 0.01) == course.edge_starts[2]
    last = course.crossings[1]
    assert course.locate(last + 0.01) == ("e0", 0.0)


@pytest.mark.parametrize("config", [ring(), figure_eight()])
def test_locate_and_position_are_inverse(config: Any, tmp_path: Path) -> None:
    course = build_network(config, directory=tmp_path).courses[0]
    for step in range(1000):
        drivable = course.drivable(step * course.length / 777)
        assert course.position(*course.locate(drivable)) == pytest.approx(drivable, abs=1e-9)


def test_cache_is_reused_and_told_apart_by_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    first = build_network(ring())
    made = first.net_file.stat()
    assert first.net_file.is_relative_to(tmp_path / "trafficrl" / "networks")
    assert build_network(ring()) == first
    assert (first.net_file.stat().st_ino, first.net_file.stat().st_mtime_ns) == (
        made.st_ino,
        made.st_mtime_ns,
    )
    assert build_network(ring(speed_limit_mps=20.0)).net_file != first.net_file


def test_builds_at_once_leave_one_whole_network(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(build_network, ring(), directory=tmp_path) for _ in range(4)]
    built = [future.result() for future in futures]
    assert all(network == built[0] for network in built)
    assert list(tmp_path.iterdir()) == [built[0].net_file.parent]


def test_unwritable_cache_falls_back_but_a_given_directory_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert build_network(ring()).net_file.is_file()
    with pytest.raises(SimulationError, match="cannot be written here"):
        build_network(ring(), directory=blocked)


@pytest.mark.parametrize("failing", ["write_text", "rename"])
def test_a_cache_that_fails_in_the_middle_is_one_line(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, failing, full)
    with pytest.raises(SimulationError, match=r"No space left on device \(make room") as caught:
        build_network(ring(), directory=tmp_path)
    assert str(caught.value).startswith(f"{tmp_path}: ") and "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("config", "keys", "message"),
    [
        (ring(length_m=20.0, lanes=8), {}, "at most 1"),
        (ring(), {"replicas": 2, "lengths": [260.0]}, "1 lengths given"),
        (ring(), {"lengths": [-1.0]}, "at least 20 m"),
        (ring(), {"lengths": [float("nan")]}, "at least 20 m"),
        (road(), {"lengths": [260.0]}, "for a ring only"),
        (road(), {"replicas": 0}, "replicas"),
    ],
)
def test_impossible_networks_are_refused(
    config: Any, keys: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ScenarioError, match=message):
        build_network(config, directory=tmp_path, **keys)


def test_failing_netconvert_is_reported_on_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "bin" / "netconvert"
    broken.parent.mkdir()
    broken.write_text("#!/bin/sh\necho Warning: first >&2\necho Error: the reason >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setitem(sys.modules, "sumo", None)
    monkeypatch.setenv("SUMO_HOME", str(tmp_path))
    with pytest.raises(SimulationError, match="could not be built: the reason") as caught:
        build_network(ring(), directory=tmp_path / "nets")
    assert "\n" not in str(caught.value)
    shutil.rmtree(broken.parent)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(SimulationError, match=r"netconvert: not found.*install eclipse-sumo"):
        build_network(ring(), directory=tmp_path / "nets")


@pytest.mark.parametrize("name", NAMES)
def test_committed_files_equal_the_builders(name: str, tmp_path: Path) -> None:
    committed = COMMITTED / name
    made = {path.name: path.read_text() for path in write_sumo_files(name, tmp_path)}
    assert {path.name: path.read_text() for path in committed.iterdir()} == made, (
        "make them anew: python -m trafficrl.simulation.sumo_files sumo_configs"
    )


@pytest.mark.parametrize(("name", "count"), list(zip(NAMES, (22, 40, 14, 9, 9), strict=True)))
def test_committed_files_run_and_keep_their_vehicles(name: str, count: int, tmp_path: Path) -> None:
    summary = tmp_path / "summary.xml"
    config = COMMITTED / name / f"{name}.sumocfg"
    done = subprocess.run(
        [sumo_program("sumo"), "-c", config, "--end", "100", "--summary-output", summary],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert "Error" not in done.stderr
    assert "collision" not in done.stderr
    steps = ElementTree.parse(summary).getroot().findall("step")
    assert len(steps) >= 1000
    assert {step.attrib["running"] for step in steps} == {str(count)}


@pytest.mark.parametrize("name", ["merge", "bottleneck"])
def test_committed_streets_are_what_netconvert_makes_and_vehicles_come_and_go(
    name: str, tmp_path: Path
) -> None:
    folder = shutil.copytree(COMMITTED / name, tmp_path / name)
    net = folder / f"{name}.net.xml"
    net.unlink()
    subprocess.run(
        [sumo_program("netconvert"), "-c", f"{name}.netccfg"],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    committed = (COMMITTED / name / net.name).read_text()
    assert without_opening_comment(net.read_text()) == committed
    summary = tmp_path / "summary.xml"
    done = subprocess.run(
        [sumo_program("sumo"), "-c", f"{name}.sumocfg", "--summary-output", summary],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "collision" not in done.stderr
    last = ElementTree.parse(summary).getroot().findall("step")[-1].attrib
    assert int(last["ended"]) > 80 and int(last["running"]) > 10
    assert int(last["teleports"]) == int(last["collisions"]) == 0


def test_unknown_network_name_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="ring, ring_2lanes, figure_eight, catchup, slowdown"):
        write_sumo_files("square", tmp_path)
