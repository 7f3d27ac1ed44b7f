"""``trafficrl evaluate``: a run, a constant, a controller, and every mistake in one line."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.service import Service
from trafficrl.cli.main import main

KEYS = {
    "return_mean",
    "return_per_step",
    "mean_speed_mps",
    "speed_std_mps",
    "mean_speed_episode_mps",
    "collisions",
    "override_fraction",
    "episodes",
    "seed",
}


def figures(tmp_path: Path, *arguments: str | Path) -> dict[str, Any]:
    file = tmp_path / "result.json"
    assert main(["evaluate", *map(str, arguments), "--json", str(file)]) == 0
    result: dict[str, Any] = json.loads(file.read_text())
    return result


def test_a_run_gets_a_table_and_json(
    tmp_path: Path, trained: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    result = figures(tmp_path, trained, "--episodes", "3", "--seed", "5")
    table = capfd.readouterr().out
    assert table.splitlines()[0].startswith(f"{trained} on ring: 3 episodes, seed 5, speed mode ")
    assert result.keys() >= KEYS
    assert (result["episodes"], result["seed"], result["episode_steps"]) == (3, 5, 60.0)
    assert result["return_per_step"] == pytest.approx(result["return_mean"] / 60)
    for key in KEYS - {"episodes", "seed"}:
        low, high = result["intervals_95"][key]
        assert low <= result[key] <= high
        assert f"\n{key} " in table
    for group in ("task", "speed", "safety", "comfort", "energy", "control"):
        assert f"\n-- {group}\n" in table
    assert "fuel_g_per_km" in table and "string_gain_max" not in table, "not of a ring"
    assert result["string_gain_per_episode"] == [None] * 3


def test_the_same_seed_gives_the_same_figures_and_another_seed_others(
    tmp_path: Path, trained: Path
) -> None:
    first, again, other = (
        figures(tmp_path, trained, "--episodes", "2", "--seed", seed) for seed in "001"
    )
    assert first == again and first["return_mean"] != other["return_mean"]


def test_figures_do_not_depend_on_what_the_process_has_evaluated_before(
    tmp_path: Path, trained: Path, service: Service
) -> None:
    others = ("--episodes", "1", "--set", "episode.steps=50")
    figures(tmp_path, "idm:noise=0.2", "--scenario", "figure_eight", *others)
    figures(tmp_path, "sumo:Krauss", "--scenario", "transfer/merge", *others)
    here, file = figures(tmp_path, trained, "--episodes", "2"), tmp_path / "there.json"
    done = service.call(
        ["evaluate", str(trained), "--episodes", "2", "--json", str(file)], tmp_path
    )
    assert done.code == 0, done
    assert json.loads(file.read_text()) == here


def test_an_episode_does_not_depend_on_how_many_there_are(tmp_path: Path, trained: Path) -> None:
    one = figures(tmp_path, trained, "--episodes", "1")
    two = figures(tmp_path, trained, "--episodes", "2")
    assert one["return_mean"] in two["intervals_95"]["return_mean"]


def test_the_checkpoints_of_a_run_can_both_be_evaluated(tmp_path: Path, trained: Path) -> None:
    for checkpoint in ("best", "latest"):
        result = figures(tmp_path, trained, "--checkpoint", checkpoint, "--episodes", "1")
        assert result["episodes"] == 1


def test_a_run_drives_another_network(tmp_path: Path, trained: Path) -> None:
    longer = figures(tmp_path, trained, "--set", "network.length_m=150.0", "--episodes", "1")
    assert longer["scenario"] == "ring"


@pytest.mark.parametrize("assign", [[], ["--assign", "slot"]])
def test_a_run_drives_another_scenario_and_says_who_drives(
    tmp_path: Path, trained: Path, capfd: pytest.CaptureFixture[str], assign: list[str]
) -> None:
    short = ["--set", "episode.steps=40", "--episodes", "1"]
    result = figures(tmp_path, trained, "--scenario", "figure_eight", *short, *assign)
    way = assign[-1] if assign else "position"
    assert (result["scenario"], result["assign"], result["episode_steps"]) == (
        "figure_eight",
        way,
        40.0,
    )
    assert f"6 policies by {way} for 14 learned vehicles" in capfd.readouterr().out


def test_standing_still_and_a_constant_acceleration(tmp_path: Path, trained: Path) -> None:
    scenario = ["--scenario", trained / "scenario.yaml", "--episodes", "2"]
    still = figures(tmp_path, "constant:0", *scenario)
    assert (still["return_mean"], still["mean_speed_mps"]) == (0.0, 0.0)
    # 0.1 m/s2 for 6 s: speeds 0.1 t at t = 0.1, 0.2, ... 6 s, the last third from 4.1 s.
    slow = figures(tmp_path, "constant:0.1", *scenario)
    assert slow["mean_speed_mps"] == pytest.approx(0.1 * 5.05, abs=1e-6)
    assert slow["mean_speed_episode_mps"] == pytest.approx(0.1 * 3.05, abs=1e-6)
    assert slow["speed_std_mps"] == pytest.approx(0.01 * ((20**2 - 1) / 12) ** 0.5)
    assert (slow["collisions"], slow["override_fraction"]) == (0, 0)


def test_a_controller_takes_parameters(tmp_path: Path, trained: Path) -> None:
    scenario = ["--scenario", trained / "scenario.yaml", "--episodes", "2"]
    plain, again, noisy = (
        figures(tmp_path, text, *scenario) for text in ("idm", "idm:noise=0", "idm:noise=0.2")
    )
    assert plain["mean_speed_mps"] > 1.0
    assert plain["return_mean"] == again["return_mean"] != noisy["return_mean"]


def test_a_choice_is_constant_by_its_index(tmp_path: Path) -> None:
    short = ["--scenario", "catchup", "--set", "episode.steps=60", "--episodes", "1"]
    none, both = (figures(tmp_path, f"constant:{index}", *short) for index in (0, 3))
    assert none["mean_speed_mps"] == pytest.approx(15.0)
    assert both["mean_speed_mps"] > 15.0


def test_the_gain_of_a_line_is_given_by_frequency(tmp_path: Path) -> None:
    result = figures(tmp_path, "constant:3", "--scenario", "slowdown", "--episodes", "1")
    (spectrum,) = result["string_gain_per_episode"]
    assert len(spectrum["frequency_hz"]) == len(spectrum["gain"]) > 1
    assert max(spectrum["gain"]) == result["string_gain_max"] > 1.0


def test_vehicles_and_trajectories_go_to_files(tmp_path: Path, trained: Path) -> None:
    files = {name: tmp_path / name for name in ("v.csv", "t.csv", "t.parquet")}
    options = ["--per-vehicle", files["v.csv"], "--episodes", "2"]
    for name in ("t.csv", "t.parquet"):
        figures(tmp_path, trained, *options, "--trajectories", files[name])
    assert len(files["v.csv"].read_text().splitlines()) == 1 + 2 * 6
    assert len(files["t.csv"].read_text().splitlines()) == 1 + 2 * 60 * 6
    assert files["t.parquet"].read_bytes()[:4] == b"PAR1"
    one = ["--episodes", "1", "--trajectories", tmp_path / "t.xml"]
    figures(tmp_path, trained, *one)
    assert (tmp_path / "t.xml").read_text().count("<timestep ") == 60
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(
        [*files, "t.xml", "result.json"]
    )


# --- mistakes


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("t.txt", "end in .csv, .parquet, .xml (SUMO's FCD), not '.txt'"),
        ("t.xml", "an FCD file holds one episode, not 2 (--episodes 1, or"),
        ("none/t.csv", "cannot be written (No such file or directory)"),
    ],
)
def test_trajectories_that_cannot_be_written_are_refused_first(
    tmp_path: Path, refused, file: str, message: str
) -> None:
    options = ["--scenario", "ring", "--episodes", "2", "--json", tmp_path / "r.json"]
    path = tmp_path / file
    error = refused("evaluate", "idm", *options, "--trajectories", path)
    assert error.startswith(f"{path}: ") and message in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ("constant:abc", "constant:abc: 'abc' is not a number"),
        ("constant:", "constant:: '' is not a number"),
        ("constant:nan", "constant:nan: 'nan' is not a number"),
        ("constant:7", "constant:7: scenario 'catchup' has choices 0 to 3"),
        ("constant:1.5", "constant:1.5: scenario 'catchup' has choices 0 to 3"),
        ("constant:-1", "constant:-1: scenario 'catchup' has choices 0 to 3"),
        ("idm:foo=1", "controller 'idm' has no parameter 'foo'"),
        ("idm:noise=loud", "'loud' is not a number"),
        ("idm:noise", "idm:noise: "),
        ("lead", "neither a run directory nor a controller"),
        ("no-such-run", "neither a run directory nor a controller"),
    ],
)
def test_what_cannot_drive_is_named_and_no_file_is_left(
    tmp_path: Path, refused, run: str, message: str
) -> None:
    file = tmp_path / "result.json"
    options = ["--scenario", "catchup", "--set", "episode.steps=10", "--episodes", "1"]
    assert message in refused("evaluate", run, *options, "--json", file)
    assert not file.exists()


def test_a_failed_evaluation_keeps_the_file_of_the_last(tmp_path: Path, refused) -> None:
    file = tmp_path / "result.json"
    file.write_text("{}")
    refused("evaluate", "constant:7", "--scenario", "catchup", "--json", file)
    assert file.read_text() == "{}"


@pytest.mark.parametrize("below", ["file/result.json", "none/result.json"])
def test_a_result_that_cannot_be_written_is_said_first(
    tmp_path: Path, refused, capfd: pytest.CaptureFixture[str], below: str
) -> None:
    (tmp_path / "file").write_text("text")
    error = refused("evaluate", "constant:0", "--scenario", "ring", "--json", tmp_path / below)
    assert error.startswith(f"{tmp_path / below}: cannot be written")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["idm"],
        ["constant:0"],
        ["idm", "--scenario", "ring", "--episodes", "0"],
        ["idm", "--scenario", "ring", "--seed", "-1"],
        ["idm", "--scenario", "ring", "--checkpoint", "worst"],
        ["idm", "--scenario", "ring", "--json", "."],
        ["idm", "--scenario", "ring", "--json", "a", "--per-vehicle", "./a"],
    ],
)
def test_a_wrong_command_line_is_answered_with_2(refused, options: list[str]) -> None:
    refused("evaluate", *options, code=2)


def test_a_wrong_scenario_is_named(refused) -> None:
    assert "rimg: no such file" in refused("evaluate", "idm", "--scenario", "rimg")
    override = ["--scenario", "ring", "--set", "training.colour=red"]
    assert "training.colour: unknown key" in refused("evaluate", "idm", *override)


def test_what_is_no_run_directory_is_named(tmp_path: Path, refused) -> None:
    (tmp_path / "file").write_text("text")
    assert "no such run directory" in refused("evaluate", tmp_path / "file")
    assert "not a run directory" in refused("evaluate", tmp_path)


@pytest.mark.parametrize("damage", ["missing", "truncated", "keys"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, trained: Path, refused, damage: str) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    if damage == "missing":
        (run / "best.pt").unlink()
    elif damage == "truncated":
        (run / "best.pt").write_bytes((run / "best.pt").read_bytes()[:500])
    else:
        (run / "scenario.yaml").write_text(
            (run / "scenario.yaml").read_text().replace("policy_hidden:", "policy_hidden: [5] #")
        )
    assert "best.pt: " in refused("evaluate", run)


def test_a_file_of_another_program_is_refused_without_warnings(
    tmp_path: Path, trained: Path, service: Service
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / "best.pt").write_bytes(pickle.dumps(Path("weights")))
    done = service.call(["evaluate", str(run)], tmp_path)
    assert done.code == 1
    assert done.err.startswith(f"error: {run / 'best.pt'}: ") and done.err.count("\n") == 1


@pytest.mark.parametrize(
    "override", ["observation.0.scale=11", "action.max_mps2=2.0", "graph.max_neighbours=1"]
)
def test_a_run_keeps_what_is_its_controllers(trained: Path, refused, override: str) -> None:
    error = refused("evaluate", trained, "--set", override, "--episodes", "1")
    assert f"--set {override.partition('=')[0]}: is the controller's" in error


def test_features_that_do_not_travel_are_named(tmp_path: Path, small: list[str], refused) -> None:
    placed = ["--set", "observation=[{feature: position_over_length}]", "--total-steps", "80"]
    run = tmp_path / "run"
    assert main(["train", "ring", *small, *placed, "--output", str(run)]) == 0
    error = refused("evaluate", run, "--scenario", "figure_eight", "--episodes", "1")
    assert "'position_over_length' depends on the network" in error and "headway" in error


def test_one_policy_for_all_must_be_the_runs(trained: Path, refused) -> None:
    error = refused("evaluate", trained, "--assign", "shared")
    assert "--assign shared: each of its 6 vehicles has learned a policy of its own" in error
    assert "idm: --assign" in refused("evaluate", "idm", "--scenario", "ring", "--assign", "slot")
