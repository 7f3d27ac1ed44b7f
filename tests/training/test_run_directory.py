"""Run directories: made once, opened if they are one, rewound to an update."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from trafficrl.config import load_scenario
from trafficrl.errors import CheckpointError, ScenarioError, TrafficRLError
from trafficrl.simulation.sumo_warnings import Tally
from trafficrl.training import run_directory
from trafficrl.training.run_directory import RunDirectory, default_path
from trafficrl.training.warning_log import WarningLog


def create(path: Path, *overrides: str) -> RunDirectory:
    return RunDirectory(path).create(load_scenario("ring", overrides), {"algorithm": "dppo"})


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        RunDirectory.open(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_run_opens_with_the_scenario_it_was_made_with(tmp_path: Path) -> None:
    path = tmp_path / "some" / "where"
    create(path, "training.seed=7", "algorithms.dppo.gamma=0.9")
    run = RunDirectory.open(path)
    assert run.scenario() == load_scenario("ring", ["training.seed=7", "algorithms.dppo.gamma=0.9"])
    assert run.info()["algorithm"] == "dppo"
    assert run.info().keys() >= {
        *("started", "command", "platform", "cpu", "cpu_cores", "torch_threads"),
        *("git_revision", "git_changed_files", "versions"),
    }
    assert run.info()["versions"].keys() >= {"python", "trafficrl", "torch", "eclipse-sumo"}


def test_an_empty_directory_can_become_a_run_and_another_cannot(tmp_path: Path) -> None:
    empty, full = tmp_path / "empty", tmp_path / "full"
    empty.mkdir()
    create(empty)
    full.mkdir()
    (full / "thesis.tex").write_text("years of work")
    for path in (empty, full):
        before = {file.name: file.read_bytes() for file in path.iterdir()}
        with pytest.raises(TrafficRLError, match="not empty"):
            create(path)
        assert {file.name: file.read_bytes() for file in path.iterdir()} == before


@pytest.mark.parametrize("below", ["file", "file/run", "file/a/b"])
def test_a_run_below_a_file_is_refused_in_one_line(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("text")
    with pytest.raises(TrafficRLError, match="cannot be written") as caught:
        create(tmp_path / below)
    assert str(caught.value).startswith(str(tmp_path / below))
    assert "\n" not in str(caught.value)


def test_what_is_not_a_run_directory_says_why(tmp_path: Path) -> None:
    assert "no such run directory" in refusal(tmp_path / "none")
    assert "it has no scenario.yaml" in refusal(tmp_path)
    (tmp_path / "file").write_text("text")
    assert "run directory" in refusal(tmp_path / "file")
    create(tmp_path / "run")
    (tmp_path / "run" / "run.json").unlink()
    assert "it has no run.json" in refusal(tmp_path / "run")


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00"])
def test_a_broken_run_json_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    run = create(tmp_path / "run")
    run.info_file.write_text(text)
    with pytest.raises(CheckpointError, match=r"run\.json: ") as caught:
        run.info()
    assert "\n" not in str(caught.value)


def test_a_broken_scenario_is_refused_by_its_place(tmp_path: Path) -> None:
    run = create(tmp_path / "run")
    run.scenario_file.write_text(run.scenario_file.read_text() + "colour: red\n")
    with pytest.raises(ScenarioError, match=r"scenario\.yaml:\d+:\d+: colour: unknown key"):
        run.scenario()


def log(run: RunDirectory, iterations: range) -> None:
    for iteration in iterations:
        run.log_metrics({"iteration": iteration, "loss": iteration / 3})
        run.log_timing({"iteration": iteration, "collect_s": 0.1})
        if iteration % 2 == 0:
            run.log_episodes([{"iteration": iteration, "replica": b} for b in (0, 1)])


LOGS = ("metrics.jsonl", "timing.jsonl", "episodes.csv")


def logs(run: RunDirectory) -> list[bytes]:
    return [(run.path / name).read_bytes() for name in LOGS]


@pytest.mark.parametrize("kept", [2, 3, 5])
def test_rewinding_and_going_on_gives_what_never_stopping_gives(tmp_path: Path, kept: int) -> None:
    whole, rewound = create(tmp_path / "whole"), create(tmp_path / "rewound")
    log(whole, range(1, 8))
    log(rewound, range(1, 6))
    rewound.rewind(kept)
    log(rewound, range(kept + 1, 8))
    assert logs(rewound) == logs(whole)


def test_rewinding_drops_lines_that_a_crash_cut_short(tmp_path: Path) -> None:
    whole, cut = create(tmp_path / "whole"), create(tmp_path / "cut")
    log(whole, range(1, 5))
    log(cut, range(1, 5))
    for name, half in zip(LOGS, ('{"iteration": 5', '{"it', "5,"), strict=True):
        with open(cut.path / name, "a", newline="") as file:
            file.write(half)
    cut.rewind(4)
    assert logs(cut) == logs(whole)


def test_a_run_that_logged_nothing_can_be_rewound(tmp_path: Path) -> None:
    run = create(tmp_path / "run")
    run.rewind(0)
    assert {path.name for path in run.path.iterdir()} == {"scenario.yaml", "run.json", ".lock"}


def test_all_that_was_logged_is_put_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, synced = create(tmp_path / "run"), []
    before = set(run.path.iterdir())
    log(run, range(1, 3))
    WarningLog(run.warnings_file).add(2, Tally({"kind": 1}))
    monkeypatch.setattr(run_directory, "sync", synced.append)
    run.sync_logs()
    assert set(synced) == set(run.path.iterdir()) - before and len(synced) == 4


def test_episodes_are_one_table(tmp_path: Path) -> None:
    run = create(tmp_path / "run")
    run.log_episodes([])
    assert not run.episodes_file.exists()
    log(run, range(1, 5))
    assert run.episodes_file.read_text().splitlines() == [
        "iteration,replica",
        *["2,0", "2,1", "4,0", "4,1"],
    ]


def test_metrics_are_json_lines(tmp_path: Path) -> None:
    run = create(tmp_path / "run")
    log(run, range(1, 4))
    lines = run.metrics_file.read_text().splitlines()
    assert [json.loads(line)["loss"] for line in lines] == [1 / 3, 2 / 3, 1.0]


def test_the_default_path_names_scenario_algorithm_and_seed() -> None:
    path = default_path(Path("runs"), load_scenario("ring", ["training.seed=3"]))
    assert path.parent == Path("runs/ring") and path.name.startswith("dmpo-3-")


def test_the_default_path_is_nobody_elses(tmp_path: Path) -> None:
    """However quickly runs are begun one after the other."""
    config, made = load_scenario("ring"), []
    for _ in range(4):
        made.append(RunDirectory(default_path(tmp_path, config)).create(config, {}))
    assert len({run.path for run in made}) == 4


def test_a_folder_of_runs_stands_for_its_newest(tmp_path: Path) -> None:
    for index, name in enumerate(("b", "c", "a")):
        run = create(tmp_path / name)
        os.utime(run.scenario_file, (index, index))
    assert RunDirectory.open(tmp_path).path == tmp_path / "a"


def test_metrics_are_read_as_they_were_logged(tmp_path: Path) -> None:
    run = create(tmp_path / "run")
    rows = [{"iteration": i, "sim_steps": 10 * i, "kl": float(i)} for i in (1, 2)]
    for row in rows:
        run.log_metrics(row)
    with open(run.metrics_file, "a") as file:
        file.write('{"iteration": 3, "sim_')  # another process is writing it
    assert run.metrics() == rows


@pytest.mark.parametrize("which", ["metrics", "timings"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "nothing has been logged yet"),
        ("", "nothing has been logged yet"),
        ("{not json}\n", "not readable"),
        ("[1]\n", "a line of it is damaged"),
        ('{"kl": 1.0}\n', "a line of it is damaged"),
    ],
)
def test_metrics_that_cannot_be_read_are_refused(
    tmp_path: Path, which: str, content: str | None, reason: str
) -> None:
    run = create(tmp_path / "run")
    file = run.metrics_file if which == "metrics" else run.timing_file
    if content is not None:
        file.write_text(content)
    with pytest.raises(CheckpointError, match=reason) as caught:
        getattr(run, which)()
    assert str(caught.value).startswith(str(file))
