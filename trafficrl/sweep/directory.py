"""The sweep directory: what is tried, and what became of it.

``base.yaml`` is the scenario with what the sweep sets, ``sweep.yaml`` the sweep of it,
``trials.jsonl`` has a line an event, and is all that a sweep needs to go on; the first
line has what decides the scores, which stays as it is for as long as there are any;
``trial-003/seed-1`` is a run directory, ``trial-003/log-1.txt`` what that training said;
``results.md`` and ``results.json`` are made of the rest. Whoever sweeps holds ``.lock``.

A process may be killed at any moment. ``sweep.yaml`` comes last of what ``create``
writes: with it there is a sweep. An event is on the disk before what follows from it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trafficrl.config import dump_scenario
from trafficrl.config.yaml_source import to_yaml
from trafficrl.errors import TrafficRLError, printable
from trafficrl.sweep.executor import Job, wait_until_free
from trafficrl.sweep.loading import load_sweep
from trafficrl.sweep.plan import SEED, Plan
from trafficrl.sweep.trial import Event, Trial
from trafficrl.training.files import (
    append,
    is_partial,
    keep_lines,
    remove_partial_files,
    replace_text,
    sync,
    whole_lines,
)
from trafficrl.training.lock import DirectoryLock
from trafficrl.training.run_directory import RunDirectory

SESSION = ".session-"  # begins the name of a file that is there as long as a session


class SweepDirectory:
    """Paths and records of one sweep."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sweep_file = self.path / "sweep.yaml"
        self.base_file = self.path / "base.yaml"
        self.trials_file = self.path / "trials.jsonl"
        self.lock = DirectoryLock(self.path)

    def create(self, plan: Plan) -> SweepDirectory:
        """Make a new sweep, locked, and return it; the same one may be there already.

        Refuses a directory that holds something else.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._not_writable(error) from None
        self.check(plan)
        self.lock.acquire()
        remove_partial_files(self.path)
        for file, text in self._texts(plan).items():
            replace_text(file, text)
        return self

    def check(self, plan: Plan) -> None:
        """Refuse what ``create`` does, but for a lock; changes nothing."""
        path, texts = self.path, self._texts(plan)
        try:
            there = [file for file in path.iterdir() if not is_partial(file)]
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._not_writable(error) from None
        if self.sweep_file in there:
            if any(not file.is_file() or _text(file) != text for file, text in texts.items()):
                raise TrafficRLError(
                    f"{path}: another sweep is there "
                    f"(choose another --output, or go on with --resume {path})"
                )
        elif set(there) - {self.lock.path, self.base_file}:
            raise TrafficRLError(f"{path}: not empty (choose another --output)")

    @classmethod
    def open(cls, path: Path) -> SweepDirectory:
        """An existing sweep; ``TrafficRLError`` if there is none."""
        directory = cls(path)
        if not directory.sweep_file.is_file():
            what = "no such directory" if not path.exists() else "not a sweep directory"
            raise TrafficRLError(f"{path}: {what} (should have a {directory.sweep_file.name})")
        return directory

    def plan(self) -> Plan:
        """What is swept."""
        return load_sweep(self.sweep_file)

    def run(self, trial: Trial, seed: int) -> RunDirectory:
        """Where a training of a trial is."""
        return RunDirectory(self.path / trial.name / f"seed-{seed}")

    def trials(self, plan: Plan) -> list[Trial]:
        """All that is recorded, in the order of points; refuses what another plan came to."""
        trials: list[Trial] = []
        number, begun = 1, None
        try:
            for line in whole_lines(self.trials_file):
                row = json.loads(line)
                if number == 1:
                    begun = _begun(row)
                else:
                    self._add(trials, row)
                number += 1
        except UnicodeDecodeError as error:
            raise TrafficRLError(
                f"{self.trials_file}: is damaged (not text: {error.reason})"
            ) from None
        except (ValueError, KeyError, TypeError, IndexError, RecursionError):
            raise TrafficRLError(
                f"{self.trials_file}:{number}: is damaged (should be as it was; "
                "without a copy of it begin a new sweep)"
            ) from None
        if begun is not None:
            self._refuse_changes(plan, begun, trials)
        return trials

    def begin(self, plan: Plan) -> None:
        """Cut off the beginning of a line that a crash has left; record what begins, once."""
        keep_lines(self.trials_file, lambda line: True)
        if not self.trials_file.exists() or self.trials_file.stat().st_size == 0:
            self._append({"event": "begun", "said": plan.decisive()})
            sync(self.path)  # its name

    def record(self, event: Event, trial: Trial, seed: int | None, said: Any) -> None:
        """Add an event to the records, and to ``trial``."""
        self._append({"event": event, "trial": trial.number, "seed": seed, "said": said})
        if seed is not None:
            trial.add(event, seed, said)

    def new_session(self) -> Path:
        """A file that is there as long as a session that has trainings on other machines."""
        session = self.path.absolute() / f"{SESSION}{secrets.token_hex(8)}"
        session.touch()
        return session

    def end_earlier_sessions(self, trials: Sequence[Trial], seeds: Sequence[int]) -> None:
        """Of a program that was killed; and wait until nobody trains what is to be gone on with.

        Raises ``TrafficRLError`` if somebody does after ``PATIENCE``.
        """
        for earlier in self.path.glob(f"{SESSION}*"):
            earlier.unlink(missing_ok=True)
        for trial in trials:
            for seed in filter(trial.is_open, seeds):
                wait_until_free(self.run(trial, seed).path)

    def refuse_another_run(self, plan: Plan, trial: Trial, seed: int) -> None:
        """``TrafficRLError`` where the run directory of a training has another scenario."""
        run = self.run(trial, seed)
        if not run.scenario_file.exists():
            return
        if run.scenario() != plan.scenario({**trial.point, SEED: seed}):
            raise TrafficRLError(
                f"{run.path}: is a training of another scenario "
                f"(move it away to have {trial.name} seed {seed} trained)"
            )

    def job(self, trial: Trial, seed: int) -> Job:
        """A training of a trial."""
        folder = self.path.absolute() / trial.name
        settings = [f"{key}={json.dumps(value)}" for key, value in trial.point.items()]
        return Job(
            trial=trial.number,
            seed=seed,
            scenario=str(self.base_file.absolute()),
            settings=settings,
            run=str(folder / f"seed-{seed}"),
            log=str(folder / f"log-{seed}.txt"),
        )

    def _texts(self, plan: Plan) -> dict[Path, str]:
        sweep = plan.config.model_dump(mode="json", exclude_none=True)
        return {
            self.base_file: dump_scenario(plan.base),
            self.sweep_file: to_yaml({**sweep, "scenario": self.base_file.name, "set": {}}),
        }

    def _not_writable(self, error: OSError) -> TrafficRLError:
        return TrafficRLError(
            f"{self.path}: cannot be written ({error.strerror}; choose another --output)"
        )

    def _append(self, row: dict[str, Any]) -> None:
        append(self.trials_file, json.dumps(row) + "\n")
        sync(self.trials_file)

    def _refuse_changes(self, plan: Plan, begun: dict[str, Any], trials: list[Trial]) -> None:
        """Scores of different things would stand in one table."""
        if changed := _difference(begun, plan.decisive()):
            raise TrafficRLError(
                f"{self.sweep_file}: {changed} (only trials and seeds may be raised; "
                "begin a new sweep for other changes)"
            )
        if len(trials) > plan.n_points:
            raise TrafficRLError(
                f"{self.sweep_file}: search.trials is {plan.n_points}, and {len(trials)} are "
                "recorded (should be as many or more)"
            )
        seeds = {seed for one in trials for seed in (*one.scores, *one.failures, *one.losses)}
        if left_out := seeds - set(plan.config.seeds):
            raise TrafficRLError(
                f"{self.sweep_file}: seeds has not {', '.join(map(str, sorted(left_out)))}, of "
                "which trainings are recorded (should have what it had, and may have more)"
            )

    def _add(self, trials: list[Trial], row: dict[str, Any]) -> None:
        event, number, seed, said = (row[key] for key in ("event", "trial", "seed", "said"))
        if event == "asked":
            if number != len(trials) or not isinstance(said, dict):
                raise ValueError("out of order")
            trials.append(Trial(number, said))
        else:
            trials[number].add(event, int(seed), said)


def _begun(row: dict[str, Any]) -> dict[str, Any]:
    said = row["said"]
    if row["event"] != "begun" or not isinstance(said, dict):
        raise ValueError("not the first event")
    return said


def _difference(was: Any, now: Any, key: str = "") -> str | None:
    """The first thing in which two plain values differ, and what it was."""
    if isinstance(was, dict) and isinstance(now, dict):
        for name in dict.fromkeys([*was, *now]):
            inner = f"{key}.{name}" if key else name
            if found := _difference(was.get(name), now.get(name), inner):
                return found
        # The order of keys is that of points.
        return None if list(was) == list(now) else f"the keys of {key} are in another order"
    # As text, in which 1, 1.0 and true differ.
    before, after = json.dumps(was), json.dumps(now)
    return None if before == after else printable(f"{key} is {after:.80} and was {before:.80}")


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")
