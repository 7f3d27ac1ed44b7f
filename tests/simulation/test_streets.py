"""Networks of streets: made or given, where cars can circulate, and what is refused."""

from __future__ import annotations

import gzip
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sumolib.net

from trafficrl.config.networks import (
    FileNetwork,
    GridNetwork,
    OpenDriveNetwork,
    OsmNetwork,
    RandomNetwork,
    SpiderNetwork,
    StreetNetwork,
)
from trafficrl.errors import ScenarioError, TrafficRLError
from trafficrl.simulation.net_files import build_streets
from trafficrl.simulation.streets import Streets, read_streets

from .maps import OPENDRIVE, OSM, plain_network

Build = Callable[[StreetNetwork], Streets]
SQUARE = {"a": (0.0, 0.0), "b": (200.0, 0.0), "c": (200.0, 200.0), "d": (0.0, 200.0)}


def edge(source: str, target: str, **attributes: str) -> str:
    """An ``<edge>`` that is called by its ends."""
    rest = "".join(f' {key}="{value}"' for key, value in attributes.items())
    return f'<edge id="{source}{target}" from="{source}" to="{target}"{rest}/>'


AROUND = [edge(*pair) for pair in ("ab", "bc", "cd", "da")]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    def make(config: StreetNetwork) -> Streets:
        return read_streets(build_streets(config, tmp_path).net_file, config.source)

    return make


def grid(**keys: Any) -> GridNetwork:
    return GridNetwork(kind="grid", **keys)


MADE = [
    grid(),
    grid(columns=2, rows=3, lanes=2, junctions="traffic_light"),
    SpiderNetwork(kind="spider"),
    RandomNetwork(kind="random", seed=3),
    RandomNetwork(kind="random", seed=4, lanes=2, junctions="right_before_left"),
    OsmNetwork(kind="osm", osm_file=str(OSM)),
    OpenDriveNetwork(kind="opendrive", xodr_file=str(OPENDRIVE)),
]


@pytest.mark.parametrize("config", MADE, ids=lambda config: config.summary)
def test_a_walk_goes_on_for_ever_on_connections_that_cars_may_use(
    config: StreetNetwork, build: Build, tmp_path: Path
) -> None:
    streets = build(config)
    net = sumolib.net.readNet(str(build_streets(config, tmp_path).net_file))
    rng = np.random.default_rng(0)
    start = next(iter(streets.onward))
    walk = [start, *streets.walk(start, 20_000.0, rng)]
    assert sum(streets.lengths[one] for one in walk[1:]) >= 20_000.0
    for one, following in itertools.pairwise(walk):
        links = net.getEdge(one).getOutgoing()[net.getEdge(following)]
        assert any(
            link.allows("passenger") and link.getFromLane().allows("passenger") for link in links
        )
        # It turns round where there is no other way, and nowhere else.
        turning = all(link.getDirection() in "tT" for link in links)
        assert not turning or streets.onward[one] == (following,)


@pytest.mark.parametrize("config", MADE, ids=lambda config: config.summary)
def test_vehicles_are_placed_inside_their_lanes_and_apart(
    config: StreetNetwork, build: Build
) -> None:
    streets = build(config)
    gap, most = 2.0, int(streets.room(2.0).sum())
    for count in (1, most // 3, most):
        lanes, places = streets.spread(count, gap, np.random.default_rng(count))
        assert len(lanes) == len(places) == count
        for lane in set(lanes):
            here = np.sort(places[[one == lane for one in lanes]])
            assert here[0] >= 5.0
            assert here[-1] <= streets.lengths[lane[0]] - gap + 1e-6
            assert (np.diff(here) >= 5.0 + gap - 1e-6).all()


def test_the_largest_loop_is_chosen_and_what_leads_nowhere_is_left_out(tmp_path: Path) -> None:
    nodes = {**SQUARE, "x": (500.0, 0.0), "y": (500.0, 50.0), "z": (900.0, 0.0)}
    small_loop = [edge("x", "y"), edge("y", "x")]
    ways_out = [edge("b", "x"), edge("x", "z")]
    net = plain_network(tmp_path, nodes, [*AROUND, *small_loop, *ways_out])
    streets = read_streets(net, "town")
    assert set(streets.lengths) == {"ab", "bc", "cd", "da"}
    assert streets.onward["ab"] == ("bc",)


def test_edges_and_lanes_that_cars_may_not_use_are_left_out(tmp_path: Path) -> None:
    short_cut = edge("c", "a", allow="bus bicycle")
    lanes = '<edge id="ab" from="a" to="b" numLanes="2"><lane index="0" allow="pedestrian"/></edge>'
    net = plain_network(tmp_path, SQUARE, [lanes, *AROUND[1:], short_cut])
    streets = read_streets(net, "town")
    assert "ca" not in streets.lengths
    assert [lane for lane in streets.lanes if lane[0] == "ab"] == [("ab", 1)]


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        (AROUND[:3], r"town: no loop for cars to circulate on .*--routes FILE"),
        ([edge("a", "b", allow="tram"), edge("b", "a", allow="rail")], "town: no lane that pass"),
    ],
)
def test_what_cars_cannot_circulate_on_is_refused(
    edges: list[str], message: str, tmp_path: Path
) -> None:
    net = plain_network(tmp_path, SQUARE, edges)
    with pytest.raises(ScenarioError, match=message):
        read_streets(net, "town")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("<net/>", "SUMO cannot drive in it: it crashes"),
        ('<net version="1.20"/>', "no lane that passenger cars may use"),
        ('<net><edge id="e"><lane id="e_0" index="0"/></edge></net>', "SUMO cannot drive in it"),
        ("<net", "broken XML"),
        ("<!DOCTYPE net><net/>", "a DOCTYPE is not allowed"),
        ("<routes/>", "begins with <routes>, so it is not a SUMO network"),
    ],
)
def test_a_broken_network_file_is_refused_on_one_line(
    content: str, message: str, tmp_path: Path, build: Build
) -> None:
    net = tmp_path / "my.net.xml"
    net.write_text(content)
    with pytest.raises(ScenarioError, match=message) as caught:
        build(FileNetwork(kind="file", net_file=str(net)))
    assert str(net) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_edge_without_a_length_is_refused(tmp_path: Path) -> None:
    net = plain_network(tmp_path, SQUARE, AROUND)
    net.write_text(net.read_text().replace('length="', 'length="nan" was="'))
    with pytest.raises(ScenarioError, match="town: edge 'ab' is nan m long"):
        read_streets(net, "town")


def test_a_comma_in_a_path_is_refused_by_name(tmp_path: Path) -> None:
    """To SUMO it is a list of files."""
    folder = tmp_path / "a,b"
    folder.mkdir()
    net, routes = folder / "my.net.xml", folder / "my.rou.xml"
    net.write_text("<net/>")
    routes.write_text("<routes/>")
    for file, config in (
        (net, FileNetwork(kind="file", net_file=str(net))),
        (routes, FileNetwork(kind="file", net_file="merge", route_files=[str(routes)])),
        (net, OsmNetwork(kind="osm", osm_file=str(net))),
        (net, OpenDriveNetwork(kind="opendrive", xodr_file=str(net))),
    ):
        with pytest.raises(ScenarioError, match="a path with a comma") as caught:
            build_streets(config, tmp_path)
        assert str(caught.value).startswith(f"{file}: ") and "\n" not in str(caught.value)


def test_a_map_without_streets_names_itself(tmp_path: Path) -> None:
    empty, town = tmp_path / "empty.osm", tmp_path / "empty.xodr"
    empty.write_text('<osm version="0.6"></osm>')
    town.write_text("<OpenDRIVE></OpenDRIVE>")
    with pytest.raises(TrafficRLError, match=r"empty\.osm: netconvert makes no network of it"):
        build_streets(OsmNetwork(kind="osm", osm_file=str(empty)), tmp_path)
    with pytest.raises(TrafficRLError, match=r"empty\.xodr: netconvert makes no network of it"):
        build_streets(OpenDriveNetwork(kind="opendrive", xodr_file=str(town)), tmp_path)


def test_a_map_is_for_cars_alone_and_may_be_zipped(tmp_path: Path, build: Build) -> None:
    streets = build(OsmNetwork(kind="osm", osm_file=str(OSM)))
    # Both directions of the streets and none of the footway, which would be 13.
    assert {name.strip("-").partition("#")[0] for name in streets.lengths} == {"10", "11", "12"}
    zipped = tmp_path / "town.osm.gz"
    zipped.write_bytes(gzip.compress(OSM.read_bytes()))
    assert build(OsmNetwork(kind="osm", osm_file=str(zipped))).lengths == streets.lengths


def test_networks_are_cached_by_what_they_are_made_of(tmp_path: Path) -> None:
    town = tmp_path / "town.osm"
    town.write_bytes(OSM.read_bytes())
    cache = tmp_path / "cache"
    configs = [
        grid(),
        grid(columns=3),
        RandomNetwork(kind="random", seed=1),
        RandomNetwork(kind="random", seed=2),
        OsmNetwork(kind="osm", osm_file=str(town)),
    ]
    files = [build_streets(config, cache).net_file for config in configs]
    assert len(set(files)) == len(files)
    assert [build_streets(config, cache).net_file for config in configs] == files
    assert not any(str(tmp_path) in file.read_text() for file in files)  # nor a date
    town.write_text(town.read_text().replace("secondary", "tertiary"))
    assert build_streets(configs[-1], cache).net_file not in files


def test_generated_streets_have_the_parameters_of_the_scenario(tmp_path: Path) -> None:
    config = grid(columns=3, rows=2, block_m=200.0, lanes=2, speed_limit_mps=8.0)
    net = sumolib.net.readNet(str(build_streets(config, tmp_path).net_file))
    streets = net.getEdges(withInternal=False)
    assert len(net.getNodes()) == 6
    assert len(streets) == 2 * 7
    assert {one.getLaneNumber() for one in streets} == {2}
    assert {one.getSpeed() for one in streets} == {8.0}
    assert all(160.0 < one.getLength() < 200.0 for one in streets)
