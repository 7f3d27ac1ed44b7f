"""``trafficrl evaluate`` on networks that come with no scenario."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from trafficrl.cli.main import main

ROOT = Path(__file__).parents[2]
MERGE = ROOT / "sumo_configs" / "merge"
TOWN, STADIUM = ROOT / "docs/examples/town.osm", ROOT / "docs/examples/stadium.xodr"
SHORT = ("--episodes", "1", "--set", "episode.steps=100")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--net-file", MERGE / "merge.net.xml", "--routes", MERGE / "merge.rou.xml"), "on merge:"),
        (("--osm", TOWN, "--vehicles", "12"), "idm on town:"),
        (("--opendrive", STADIUM), "idm on stadium:"),
        (("--osm", TOWN, "--scenario", "ring", "--set", "name=x"), "idm on x:"),
    ],
)
def test_a_controller_drives_on_a_network_of_one_s_own(
    options: tuple[object, ...], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", "idm", *map(str, options), *SHORT]) == 0
    out = capfd.readouterr().out
    assert said in out
    assert "no slot" not in out


def test_vehicles_without_a_slot_are_reported(capfd: pytest.CaptureFixture[str]) -> None:
    files = ["--net-file", str(MERGE / "merge.net.xml"), "--routes", str(MERGE / "merge.rou.xml")]
    assert (
        main(["evaluate", "idm", *files, "--vehicles", "2", *SHORT[:3], "episode.steps=300"]) == 0
    )
    last = capfd.readouterr().out.splitlines()[-1]
    assert "vehicles an episode found no slot" in last and "--vehicles N" in last


@pytest.mark.parametrize(
    ("routes", "message"),
    [
        ('<vehicle id="a" depart="0"><route edges="motorway x"/></vehicle>', "edge 'x'"),
        (
            '<vehicle id="a" depart="0"><route edges="motorway onward"/></vehicle>',
            "No connection between edge 'motorway' and edge 'onward'",
        ),
        ('<flow id="f" route="r" begin="0" end="9" number="3"/>', "route 'r' for flow 'f'"),
        ("<vehicle", "broken XML"),
        ('<!DOCTYPE routes [<!ENTITY a "b">]>', "broken XML"),
    ],
)
def test_broken_routes_are_refused_on_one_line(
    routes: str, message: str, tmp_path: Path, refused: Callable[..., str]
) -> None:
    file = tmp_path / "my.rou.xml"
    file.write_text(f"<routes>{routes}</routes>")
    net = MERGE / "merge.net.xml"
    assert message in refused("evaluate", "idm", "--net-file", net, "--routes", file, *SHORT)


def test_what_is_missing_or_does_not_fit_is_said(
    tmp_path: Path, refused: Callable[..., str]
) -> None:
    evaluate = ("evaluate", "idm")
    assert "no such file" in refused(*evaluate, "--net-file", tmp_path / "a.net.xml")
    assert "so it is not an OpenDRIVE file" in refused(*evaluate, "--opendrive", TOWN)
    assert "--routes FILE" in refused(*evaluate, "--net-file", MERGE / "merge.net.xml")
    message = refused(*evaluate, "--osm", TOWN, "--vehicles", "5000")
    assert f"5000 do not fit {TOWN} (at most " in message


def test_options_that_contradict_each_other(refused: Callable[..., str]) -> None:
    two = refused("evaluate", "idm", "--osm", TOWN, "--opendrive", STADIUM, code=2)
    assert "one of --net-file, --osm and --opendrive" in two
    assert "--vehicles goes with" in refused("evaluate", "idm", "--vehicles", "3", code=2)
    assert "--routes goes with" in refused("evaluate", "idm", "--routes", "x.xml", code=2)
    assert "--net-file" in refused("evaluate", "idm", code=2)
