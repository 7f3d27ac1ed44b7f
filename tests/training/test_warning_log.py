"""SUMO's warnings in a run directory: each once, all counted, also when a run goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trafficrl.errors import CheckpointError
from trafficrl.simulation import sumo_warnings
from trafficrl.simulation.sumo_warnings import SumoWarning, Tally
from trafficrl.training import warning_log
from trafficrl.training.progress import Progress
from trafficrl.training.trainer import Trainer
from trafficrl.training.warning_log import WarningLog

# Vehicles that reach the crossing at 5 m/s, and whose commands SUMO does not check.
CRASHING = (
    "start.speed_mps=5",
    "episode.steps=60",
    "episode.on_collision=continue",
    "training.total_steps=240",
    "training.validate_every_steps=80",
)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "sumo_warnings.jsonl").open()]


def told(path: Path, *phases: str) -> list[tuple[Any, ...]]:
    """The written warnings, without what is of SUMO's own clock."""
    return [
        (row["iteration"], row["phase"], row["time_s"], row["kind"], row["text"].split(",")[0])
        for row in rows(path)
        if row.get("phase") in phases
    ]


def counts(path: Path) -> list[dict[str, Any]]:
    return [row for row in rows(path) if "counts" in row]


def test_warnings_are_told_written_and_counted(training) -> None:
    progresses: list[Progress] = []
    run = training("run", "crossing", *CRASHING)
    run.run(lambda trainer, progress: progresses.append(progress))
    written = told(run.path, "training", "validation")
    assert {phase for _, phase, *_ in written} == {"training", "validation"}
    assert all(0 < time <= 6.0 for _, _, time, *_ in written)  # s, of an episode
    total = sum(sum(row["counts"].values()) for row in counts(run.path))
    assert total == len(written) == progresses[-1].n_warnings
    assert [row for one in progresses for row in one.warnings] == [
        row for row in rows(run.path) if "text" in row
    ]


def test_an_episode_that_is_driven_again_warns_once(training) -> None:
    """After every validation the running episode is driven again."""
    often = training("often", "crossing", *CRASHING, "training.validate_every_steps=40").run()
    seldom = training("seldom", "crossing", *CRASHING, "training.validate_every_steps=240").run()
    assert told(often.path, "training") == told(seldom.path, "training") != []
    # Two episodes a validation, with a contact in each.
    assert len(told(often.path, "validation")) == 6 * 2
    assert len(told(seldom.path, "validation")) == 2


def test_a_run_that_goes_on_has_each_warning_once(training) -> None:
    whole = training("whole", "crossing", *CRASHING).run()

    def stop(trainer: Trainer, progress: Progress) -> None:
        if progress.iteration == 2:
            trainer.stop()

    halves = training("halves", "crossing", *CRASHING).run(stop)
    with open(halves.path / "sumo_warnings.jsonl", "a") as file:  # as a crash leaves it
        file.write('{"iteration": 3, "counts": {"x": 7}}\n{"itera')
    halves.run(resume=True)
    phases = ("training", "validation")
    assert told(halves.path, *phases) == told(whole.path, *phases)
    assert counts(halves.path) == counts(whole.path) != []


def test_a_sumo_of_its_own_tells_the_same_in_the_end(training) -> None:
    """It holds its log back, so that warnings are read when it ends."""
    own = training("own", "crossing", *CRASHING, "simulation.backend=traci").run()
    within = training("within", "crossing", *CRASHING).run()
    phases = ("training", "validation")
    assert told(own.path, *phases) == told(within.path, *phases) != []


def test_a_kind_is_cut_and_the_file_says_so(training, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (sumo_warnings, warning_log):
        monkeypatch.setattr(module, "KEPT", 2)
    run = training("run", "crossing", *CRASHING).run()
    (kind, written), *_ = (
        (k, [r for r in rows(run.path) if r.get("kind") == k]) for k in kinds(run)
    )
    assert ["text" in row for row in written] == [True, True, False]
    assert written[-1]["note"].startswith("2 of this kind are written")
    log = WarningLog(run.path / "sumo_warnings.jsonl")
    log.read()
    assert log.tally.counts[kind] > 2 and len(log.tally.kept) == 2 * len(log.tally.counts)


def kinds(run: Any) -> list[str]:
    return list(dict.fromkeys(kind for row in counts(run.path) for kind in row["counts"]))


def test_a_run_without_warnings_has_no_file(training) -> None:
    run = training("run").run()
    assert not (run.path / "sumo_warnings.jsonl").exists()


def test_a_log_read_again_is_the_same(tmp_path: Path) -> None:
    log = WarningLog(tmp_path / "log.jsonl")
    warning = SumoWarning("a 1", "a *", 0.1, {"iteration": 1, "phase": "training"})
    assert log.add(1, Tally()) == [] and not log.file.exists()
    assert log.add(1, Tally({"a *": 1}, [warning])) == [warning.row()]
    log.add(2, Tally({"b": 3}, []))
    again = WarningLog(log.file)
    again.read()
    assert again.tally == log.tally == Tally({"a *": 1, "b": 3}, [warning])


@pytest.mark.parametrize("line", ["[]", "{", '{"counts": 3}', '{"text": "a"}'])
def test_a_damaged_log_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "log.jsonl").write_text(line + "\n")
    with pytest.raises(CheckpointError, match=r"log\.jsonl: a line of it is damaged"):
        WarningLog(tmp_path / "log.jsonl").read()
