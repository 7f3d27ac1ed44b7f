"""Files: what SUMO and others read is what was driven, whole or not at all."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sumolib

from trafficrl import load_scenario
from trafficrl.errors import TrafficRLError
from trafficrl.evaluation.drivers import make_driver
from trafficrl.evaluation.evaluate import run_episodes
from trafficrl.evaluation.files import output_file, trajectory_file, vehicle_file
from trafficrl.evaluation.metrics import METRICS
from trafficrl.evaluation.trajectory import Trajectory
from trafficrl.simulation import sumo
from trafficrl.simulation.options import sumo_options
from trafficrl.simulation.programs import sumo_program


def drive(
    scenario: str, *overrides: str, episodes: int = 1, name: str = "idm:noise=0.2"
) -> list[Trajectory]:
    config, found = load_scenario(scenario, ["episode.steps=30", *overrides]), []
    run_episodes(
        make_driver(name)[0], config, episodes=episodes, places=True, on_episode=found.append
    )
    return found


def write(path: Path, trajectories: list[Trajectory]) -> Path:
    with trajectory_file(path, len(trajectories)) as add:
        for one in trajectories:
            add(one)
    return path


def read_csv(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# Whole or not at all ------------------------------------------------------------------


def test_a_file_appears_when_all_went_well(tmp_path: Path) -> None:
    path = tmp_path / "result.txt"
    path.write_text("old")
    with output_file(path) as stream:
        stream.write("new")
        stream.flush()
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["result.txt"]


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path, other = tmp_path / "result.txt", tmp_path / "other.txt"
    path.write_text("old")
    for file in (path, other):
        with pytest.raises(RuntimeError), output_file(file) as stream:
            stream.write("half")
            raise RuntimeError
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["result.txt"]


def test_what_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    for path in (tmp_path / "none" / "a.csv", tmp_path / "file" / "a.csv", tmp_path):
        with pytest.raises(TrafficRLError, match="cannot be written") as caught, output_file(path):
            raise AssertionError("never opens")
        assert str(caught.value).startswith(f"{path}: ")


def test_a_pipe_is_written_as_it_is(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", str(pipe)], stdout=subprocess.PIPE, text=True)
    with output_file(pipe) as stream:
        stream.write("through")
    assert reader.communicate(timeout=30)[0] == "through"
    assert pipe.is_fifo()


# CSV and Parquet ----------------------------------------------------------------------


def test_csv_has_a_row_for_each_step_and_vehicle(tmp_path: Path) -> None:
    trajectories = drive("catchup", episodes=2)
    rows = read_csv(write(tmp_path / "t.csv", trajectories))
    assert len(rows) == 2 * 30 * 9
    row = rows[30 * 9 + 4 * 9 + 2]  # second episode, step 5, vehicle 2
    one = trajectories[1]
    here = (4, 2)
    assert (row["episode"], row["time_s"], row["vehicle"]) == ("1", "0.5", "cav_1")
    assert (row["leader"], row["follower"], row["lane"]) == ("cav_0", "cav_2", "e0_0")
    assert one.places is not None
    for name, value in {
        "speed_mps": one.speed,
        "acceleration_mps2": one.acceleration,
        "commanded_acceleration_mps2": one.commanded_acceleration,
        "headway_m": one.headway,
        "leader_speed_mps": one.leader_speed,
        "position_m": one.position,
        "distance_m": one.distance,
        "x_m": one.places.x,
        "lane_position_m": one.places.lane_position,
        "fuel_mg_per_s": one.emissions[..., 0],
        "nox_mg_per_s": one.emissions[..., 2],
    }.items():
        assert float(row[name]) == value[here], name
    lead = rows[0]
    assert (lead["leader"], lead["headway_m"], lead["leader_speed_mps"]) == ("", "", "")
    assert (lead["overridden"], lead["collided"]) == ("0", "0")


def test_vehicles_that_are_not_there_have_no_rows(tmp_path: Path) -> None:
    (trajectory,) = drive("ring", "vehicles.0.count=3", "episode.steps=4")
    trajectory.present = np.array([[1, 0, 1], [1, 0, 0], [0, 0, 0], [1, 0, 1]], dtype=bool)
    rows = read_csv(write(tmp_path / "t.csv", [trajectory]))
    assert [(row["time_s"], row["vehicle"]) for row in rows] == [
        ("0.1", "cav_0"),
        ("0.1", "cav_2"),
        ("0.2", "cav_0"),
        ("0.4", "cav_0"),
        ("0.4", "cav_2"),
    ]
    with vehicle_file(tmp_path / "v.csv") as add:
        add(trajectory)
    assert [row["vehicle"] for row in read_csv(tmp_path / "v.csv")] == ["cav_0", "cav_2"]


def test_parquet_has_what_csv_has(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    trajectories = drive("catchup", episodes=2)
    rows = read_csv(write(tmp_path / "t.csv", trajectories))
    path = write(tmp_path / "t.parquet", trajectories)
    table = parquet.read_table(path)
    assert table.num_rows == len(rows) and parquet.ParquetFile(path).num_row_groups == 2
    assert table.column_names == list(rows[0])
    for name, column in table.to_pydict().items():
        shown = ["" if value is None else value for value in column]
        if shown[0] in (True, False) and isinstance(shown[0], bool):
            shown = [int(value) for value in shown]
        assert [str(value) for value in shown] == [row[name] for row in rows], name


def test_a_vehicle_alone_on_a_ring_writes_no_leader(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    path = write(tmp_path / "t.parquet", drive("ring", "vehicles.0.count=1"))
    table = parquet.read_table(path)
    assert table.schema.field("leader").type == "string"
    assert set(table["leader"].to_pylist()) == set(table["headway_m"].to_pylist()) == {None}


def test_parquet_without_its_library_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with (
        pytest.raises(TrafficRLError, match=r"t\.parquet: .*pip install 'trafficrl\[parquet\]'"),
        trajectory_file(tmp_path / "t.parquet", 1),
    ):
        raise AssertionError("never opens")
    assert os.listdir(tmp_path) == []


def test_the_suffix_decides_and_a_wrong_one_names_the_right_ones(tmp_path: Path) -> None:
    for name in ("t.txt", "t", "t.json"):
        with pytest.raises(TrafficRLError, match=r"end in \.csv, \.parquet, \.xml"):
            trajectory_file(tmp_path / name, 1)
    with pytest.raises(TrafficRLError, match=r"an FCD file holds one episode, not 2 \(--episodes"):
        trajectory_file(tmp_path / "t.xml", 2)
    assert os.listdir(tmp_path) == []


# Vehicles -----------------------------------------------------------------------------


def test_a_row_for_each_episode_and_vehicle(tmp_path: Path) -> None:
    trajectories = drive("catchup", episodes=2)
    with vehicle_file(tmp_path / "v.csv") as add:
        for one in trajectories:
            add(one)
    rows = read_csv(tmp_path / "v.csv")
    assert [(row["episode"], row["vehicle"]) for row in rows[8:11]] == [
        ("0", "cav_7"),
        ("1", "veh_0"),
        ("1", "cav_0"),
    ]
    assert set(rows[0]) - {"episode", "vehicle"} == {
        name for name, metric in METRICS.items() if metric.per_vehicle
    }
    cav = rows[10]
    assert float(cav["mean_speed_episode_mps"]) == trajectories[1].speed[:, 1].mean()
    assert float(cav["return_mean"]) == trajectories[1].reward[:, 0].sum()
    assert float(cav["headway_p5_m"]) == np.percentile(trajectories[1].headway[:, 1], 5)
    assert rows[9]["return_mean"] == rows[9]["headway_mean_m"] == ""


# FCD ----------------------------------------------------------------------------------


def fcd_rows(path: Path) -> list[tuple[float, dict[str, str]]]:
    """Time and attributes, as sumolib reads them."""
    return [
        (float(step.time), dict(vehicle.getAttributes()))
        for step in sumolib.xml.parse(str(path), "timestep")
        for vehicle in step.vehicle or []
    ]


@pytest.mark.parametrize(
    ("scenario", "name"),
    [
        ("ring", "idm:noise=0.2"),
        ("ring", "sumo:IDM"),
        ("catchup", "idm:noise=0.2"),
        ("figure_eight", "idm:noise=0.2"),
    ],
)
def test_fcd_is_what_sumo_itself_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenario: str, name: str
) -> None:
    """The same simulation with SUMO's option on; its clock is a step behind and begins earlier."""
    theirs = tmp_path / "sumo.xml"

    def with_fcd(*arguments: Any, **keywords: Any) -> list[str]:
        return [*sumo_options(*arguments, **keywords), "--fcd-output", str(theirs)]

    monkeypatch.setattr(sumo, "sumo_options", with_fcd)
    (trajectory,) = drive(scenario, name=name)
    ours = write(tmp_path / "t.xml", [trajectory])
    own = ET.parse(ours).getroot()
    its_own = ET.parse(theirs).getroot()
    assert own.tag == its_own.tag
    steps = [[vehicle.attrib for vehicle in step] for step in its_own.findall("timestep")]
    assert [step.get("time") for step in own][:3] == ["0.10", "0.20", "0.30"]
    found = [[vehicle.attrib for vehicle in step] for step in own.findall("timestep")]
    for mine, its in zip(found, steps[-30:], strict=True):
        assert sorted(mine, key=lambda one: one["id"]) == sorted(its, key=lambda one: one["id"])


def test_fcd_follows_sumos_schema(tmp_path: Path) -> None:
    """Every attribute is one that the schema knows, and none that it requires is missing."""
    schema = Path(sumo_program("sumo")).parents[1] / "data" / "xsd" / "fcd_file.xsd"
    types = {
        element.get("name"): {
            attribute.get("name"): attribute.get("use") == "required"
            for attribute in element.iter("{http://www.w3.org/2001/XMLSchema}attribute")
        }
        for element in ET.parse(schema)
        .getroot()
        .findall("{http://www.w3.org/2001/XMLSchema}element")
    }
    root = ET.parse(write(tmp_path / "t.xml", drive("ring"))).getroot()
    assert root.tag == "fcd-export" and len(root) == 30
    for element in [*root.iter("timestep"), *root.iter("vehicle")]:
        known = types[element.tag]
        assert set(element.attrib) <= set(known)
        assert {name for name, required in known.items() if required} <= set(element.attrib)


def test_sumolib_reads_fcd(tmp_path: Path) -> None:
    (trajectory,) = drive("catchup")
    rows = fcd_rows(write(tmp_path / "t.xml", [trajectory]))
    assert len(rows) == 30 * 9
    time, vehicle = rows[9 * 10 + 4]
    assert time == pytest.approx(1.1) and vehicle["id"] == "cav_3"
    assert float(vehicle["speed"]) == pytest.approx(trajectory.speed[10, 4], abs=0.005)


def test_short_steps_have_times_in_milliseconds(tmp_path: Path) -> None:
    overrides = ["simulation.step_s=0.005", "episode.control_interval_s=0.005"]
    rows = fcd_rows(write(tmp_path / "t.xml", drive("ring", "vehicles.0.count=1", *overrides)))
    assert [time for time, _ in rows[:3]] == [0.005, 0.010, 0.015]
