"""What came of a sweep: a table with the best first, as text, Markdown and JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from trafficrl.config.messages import show_value
from trafficrl.evaluation.evaluate import known
from trafficrl.evaluation.sections import Section
from trafficrl.evaluation.statistics import Estimate, estimate
from trafficrl.evaluation.tables import UNDEFINED, show
from trafficrl.sweep.directory import SweepDirectory, Trial
from trafficrl.sweep.plan import Plan
from trafficrl.training.files import replace_text


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
            *(show_value(trial.point[key]) for key in keys),
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


def write_results(plan: Plan, directory: SweepDirectory, trials: Sequence[Trial]) -> None:
    """Put ``results.md`` and ``results.json`` into the directory."""
    texts = {
        "results.md": section(plan, trials).markdown(),
        "results.json": as_json(plan, trials),
    }
    for name, text in texts.items():
        replace_text(directory.path / name, text)


def _shown(trial: Trial) -> str:
    """One seed has no interval."""
    if trial.score is None:
        return "failed" if trial.failures else UNDEFINED
    shown = show(_estimate(trial))
    return shown.partition(" ")[0] if len(trial.scores) == 1 else shown


def _interval(trial: Trial) -> list[float | None] | None:
    if trial.score is None or len(trial.scores) == 1:
        return None
    found = _estimate(trial)
    return [known(found.low), known(found.high)]


def _estimate(trial: Trial) -> Estimate:
    # In the order of seeds: they end in any.
    return estimate([[trial.scores[seed]] for seed in sorted(trial.scores)])
