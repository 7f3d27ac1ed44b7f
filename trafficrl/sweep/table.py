"""What came of a sweep: a table with the best first, as text, Markdown and JSON."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from functools import lru_cache

from trafficrl.evaluation.evaluate import known
from trafficrl.evaluation.sections import Section
from trafficrl.evaluation.statistics import Estimate, estimate
from trafficrl.evaluation.tables import UNDEFINED, show
from trafficrl.sweep.config import MAX_POINTS
from trafficrl.sweep.directory import SweepDirectory
from trafficrl.sweep.plan import Plan, show_setting
from trafficrl.sweep.trial import Trial
from trafficrl.training.files import replace_text

EVERY = 10.0  # s between writing results


def ranked(plan: Plan, trials: Sequence[Trial]) -> list[Trial]:
    """The best first: all seeds before some, failed ones last, equal ones in their order."""
    sign, seeds = plan.config.objective.sign, plan.config.seeds

    def place(trial: Trial) -> tuple[bool, bool, float]:
        score = trial.score
        return score is None, not trial.is_decided(seeds), -sign * (score or 0.0)

    return sorted(trials, key=place)


def best(plan: Plan, trials: Sequence[Trial]) -> Trial | None:
    """The best of those that are complete."""
    first = next(iter(ranked(plan, trials)), None)
    seeds = plan.config.seeds
    return first if first and first.score is not None and first.is_decided(seeds) else None


def section(plan: Plan, trials: Sequence[Trial]) -> Section:
    """A row for each point that was tried."""
    objective, seeds = plan.config.objective, plan.config.seeds
    keys = list(trials[0].point) if trials else []
    title = (
        f"{plan.base.name}: {objective.figure} of the {objective.validation} validation, "
        f"{objective.direction}d; mean [95 % interval over training seeds]"
    )
    header = ["", *keys, objective.figure, "seeds"]
    rows = [
        [
            trial.name,
            *(show_setting(trial.point[key]) for key in keys),
            _shown(trial),
            f"{len(trial.scores)} of {len(seeds)}",
        ]
        for trial in ranked(plan, trials)
    ]
    notes = [
        f"{trial.name}, seed {seed}: failed: {reason}"
        for trial in trials
        for seed, reason in sorted(trial.failures.items())
    ]
    left = plan.n_points - sum(trial.is_decided(seeds) for trial in trials)
    if left:
        notes.append(f"not complete: {left} of {plan.n_points} points are left")
    return Section(title, header, rows, notes)


def as_json(plan: Plan, trials: Sequence[Trial]) -> str:
    """Every point with its scores by seed, their mean and interval, and what failed."""
    content = {
        "scenario": plan.base.name,
        "objective": plan.config.objective.model_dump(),
        "seeds": plan.config.seeds,
        "points": plan.n_points,
        "trials": [
            {
                "trial": trial.name,
                "values": trial.point,
                "score": trial.score,
                "interval_95": _interval(trial),
                "scores": {str(seed): value for seed, value in sorted(trial.scores.items())},
                "failed": {str(seed): why for seed, why in sorted(trial.failures.items())},
                "lost": {str(seed): how for seed, how in sorted(trial.losses.items())},
            }
            for trial in ranked(plan, trials)
        ],
    }
    return json.dumps(content, indent=2) + "\n"


class Results:
    """``results.md`` and ``results.json`` in the directory."""

    def __init__(
        self,
        plan: Plan,
        directory: SweepDirectory,
        trials: Sequence[Trial],
        every: float = EVERY,
    ) -> None:
        self._plan, self._trials, self._every = plan, trials, every
        self._folder = directory.path
        self._written = -math.inf

    def write(self) -> None:
        """Write all that is known."""
        texts = {
            "results.md": section(self._plan, self._trials).markdown(),
            "results.json": as_json(self._plan, self._trials),
        }
        for name, text in texts.items():
            replace_text(self._folder / name, text)
        self._written = time.monotonic()

    def write_sometimes(self) -> None:
        """Write it unless that was done a moment ago."""
        if time.monotonic() - self._written >= self._every:
            self.write()


def _shown(trial: Trial) -> str:
    """One seed has no interval."""
    if trial.score is None:
        return "failed" if trial.failures else UNDEFINED
    shown = show(_estimate(_by_seed(trial)))
    return shown.partition(" ")[0] if len(trial.scores) == 1 else shown


def _interval(trial: Trial) -> list[float | None] | None:
    if trial.score is None or len(trial.scores) == 1:
        return None
    found = _estimate(_by_seed(trial))
    return [known(found.low), known(found.high)]


def _by_seed(trial: Trial) -> tuple[float, ...]:
    """Its scores in the order of seeds: they end in any."""
    return tuple(trial.scores[seed] for seed in sorted(trial.scores))


@lru_cache(maxsize=MAX_POINTS)  # of two tables of all points, again and again
def _estimate(scores: tuple[float, ...]) -> Estimate:
    return estimate([[score] for score in scores])
