"""Reading trajectories: what was written comes back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trafficrl import load_scenario
from trafficrl.errors import TrafficRLError
from trafficrl.evaluation.drivers import make_driver
from trafficrl.evaluation.evaluate import run_episodes
from trafficrl.evaluation.files import trajectory_file
from trafficrl.evaluation.trajectory import OF_VEHICLES, Trajectory
from trafficrl.evaluation.trajectory_reader import read_trajectory


def drive(scenario: str, *overrides: str) -> list[Trajectory]:
    found: list[Trajectory] = []
    run_episodes(
        make_driver("idm:noise=0.2")[0],
        load_scenario(scenario, overrides),
        episodes=2,
        places=True,
        on_episode=found.append,
    )
    return found


@pytest.fixture(scope="module")
def ring() -> list[Trajectory]:
    return drive("ring", "vehicles.0.count=3", "network.length_m=60.0", "episode.steps=300")


def write(path: Path, trajectories: list[Trajectory]) -> Path:
    with trajectory_file(path, len(trajectories)) as add:
        for one in trajectories:
            add(one)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("scenario", ["ring", "catchup"])
def test_what_was_written_comes_back(
    tmp_path: Path, ring: list[Trajectory], scenario: str, suffix: str
) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    written = ring if scenario == "ring" else drive("catchup", "episode.steps=30")
    path = write(tmp_path / f"t{suffix}", written)
    for number, one in enumerate(written):
        back = read_trajectory(path, number)
        for name in ("episode", "vehicles", "step_length", "path_length", "closed"):
            assert getattr(back, name) == getattr(one, name), name
        for name in (*OF_VEHICLES, "agents"):
            own, its = getattr(one, name), getattr(back, name)
            assert own.dtype == its.dtype, name
            np.testing.assert_array_equal(its, own, err_msg=name)
        assert one.places is not None and back.places is not None
        for name in ("x", "y", "lane", "lane_position", "angle"):
            np.testing.assert_array_equal(getattr(back.places, name), getattr(one.places, name))
        np.testing.assert_allclose(back.times, one.times)


def test_vehicles_that_come_and_go_come_back(tmp_path: Path) -> None:
    _, one = drive("transfer/merge", "episode.steps=400")
    back = read_trajectory(write(tmp_path / "t.csv", [one]), 1)
    columns = [one.vehicles.index(name) for name in back.vehicles]
    assert one.entered.any() and set(columns) == set(np.flatnonzero(one.present.any(axis=0)))
    for name in ("present", "entered", "speed", "headway", "distance", "collided"):
        np.testing.assert_array_equal(getattr(back, name), getattr(one, name)[:, columns], name)
    names = np.array([*one.vehicles, ""]), np.array([*back.vehicles, ""])
    np.testing.assert_array_equal(names[1][back.leader], names[0][one.leader[:, columns]])


def test_a_loop_that_nobody_goes_round_reads_as_a_road(tmp_path: Path) -> None:
    one, _ = drive("ring", "episode.steps=3")
    back = read_trajectory(write(tmp_path / "t.csv", [one]))
    wrapped = (np.diff(one.position, axis=0) < 0).any()
    assert not wrapped and one.closed and not back.closed


def test_mistakes_are_named_on_one_line(tmp_path: Path, ring: list[Trajectory]) -> None:
    path = write(tmp_path / "t.csv", ring)
    lines = path.read_text().splitlines(keepends=True)

    def changed(name: str, content: str) -> Path:
        (tmp_path / name).write_text(content)
        return tmp_path / name

    def at(time: str, name: str) -> Path:
        return changed(name, lines[0] + lines[1].replace("0.1", time, 1))

    for file, episode, reason in (
        (tmp_path / "none.csv", 0, "none.csv: cannot be read"),
        (tmp_path / "t.xml", 0, r"t\.xml: trajectories are read from \.csv and \.parquet files"),
        (path, 2, r"t\.csv: no episode 2 \(there are: 0 to 1\)"),
        (changed("empty.csv", ""), 0, "no column episode"),
        (changed("head.csv", lines[0]), 0, r"no episode 0 \(there are: none\)"),
        (changed("other.csv", "a,b\n1,2\n"), 0, "no column episode"),
        (changed("short.csv", "".join(lines[:3]) + "0,0.1\n"), 0, "cannot be read"),
        (changed("word.csv", lines[0] + lines[1].replace("0.1", "soon", 1)), 0, "cannot be read"),
        (at("nan", "nan.csv"), 0, r"nan\.csv: time_s is nan \(should be a number above 0\)"),
        (at("inf", "inf.csv"), 0, r"inf\.csv: time_s is inf"),
        (at("0", "zero.csv"), 0, r"zero\.csv: time_s is 0 "),
        (at("-0.1", "less.csv"), 0, r"less\.csv: time_s is -0.1 "),
        (
            changed("twice.csv", "".join([*lines, lines[2]])),
            0,
            r"twice\.csv: there are two rows of cav_1 at 0\.1 s",
        ),
        (changed("noise.csv", "\x00\x01"), 0, "noise.csv: "),
    ):
        with pytest.raises(TrafficRLError, match=reason) as caught:
            read_trajectory(file, episode)
        assert "\n" not in str(caught.value)
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 or not")
    (tmp_path / "latin.csv").write_bytes(b"\xff\xfe\x00")
    for name in ("broken.parquet", "latin.csv"):
        with pytest.raises(TrafficRLError, match=name):
            read_trajectory(tmp_path / name)
