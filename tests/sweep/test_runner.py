"""The sequence of a sweep, whatever carries it out: records, losses, failures, sessions."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trafficrl.config import dump_scenario
from trafficrl.errors import LockedError, TrafficRLError, WriteError
from trafficrl.evaluation.statistics import Estimate, estimate
from trafficrl.sweep import table
from trafficrl.sweep.directory import SweepDirectory
from trafficrl.sweep.executor import End, wait_until_free
from trafficrl.sweep.loading import load_sweep
from trafficrl.sweep.plan import Plan
from trafficrl.sweep.runner import LOSSES, Runner
from trafficrl.sweep.scores import score
from trafficrl.sweep.search import make_search
from trafficrl.sweep.table import Results, as_json, best, ranked, section
from trafficrl.training.run_directory import RunDirectory

from .sweeps import LAMBDA, LR, Scripted, plan_of, session


def total(point: dict[str, Any], seed: int) -> float:
    return 1000 * point[LR] + point[LAMBDA] + seed / 100


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return plan_of(tmp_path)


def test_every_point_is_trained_with_every_seed_and_the_best_comes_first(
    plan: Plan, tmp_path: Path
) -> None:
    executor = Scripted(total)
    runner = session(plan, tmp_path / "s", executor)
    values = [(lr, gae) for lr in (1e-3, 1e-2) for gae in (0.5, 0.9)]
    assert executor.started == [
        ({LR: lr, LAMBDA: gae}, seed) for lr, gae in values for seed in (0, 1)
    ]
    found = best(plan, runner.trials)
    assert found is not None and found.point == {LR: 1e-2, LAMBDA: 0.9}
    assert found.score == pytest.approx(10.905, abs=1e-12)
    assert [one.number for one in ranked(plan, runner.trials)] == [3, 2, 1, 0]
    row = section(plan, runner.trials).rows[0]
    assert row == ["trial-003", "0.01", "0.9", "10.91 [10.9, 10.91]", "2 of 2"]


def test_minimising_turns_the_order_round(plan: Plan, tmp_path: Path) -> None:
    objective = plan.config.objective.model_copy(update={"direction": "minimise"})
    plan = Plan(plan.config.model_copy(update={"objective": objective}), plan.base, plan.whole)
    runner = session(plan, tmp_path / "s", Scripted(total))
    assert [one.number for one in ranked(plan, runner.trials)] == [0, 1, 2, 3]


def test_a_failed_training_is_kept_with_its_reason_and_not_tried_again(
    plan: Plan, tmp_path: Path
) -> None:
    def behave(point: dict[str, Any], seed: int) -> float | str:
        return "it is nan" if (point[LR], seed) == (1e-2, 1) else total(point, seed)

    runner = session(plan, tmp_path / "s", Scripted(behave))
    assert not runner.stopped_early
    table = section(plan, runner.trials)
    assert [row[-2:] for row in table.rows[2:]] == [["failed", "1 of 2"]] * 2
    assert "trial-002, seed 1: failed: it is nan" in table.notes
    again = Scripted(total)
    session(plan, tmp_path / "s", again)
    assert again.started == []
    runner = session(plan, tmp_path / "s", again, retry_failed=True)
    assert [seed for _, seed in again.started] == [1, 1]
    assert section(plan, runner.trials).notes == []
    whole = session(plan, tmp_path / "whole", Scripted(total))
    assert as_json(plan, runner.trials) == as_json(plan, whole.trials)


def test_a_lost_training_goes_on_until_it_was_lost_three_times(plan: Plan, tmp_path: Path) -> None:
    lost: dict[int, int] = {0: 2, 1: 5}

    def behave(point: dict[str, Any], seed: int) -> float | str:
        if point == {LR: 1e-3, LAMBDA: 0.5} and lost[seed]:
            lost[seed] -= 1
            return "lost ended by signal 9"
        return total(point, seed)

    executor = Scripted(behave)
    runner = session(plan, tmp_path / "s", executor)
    first = runner.trials[0]
    assert [seed for _, seed in executor.started[:6]] == [0, 0, 0, 1, 1, 1]
    assert list(first.scores) == [0] and len(first.losses[0]) == 2
    assert first.failures == {1: f"lost {LOSSES} times; the last one ended by signal 9"}
    assert len(executor.started) == 2 + 1 + 3 + 6


def test_losses_count_over_sessions_and_anew_after_a_retry(plan: Plan, tmp_path: Path) -> None:
    def lost(point: dict[str, Any], seed: int) -> str:
        return "lost ended by signal 9"

    for stop_after in (3, 2):
        runner = session(plan, tmp_path / "s", Scripted(lost, stop_after))
    assert list(runner.trials[0].failures) == [0]
    executor = Scripted(lost, 3)
    runner = session(plan, tmp_path / "s", executor, retry_failed=True)
    assert len(runner.trials[0].losses[0]) == 2 and not runner.trials[0].failures


@pytest.mark.parametrize("kind", ["grid", "optuna"])
def test_an_interrupted_sweep_ends_as_a_whole_one(tmp_path: Path, kind: str) -> None:
    ranges = {LR: {"low": 1e-4, "high": 1e-1, "log": True}, LAMBDA: {"low": 0.0, "high": 1.0}}
    searches: dict[str, dict[str, Any]] = {
        "grid": {},
        "optuna": {"search": {"kind": "optuna", "trials": 20, "ranges": ranges}},
    }
    plan = plan_of(tmp_path, **searches[kind])
    whole, parts = Scripted(total), []
    expected = session(plan, tmp_path / "whole", whole)
    for stop_after in (1, 4, 2, 3, -1):
        executor = Scripted(total, stop_after)
        runner = session(plan, tmp_path / "parts", executor)
        # The last one begun is begun again.
        parts += executor.started if stop_after == -1 else executor.started[:-1]
    assert parts == whole.started
    assert as_json(plan, runner.trials) == as_json(plan, expected.trials)


def test_several_at_once_come_to_the_same_table(plan: Plan, tmp_path: Path) -> None:
    tables = [
        as_json(plan, session(plan, tmp_path / str(jobs), Scripted(total), jobs=jobs).trials)
        for jobs in (1, 3, 8)
    ]
    assert tables[0] == tables[1] == tables[2]


def test_values_that_do_not_go_together_fail_alone(tmp_path: Path) -> None:
    ranges = {
        "vehicles.0.count": {"low": 6, "high": 40},
        "network.length_m": {"low": 60.0, "high": 300.0},
    }
    search = {"kind": "optuna", "trials": 12, "seed": 1, "ranges": ranges}
    plan = plan_of(tmp_path, search=search, seeds=[0])
    runner = session(plan, tmp_path / "s", Scripted(lambda point, seed: 1.0))
    failed = [trial for trial in runner.trials if trial.failures]
    assert 0 < len(failed) < 12 and not runner.stopped_early
    assert all("do not fit a ring" in trial.failures[0] for trial in failed)


def test_the_beginning_of_a_line_is_cut_off_and_damage_is_told(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "s"
    session(plan, path, Scripted(total, 3))
    records = path / "trials.jsonl"
    before = records.read_text()
    records.write_text(before + '{"event": "fini')
    session(plan, path, Scripted(total, 1))
    assert records.read_text() == before
    for damage in (
        "x\n",
        "{}\n",
        '{"event": "finished", "trial": 9, "seed": 0, "said": 1}\n',
    ):
        records.write_text(before + damage)
        with pytest.raises(TrafficRLError, match=rf"trials\.jsonl:{before.count(chr(10)) + 1}: "):
            SweepDirectory(path).trials(plan)


def test_records_that_are_no_text_are_one_line(plan: Plan, tmp_path: Path) -> None:
    session(plan, tmp_path / "s", Scripted(total, 3))
    (tmp_path / "s" / "trials.jsonl").write_bytes(b"\xff\n")
    with pytest.raises(TrafficRLError, match=r"trials\.jsonl: is damaged \(not text"):
        session(plan, tmp_path / "s", Scripted(total))


def test_trials_and_seeds_can_be_added_and_points_cannot_be_changed(tmp_path: Path) -> None:
    ranges = {LR: {"low": 1e-4, "high": 1e-1, "log": True}, "graph.range_m": {"choices": [1, 50.0]}}
    search = {"kind": "optuna", "trials": 4, "ranges": ranges}
    plan = plan_of(tmp_path, search=search, seeds=[0], objective={"direction": "minimise"})
    path = tmp_path / "s"
    score = Scripted(lambda point, seed: point[LR])
    session(plan, path, score)
    file = path / "sweep.yaml"
    text = file.read_text()
    file.write_text(text.replace("trials: 4", "trials: 5").replace("seeds: [0]", "seeds: [0, 1]"))
    more = SweepDirectory(path).plan()
    runner = Runner(more, SweepDirectory(path), make_search(more))
    runner.run(score, 1)
    assert [seed for _, seed in score.started] == [0] * 4 + [1] * 4 + [0, 1]
    for was, now, said in (
        ("50.0", "60.0", r"search\.ranges\.graph\.range_m\.choices is \[1, 60\.0\] and was"),
        (
            "graph.range_m",
            "training.worker_timeout_s",
            r"ranges\.graph\.range_m is null and was",
        ),
        ("seed: 0", "seed: 1", r"search\.seed is 1 and was 0"),
        ("figure: return", "figure: collisions", r'objective\.figure is "collisions" and was'),
        ("minimise", "maximise", r'objective\.direction is "maximise" and was "minimise"'),
        ("trials: 4", "trials: 3", r"search\.trials is 3, and 5 are recorded"),
        ("seeds: [0]", "seeds: [0]", r"seeds has not 1, of which trainings are recorded"),
    ):
        file.write_text(text.replace("trials: 4", "trials: 5").replace(was, now, 1))
        if was == "trials: 4":
            file.write_text(text.replace(was, now))
        plan = load_sweep(file)
        with pytest.raises(TrafficRLError, match=said):
            Runner(plan, SweepDirectory(path), make_search(plan))
    file.write_text(text.replace("trials: 4", "trials: 5").replace("seeds: [0]", "seeds: [0, 1]"))
    base = path / "base.yaml"
    base.write_text(base.read_text().replace("length_m: 120.0", "length_m: 130.0"))
    plan = load_sweep(file)
    with pytest.raises(TrafficRLError, match=r"base\.network\.length_m is 130\.0 and was 120\.0"):
        Runner(plan, SweepDirectory(path), make_search(plan))


def test_with_fewer_trials_than_there_are_nothing_more_is_asked(tmp_path: Path) -> None:
    ranges = {LR: {"low": 1e-4, "high": 1e-1}}
    search = {"kind": "optuna", "trials": 4, "ranges": ranges}
    plan = plan_of(tmp_path, search=search, seeds=[0])
    directory = SweepDirectory(tmp_path / "s").create(plan)
    runner = Runner(plan, directory, make_search(plan))
    executor = Scripted(lambda point, seed: point[LR])
    runner.run(executor, 1)
    fewer = plan.config.search.model_copy(update={"trials": 3})
    runner.plan = replace(plan, config=plan.config.model_copy(update={"search": fewer}))
    runner.run(executor, 1)
    assert len(executor.started) == 4
    directory.lock.release()


@pytest.mark.parametrize("moment", ["start", "score"])
def test_a_training_of_something_else_is_neither_gone_on_with_nor_scored(
    plan: Plan, tmp_path: Path, moment: str
) -> None:
    path = tmp_path / "s"
    session(plan, path, Scripted(total))
    other = (path / "trial-001" / "seed-0" / "scenario.yaml").read_text()
    run = tmp_path / "t" / "trial-000" / "seed-0"

    class Meddled(Scripted):
        def wait(self, seconds: float) -> Sequence[End]:
            ends = super().wait(seconds)
            if moment == "score":
                (run / "scenario.yaml").write_text(other)
            return ends

    if moment == "start":
        run.mkdir(parents=True)
        (run / "scenario.yaml").write_text(other)
    executor = Meddled(total)
    directory = SweepDirectory(tmp_path / "t")
    directory.path.mkdir(exist_ok=True)
    runner = Runner(plan, directory, make_search(plan))
    directory.base_file.write_text(dump_scenario(plan.base))
    with pytest.raises(TrafficRLError, match=rf"{run}: is a training of another scenario"):
        runner.run(executor, 1)
    assert len(executor.started) == (moment == "score")
    assert not runner.trials[0].scores


def test_one_sweep_at_a_time_and_another_one_is_refused(plan: Plan, tmp_path: Path) -> None:
    directory = SweepDirectory(tmp_path / "s").create(plan)
    with pytest.raises(TrafficRLError, match="process"):
        SweepDirectory(tmp_path / "s").create(plan)
    directory.lock.release()
    other = Plan(plan.config.model_copy(update={"seeds": [5]}), plan.base, plan.whole)
    with pytest.raises(TrafficRLError, match="another sweep is there"):
        SweepDirectory(tmp_path / "s").create(other)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(TrafficRLError, match="not empty"):
        SweepDirectory(tmp_path / "full").create(plan)


def test_the_score_is_of_the_validation_that_the_best_checkpoint_is_of(tmp_path: Path) -> None:
    rows = [(0, 5.0, 1.0), (1, 9.0, 2.0), (0, 7.0, 3.0), (0, 7.0, 4.0), (0, 6.0, 5.0)]
    run = RunDirectory(tmp_path)
    with open(run.metrics_file, "w") as file:
        for collisions, value, speed in rows:
            row = {"validation_collisions": collisions, "validation_return": value}
            row |= {"validation_mean_speed_mps": speed, "sim_steps": 1}
            file.write(json.dumps({"sim_steps": 1}) + "\n" + json.dumps(row) + "\n")
    objective = plan_of(tmp_path).config.objective
    speed = objective.model_copy(update={"figure": "mean_speed_mps"})
    assert (score(run, objective), score(run, speed)) == (7.0, 3.0)
    assert score(run, speed.model_copy(update={"validation": "last"})) == 5.0


def test_results_are_written_now_and_then_and_at_the_end(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "s"
    trials = session(plan, path, Scripted(total)).trials
    for every, failed in ((1e9, 0), (0.0, 2)):
        results = Results(plan, SweepDirectory(path), trials, every)
        written = []
        for trial in trials[:3]:
            results.write_sometimes()
            written.append(json.loads((path / "results.json").read_text())["trials"])
            trial.failures[9] = "x"
        assert sum(bool(one["failed"]) for one in written[-1]) == failed
        results.write()
        last = json.loads((path / "results.json").read_text())["trials"]
        assert sum(bool(one["failed"]) for one in last) == 3
        for trial in trials:
            trial.failures.clear()


def test_an_interval_is_estimated_once_for_the_same_scores(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def counted(scores: list[list[float]]) -> Estimate:
        calls.append(scores)
        return estimate(scores)

    monkeypatch.setattr(table, "estimate", counted)
    table._estimate.cache_clear()
    trials = session(plan, tmp_path / "s", Scripted(total)).trials
    for _ in range(3):
        section(plan, trials), as_json(plan, trials)
    assert len(calls) == 4
    trials[0].scores[1] += 1.0
    section(plan, trials), as_json(plan, trials)
    assert len(calls) == 5


def test_an_earlier_session_is_ended_and_its_trainings_are_waited_for(
    plan: Plan, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    session(plan, path, Scripted(total, 1))
    earlier, run = SweepDirectory(path).new_session(), path / "trial-000" / "seed-0"
    run.mkdir(parents=True)
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from trafficrl.training.lock import DirectoryLock\n"
        "lock = DirectoryLock(Path(sys.argv[1]))\n"
        "lock.acquire()\n"
        "print(flush=True)\n"
        "while Path(sys.argv[2]).exists(): time.sleep(0.02)\n"
        "time.sleep(0.3)\n"
    )
    words = [sys.executable, "-c", code, str(run), str(earlier)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as training:
        try:
            assert training.stdout is not None and training.stdout.readline()
            with pytest.raises(LockedError, match="is training there"):
                wait_until_free(run, patience=0.0)
            Runner(plan, SweepDirectory(path), make_search(plan))
            wait_until_free(run, patience=0.0)
        finally:
            training.kill()
    assert not earlier.exists()


def test_a_lock_that_cannot_be_had_at_all_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    with pytest.raises(WriteError, match="cannot be written"):
        wait_until_free(tmp_path, patience=1e9)
