"""Which runs are one contender, on what they are compared, and what comes of it."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from trafficrl import load_scenario
from trafficrl.errors import TrafficRLError
from trafficrl.evaluation.compare import (
    Comparison,
    Contender,
    compare,
    find_contenders,
    scenarios_to_drive,
)
from trafficrl.evaluation.evaluate import run_episodes
from trafficrl.evaluation.metrics import METRICS
from trafficrl.evaluation.tables import as_csv, as_json, as_markdown, as_text, output_paths
from trafficrl.training.run_directory import RunDirectory
from trafficrl.training.trainer import Trainer

SHORT = [
    "vehicles.0.count=6",
    "network.length_m=120.0",
    "episode.steps=60",
    "training.total_steps=120",
    "training.validate_episodes=1",
    "algorithms.dppo.rollout_steps=60",
    "algorithms.dppo.epochs=1",
    "algorithms.ia2c.rollout_steps=60",
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with DPPO of seeds 0, 1 and 2 and IA2C of seed 0, by ``<algorithm>-<seed>``."""
    folder = tmp_path_factory.mktemp("runs")
    for algorithm, seed in (("dppo", 0), ("dppo", 1), ("dppo", 2), ("ia2c", 0)):
        chosen = [f"training.algorithm={algorithm}", f"training.seed={seed}"]
        run = RunDirectory(folder / f"{algorithm}-{seed}")
        config = load_scenario("ring", [*SHORT, *chosen])
        trainer = Trainer(config, run.create(config, {}))
        try:
            trainer.train()
        finally:
            trainer.close()
    return folder


def names(contenders: Sequence[Contender]) -> list[str]:
    return [one.name for one in contenders]


# Contenders ---------------------------------------------------------------------------


def test_runs_that_differ_in_their_seed_alone_are_one(runs: Path) -> None:
    found, notes = find_contenders(["idm", f"{runs}/*", "constant:0"])
    assert names(found) == ["idm", f"{runs}/dppo-*", f"{runs}/ia2c-0", "constant:0"]
    assert [one.seeds for one in found] == [[], [0, 1, 2], [0], []]
    assert [len(one.drivers) for one in found] == [1, 3, 1, 1]
    assert found[1].runs == [f"{runs}/dppo-{seed}" for seed in range(3)]
    assert notes == []


def test_seeds_are_in_order_however_they_are_given(runs: Path) -> None:
    found, _ = find_contenders([str(runs / f"dppo-{seed}") for seed in (2, 0, 1)])
    assert found[0].seeds == [0, 1, 2]


def test_a_run_that_was_made_again_counts_once(runs: Path, tmp_path: Path) -> None:
    """Of the same scenario and seed the newer one stays, and it is said."""
    for seed in (0, 1):
        shutil.copytree(runs / f"dppo-{seed}", tmp_path / f"again-{seed}")
        os.utime(tmp_path / f"again-{seed}" / "scenario.yaml", (4e9, 4e9))
    found, notes = find_contenders([f"{runs}/dppo-*", f"{tmp_path}/again-1"])
    assert found[0].runs[1] == str(tmp_path / "again-1") and found[0].seeds == [0, 1, 2]
    assert notes == [
        f"{runs}/dppo-1 is left out: {tmp_path}/again-1 is of the same scenario and training seed"
    ]


def test_other_settings_make_another_contender_with_a_name_of_its_own(
    runs: Path, tmp_path: Path
) -> None:
    for seed in (0, 1):
        shutil.copytree(runs / f"dppo-{seed}", tmp_path / f"dppo-{seed}")
        other = tmp_path / f"dppo-{seed + 2}"
        shutil.copytree(runs / f"dppo-{seed}", other)
        file = other / "scenario.yaml"
        file.write_text(file.read_text().replace("total_steps: 120", "total_steps: 121"))
    found, _ = find_contenders([f"{tmp_path}/dppo-*"])
    assert names(found) == [f"{tmp_path}/dppo-*", f"{tmp_path}/dppo-* (2)"]


def test_a_run_under_two_names_is_given_twice(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "alias").symlink_to(runs / "dppo-0")
    with pytest.raises(TrafficRLError, match="alias: is given twice"):
        find_contenders([f"{runs}/dppo-0", f"{tmp_path}/alias"])


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["idm", "idm"], "idm: is given twice"),
        (["idm", "no-such-run"], "no-such-run: neither a run directory nor a controller"),
        (["idm", "no-such-runs/*"], r"no-such-runs/\*: nothing there matches"),
    ],
)
def test_what_cannot_be_compared_is_refused(texts: list[str], message: str) -> None:
    with pytest.raises(TrafficRLError, match=message):
        find_contenders(texts)


# Scenarios ----------------------------------------------------------------------------


def test_runs_of_one_task_are_compared_on_it(runs: Path) -> None:
    contenders, _ = find_contenders(["idm", f"{runs}/*"])
    (config,) = scenarios_to_drive(contenders, [], ["episode.steps=20"])
    assert (config.n_agents, config.episode.steps) == (6, 20)
    assert [one.name for one in scenarios_to_drive(contenders, ["catchup", "ring"], [])] == [
        "catchup",
        "ring",
    ]


def test_what_belongs_to_the_controllers_may_differ(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "dppo-0", tmp_path / "other")
    file = tmp_path / "other" / "scenario.yaml"
    file.write_text(file.read_text().replace("max_mps2: 1.0", "max_mps2: 0.8"))
    contenders, _ = find_contenders([f"{runs}/dppo-0", f"{tmp_path}/other"])
    assert len(contenders) == 2 and len(scenarios_to_drive(contenders, [], [])) == 1


def test_without_one_task_a_scenario_is_needed(runs: Path, tmp_path: Path) -> None:
    with pytest.raises(TrafficRLError, match="--scenario: is needed, as nothing here was trained"):
        scenarios_to_drive(find_contenders(["idm", "constant:0"])[0], [], [])
    shutil.copytree(runs / "dppo-0", tmp_path / "other")
    file = tmp_path / "other" / "scenario.yaml"
    file.write_text(file.read_text().replace("length_m: 120.0", "length_m: 130.0"))
    contenders, _ = find_contenders([f"{runs}/dppo-0", f"{tmp_path}/other"])
    with pytest.raises(TrafficRLError, match="were trained on different ones"):
        scenarios_to_drive(contenders, [], [])


# Comparison ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def comparison(runs: Path) -> Comparison:
    """Two scenarios, one of which takes no constant acceleration of 0.3 m/s2.

    Runs bring their own action along.
    """
    contenders, _ = find_contenders([f"{runs}/*", "idm", "constant:0.3"])
    scenarios = [
        load_scenario("ring", SHORT),
        load_scenario("ring", [*SHORT, "name=weak", "action.max_mps2=0.2"]),
    ]
    return compare(contenders, scenarios, episodes=4, seed=5)


def test_all_drive_the_same_episodes(comparison: Comparison, runs: Path) -> None:
    """Scores are those of each run alone, seed by seed."""
    table = comparison.tables[0]
    scores = table.rows[0].scores
    assert scores["return_mean"].shape == (3, 4)
    for seed in range(3):
        (alone,), _ = find_contenders([f"{runs}/dppo-{seed}"])
        episodes = run_episodes(alone.drivers[0], table.config, episodes=4, seed=5)
        for name in METRICS:
            expected = [one[name] for one in episodes]
            assert np.array_equal(scores[name][seed], expected, equal_nan=True), name
    assert [row.over for row in table.rows] == ["3 training seeds", *["4 episodes"] * 3]


def test_intervals_are_over_seeds_where_there_are_several(comparison: Comparison) -> None:
    row = comparison.tables[0].rows[0]
    of_seeds = row.scores["return_mean"].mean(axis=1)
    assert row.means["return_mean"] == pytest.approx(
        (of_seeds.mean(), of_seeds.min(), of_seeds.max())
    )
    assert row.interquartile_means["return_mean"].value == pytest.approx(
        np.sort(row.scores["return_mean"].ravel())[3:9].mean()
    )


def test_who_cannot_drive_in_a_scenario_says_why(comparison: Comparison) -> None:
    refused = [[row.refused for row in table.rows] for table in comparison.tables]
    assert refused[0] == [None] * 4 and refused[1][:3] == [None] * 3
    assert "'weak' takes -1 to 0.2 m/s2" in str(refused[1][3])


def test_a_run_takes_no_overrides_of_what_is_its_own(runs: Path) -> None:
    contenders, _ = find_contenders([f"{runs}/ia2c-0", "idm"])
    overrides = ["action.max_mps2=0.5", "episode.steps=20"]
    scenarios = scenarios_to_drive(contenders, [], overrides)
    (table,) = compare(contenders, scenarios, episodes=1, overrides=overrides).tables
    assert "action.max_mps2: is the controller's" in str(table.rows[0].refused)
    assert table.rows[1].scores["episode_steps"].tolist() == [[20.0]]


def test_a_run_is_carried_to_the_scenario(runs: Path) -> None:
    """8 vehicles behind the lead: 7 links between learned vehicles, each way."""
    contenders, _ = find_contenders([f"{runs}/dppo-*"])
    other = load_scenario("catchup", ["episode.steps=30"])
    (table,) = compare(contenders, [other], episodes=1).tables
    assert table.rows[0].scores["messages_per_control_step"].tolist() == [[14.0]] * 3


def test_if_nobody_can_drive_that_is_an_error() -> None:
    contenders, _ = find_contenders(["constant:7", "constant:8"])
    with pytest.raises(TrafficRLError, match="constant:7: scenario 'ring' takes -1 to 1 m/s2"):
        compare(contenders, [load_scenario("ring", SHORT)], episodes=1)


def test_improvement_compares_each_two_in_the_better_direction(comparison: Comparison) -> None:
    tables = comparison.tables[:1]
    returns = comparison.improvement("return_mean", tables)
    for i in range(4):
        assert returns[i][i] is None
        for j in range(i):
            one, other = returns[i][j], returns[j][i]
            assert one is not None and other is not None
            assert one.value + other.value == pytest.approx(1.0)
    speeds = [row.scores["acceleration_rms_mps2"] for row in tables[0].rows]
    gentler = comparison.improvement("acceleration_rms_mps2", tables)[0][3]
    assert gentler is not None and gentler.value == (speeds[0] < speeds[3]).mean()
    everywhere = comparison.improvement("return_mean", comparison.tables)
    assert [cell is None for cell in everywhere[2]] == [False, False, True, True]
    both = [comparison.improvement("return_mean", [table])[0][2] for table in comparison.tables]
    assert everywhere[0][2] is not None
    assert everywhere[0][2].value == pytest.approx(np.mean([one.value for one in both if one]))


# Tables -------------------------------------------------------------------------------

SHOWN = ["return_mean", "wave_amplitude_mps", "string_gain_max"]


def test_text_has_figures_reasons_and_probabilities(comparison: Comparison, runs: Path) -> None:
    text = as_text(comparison, SHOWN)
    blocks = text.split("\n\n")
    assert blocks[0].startswith("ring: 4 episodes, evaluation seed 5, speed mode 1")
    row = next(line for line in blocks[0].splitlines() if line.startswith(f"{runs}/dppo-*"))
    assert row.endswith("3 training seeds") and row.split()[-4] == "-"
    assert "higher return_mean than the column" in blocks[1] and "[4] constant:0.3" in blocks[1]
    assert blocks[2].splitlines()[-1].startswith("constant:0.3: scenario 'weak' takes")
    assert blocks[4].startswith("all scenarios: probability")
    lower = as_text(comparison, ["jerk_rms_mps3"])
    assert "lower jerk_rms_mps3 than the column" in lower


def test_markdown_has_tables(comparison: Comparison, runs: Path) -> None:
    lines = as_markdown(comparison, SHOWN).splitlines()
    header = next(line for line in lines if "interval over" in line)
    assert lines[lines.index(header) + 1] == "| --- | --- | --- | --- | --- |"
    assert f"| {runs}/dppo-\\* |" in "\n".join(lines)
    assert all(line.count("|") == header.count("|") for line in lines if "training seeds" in line)


def test_json_has_everything(comparison: Comparison) -> None:
    content = json.loads(as_json(comparison, SHOWN))
    json.dumps(content, allow_nan=False)
    assert (content["episodes"], content["seed"]) == (4, 5)
    assert content["metrics"]["collisions"]["better"] == "lower"
    ring, weak = content["scenarios"]
    assert ring["rows"][0]["training_seeds"] == [0, 1, 2]
    assert ring["rows"][0]["scores"]["string_gain_max"] == [[None] * 4] * 3
    assert ring["rows"][0]["mean"].keys() == ring["rows"][0]["interquartile_mean_95"].keys()
    assert "takes -1 to 0.2 m/s2" in weak["rows"][3]["refused"]
    assert ring["improvement"]["metric"] == "return_mean"
    assert ring["improvement"]["probability"][0][0] is None


def test_csv_has_a_row_for_each_defined_metric(comparison: Comparison) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(comparison, SHOWN))))
    of_idm = [row for row in rows if (row["scenario"], row["controller"]) == ("ring", "idm")]
    metrics = [row["metric"] for row in of_idm]
    assert "fuel_g_per_km" in metrics and "string_gain_max" not in metrics
    first = rows[0]
    assert (first["training_seeds"], first["interval_over"]) == ("0 1 2", "3 training seeds")
    assert float(first["mean_low"]) <= float(first["mean"]) <= float(first["mean_high"])
    assert "constant:0.3" not in {row["controller"] for row in rows if row["scenario"] == "weak"}


def test_output_is_a_directory_or_a_file_of_a_known_kind(tmp_path: Path) -> None:
    def paths(output: str) -> list[Path]:
        with output_paths(tmp_path / output) as found:
            return found

    every = ["comparison.csv", "comparison.json", "comparison.md"]
    assert [path.name for path in paths("new/folder")] == every
    assert (tmp_path / "new" / "folder").is_dir()
    assert paths("a.md") == [tmp_path / "a.md"]
    (tmp_path / "v1.2").mkdir()
    assert len(paths("v1.2")) == 3
    with pytest.raises(TrafficRLError, match=r"end in \.csv, \.json, \.md, not '\.txt'"):
        paths("a.txt")
    (tmp_path / "file").write_text("text")
    with pytest.raises(TrafficRLError, match=r"file/below: cannot be written"):
        paths("file/below")


def test_a_directory_is_made_for_output_that_comes_alone(tmp_path: Path) -> None:
    with pytest.raises(KeyError), output_paths(tmp_path / "new" / "folder"):
        raise KeyError
    assert not (tmp_path / "new").exists()
