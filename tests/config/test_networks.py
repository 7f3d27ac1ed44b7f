"""Networks in scenarios: the files that they name, and scenarios made for a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trafficrl.config import dump_scenario, load_scenario
from trafficrl.config.network_scenario import network_scenario
from trafficrl.config.networks import FileNetwork, OsmNetwork
from trafficrl.errors import ScenarioError
from trafficrl.resources import scenario_names, sumo_file, sumo_names

ROUTED = """\
extends: transfer/merge
network:
  kind: file
  net_file: nets/mine.net.xml
  route_files: [routes/a.rou.xml, ../b.rou.xml, merge]
"""


def network(config: Any) -> FileNetwork:
    assert isinstance(config.network, FileNetwork)
    return config.network


def test_paths_are_relative_to_the_file_that_names_them(tmp_path: Path, write: Any) -> None:
    write(ROUTED, "folder/mine.yaml")
    config = load_scenario(write("extends: folder/mine.yaml\nname: mine\n"))
    found = network(config)
    assert found.net_file == str(tmp_path / "folder/nets/mine.net.xml")
    # A bundled name stays, so that a scenario that is kept does not depend on the installation.
    assert found.route_files == [
        str(tmp_path / "folder/routes/a.rou.xml"),
        str(tmp_path / "b.rou.xml"),
        "merge",
    ]


def test_paths_on_the_command_line_are_relative_to_the_working_directory(
    tmp_path: Path, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(ROUTED, "folder/mine.yaml")
    monkeypatch.chdir(tmp_path)
    config = load_scenario(
        path, ["network.net_file=my.net.xml", "network.route_files=[my.rou.xml]"]
    )
    assert network(config).net_file == str(tmp_path / "my.net.xml")
    assert network(config).route_files == [str(tmp_path / "my.rou.xml")]
    osm = load_scenario("transfer/network", ["network={kind: osm, osm_file: map.osm}"])
    assert isinstance(osm.network, OsmNetwork)
    assert osm.network.osm_file == str(tmp_path / "map.osm")


def test_a_kept_scenario_names_the_same_files_from_anywhere(
    tmp_path: Path, write: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_scenario(write(ROUTED, "folder/mine.yaml"))
    kept = write(dump_scenario(config), "elsewhere/kept.yaml")
    monkeypatch.chdir("/")
    assert load_scenario(kept) == config


def test_bundled_networks_are_found_by_name() -> None:
    assert {"merge", "bottleneck", "ring"} <= set(sumo_names())
    for name in ("merge", "bottleneck"):
        assert sumo_file(name, ".net.xml").is_file()
        assert sumo_file(name, ".rou.xml").is_file()
    assert sumo_file("merge.net.xml", ".net.xml") == Path("merge.net.xml")


def test_every_transfer_scenario_builds_on_the_common_one() -> None:
    names = [name for name in scenario_names() if name.startswith("transfer/")]
    common = load_scenario("transfer/network")
    assert len(names) == 11
    for config in map(load_scenario, names):
        assert config.observation == common.observation
        assert config.action == common.action
        assert config.simulation == common.simulation
        assert config.episode == common.episode


def test_the_shortest_random_street_is_not_longer_than_the_longest() -> None:
    for low, high in ((100, 100), (80, 120)):
        load_scenario(
            "transfer/random", [f"network.min_length_m={low}", f"network.max_length_m={high}"]
        )
    with pytest.raises(ScenarioError, match="network: min_length_m should be at most max_length_m"):
        load_scenario("transfer/random", ["network.min_length_m=120", "network.max_length_m=80"])


class TestNetworkScenario:
    def test_vehicles_circulate_without_routes(self) -> None:
        config = network_scenario(net_file=Path("my town.net.xml"), vehicles=7)
        assert network(config).net_file == str(Path.cwd() / "my town.net.xml")
        assert (config.name, config.n_agents, config.start.kind) == ("my_town", 7, "spread")

    def test_a_path_may_have_any_letter(self) -> None:
        config = network_scenario(net_file=Path("Köln 🚗.net.xml"))
        assert network(config).net_file == str(Path.cwd() / "Köln 🚗.net.xml")

    def test_with_routes_they_come_and_go(self) -> None:
        config = network_scenario(xodr_file=Path("a.xodr"), route_files=[Path("r.xml")])
        assert (config.network.kind, config.start.kind) == ("opendrive", "routes")

    def test_any_scenario_can_be_the_base_and_overrides_come_last(self) -> None:
        config = network_scenario(
            "ring", osm_file=Path("a.osm.gz"), overrides=["episode.steps=7", "name=x"]
        )
        assert (config.name, config.episode.steps, config.start.kind) == ("x", 7, "spread")
        assert config.observation == load_scenario("ring").observation

    def test_one_file_and_one_group_of_learners_are_needed(self) -> None:
        with pytest.raises(ScenarioError, match="give one file"):
            network_scenario()
        with pytest.raises(ScenarioError, match="give one file"):
            network_scenario(net_file=Path("a"), osm_file=Path("b"))
        two = load_scenario("ring", ["vehicles=[{controller: learned}, {controller: learned}]"])
        with pytest.raises(ScenarioError, match="2 groups of learning vehicles"):
            network_scenario(two, net_file=Path("a"), vehicles=3)
