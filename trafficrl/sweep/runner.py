"""Carries out a sweep: asks for points, has them trained, records what came of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trafficrl.errors import ScenarioError, TrafficRLError
from trafficrl.sweep.directory import SweepDirectory
from trafficrl.sweep.executor import End, Executor
from trafficrl.sweep.plan import Plan
from trafficrl.sweep.scores import is_complete, score
from trafficrl.sweep.search import Search
from trafficrl.sweep.trial import Event, Trial

LOSSES = 3  # of one training until it counts as failed
NAMED = 5  # of the trainings that have failed
GLANCE = 0.5  # s between looks at whether to stop


@dataclass(frozen=True)
class News:
    """What has become of a training."""

    event: Event
    trial: Trial
    seed: int
    said: float | str  # the score, or why there is none


class Runner:
    """One session of a sweep, in a directory whose lock is held."""

    def __init__(
        self,
        plan: Plan,
        directory: SweepDirectory,
        search: Search,
        *,
        retry_failed: bool = False,
    ) -> None:
        self.plan, self.directory = plan, directory
        self._search = search
        self._stopping = False
        self.trials = directory.trials(plan)
        directory.begin(plan)
        for trial in self.trials:
            if retry_failed:
                for seed in list(trial.failures):
                    directory.record("retried", trial, seed, None)
            search.recall(trial.number, trial.point)
        for trial in self.trials:
            self._tell_if_decided(trial)
        directory.end_earlier_sessions(self.trials, plan.config.seeds)

    @property
    def n_done(self) -> int:
        """Trainings that have finished or failed."""
        return sum(len(trial.scores) + len(trial.failures) for trial in self.trials)

    @property
    def n_trainings(self) -> int:
        """Of the whole sweep."""
        return self.plan.n_points * len(self.plan.config.seeds)

    @property
    def stopped_early(self) -> bool:
        """Whether trainings are left."""
        return self.n_done < self.n_trainings

    @property
    def failures(self) -> str | None:
        """How many trainings have failed, and which."""
        failed = [(one.name, seed) for one in self.trials for seed in sorted(one.failures)]
        if not failed:
            return None
        names = ", ".join(f"{name} seed {seed}" for name, seed in failed[:NAMED])
        more = f" and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
        return f"{len(failed)} of {self.n_trainings} trainings failed: {names}{more}"

    def stop(self) -> None:
        """Have all trainings save and end, and then ``run``."""
        self._stopping = True

    def run(
        self,
        executor: Executor,
        jobs: int,
        on_news: Callable[[News], None] = lambda news: None,
    ) -> None:
        """Go on until all is done, or ``stop``, with so many trainings at once.

        ``on_news`` is told of every training that has ended.
        """
        running: dict[tuple[int, int], Trial] = {}
        asked_to_stop = False
        while True:
            while not self._stopping and len(running) < jobs:
                found = self._next(running)
                if found is None:
                    break
                trial, seed = found
                if wrong := self._what_is_wrong_with(trial):
                    on_news(self._record("failed", trial, seed, wrong))
                    continue
                self.directory.refuse_another_run(self.plan, trial, seed)
                executor.start(self.directory.job(trial, seed))
                running[trial.number, seed] = trial
            if not running:
                return
            if self._stopping and not asked_to_stop:
                executor.stop()
                asked_to_stop = True
            for end in executor.wait(GLANCE):
                trial = running.pop((end.job.trial, end.job.seed))
                news = self._ended(trial, end)
                if news is not None:
                    on_news(news)

    def _next(self, running: dict[tuple[int, int], Trial]) -> tuple[Trial, int] | None:
        """The training to begin or go on with; asks for another point if there is none."""
        seeds = self.plan.config.seeds
        for trial in self.trials:
            for seed in seeds:
                if trial.is_open(seed) and (trial.number, seed) not in running:
                    return trial, seed
        number = len(self.trials)
        if number >= self.plan.n_points:
            return None
        trial = Trial(number, self._search.ask(number))
        self.directory.record("asked", trial, None, trial.point)
        self.trials.append(trial)
        return trial, seeds[0]

    def _what_is_wrong_with(self, trial: Trial) -> str | None:
        """Ends of ranges that each are right need not go together."""
        try:
            self.plan.scenario(trial.point)
        except ScenarioError as error:
            return str(error).splitlines()[0]
        return None

    def _ended(self, trial: Trial, end: End) -> News | None:
        """Record what became of a training; None if it was only stopped."""
        seed = end.job.seed
        if end.error is not None:
            return self._record("failed", trial, seed, end.error)
        lost = end.lost
        if lost is None:
            self.directory.refuse_another_run(self.plan, trial, seed)
            try:
                found = self._score(trial, seed)
            except TrafficRLError as error:
                return self._record("failed", trial, seed, str(error))
            if found is not None:
                return self._record("finished", trial, seed, found)
            lost = "was stopped"
        if self._stopping:
            return None
        news = self._record("lost", trial, seed, lost)
        if len(trial.losses[seed]) < LOSSES:
            return news
        return self._record("failed", trial, seed, f"lost {LOSSES} times; the last one {lost}")

    def _record(self, event: Event, trial: Trial, seed: int, said: float | str) -> News:
        self.directory.record(event, trial, seed, said)
        self._tell_if_decided(trial)
        return News(event, trial, seed, said)

    def _tell_if_decided(self, trial: Trial) -> None:
        if trial.is_decided(self.plan.config.seeds):
            score = trial.score
            sign = self.plan.config.objective.sign
            self._search.tell(trial.number, None if score is None else sign * score)

    def _score(self, trial: Trial, seed: int) -> float | None:
        """Of a complete training; None of one that has steps left."""
        run = self.directory.run(trial, seed)
        total_steps = self.plan.scenario(trial.point).training.total_steps
        return score(run, self.plan.config.objective) if is_complete(run, total_steps) else None
