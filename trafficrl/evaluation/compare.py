"""Several controllers on the same evaluation episodes, training seeds of one algorithm as one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from trafficrl.config import ScenarioConfig, load_scenario
from trafficrl.errors import TrafficRLError
from trafficrl.evaluation.carry import carry, check_overrides, task
from trafficrl.evaluation.driver import Driver
from trafficrl.evaluation.drivers import make_driver
from trafficrl.evaluation.evaluate import Figures, run_episodes
from trafficrl.evaluation.groups import RunGroup, expand, kind, make_group
from trafficrl.evaluation.metrics import METRICS
from trafficrl.evaluation.statistics import (
    Estimate,
    estimate,
    interquartile_mean,
    probability_of_improvement,
)
from trafficrl.evaluation.trajectory import Trajectory
from trafficrl.simulation.sumo_warnings import Tally
from trafficrl.training.run_directory import RunDirectory
from trafficrl.types import FloatArray


@dataclass
class Contender:
    """A controller, or all runs of one algorithm and scenario; a driver for each training seed."""

    name: str
    drivers: list[Driver]
    seeds: list[int] = field(default_factory=list)  # none where nothing was trained
    runs: list[str] = field(default_factory=list)
    trained_on: ScenarioConfig | None = None  # but for the seed


@dataclass
class Row:
    """A contender in one scenario, or why it cannot drive there; everything by metric."""

    contender: Contender
    refused: str | None = None
    over: str = ""  # what intervals are over
    scores: dict[str, FloatArray] = field(default_factory=dict)  # (S, E)
    means: dict[str, Estimate] = field(default_factory=dict)
    interquartile_means: dict[str, Estimate] = field(default_factory=dict)
    warnings: Tally = field(default_factory=Tally)  # of SUMO


@dataclass
class Table:
    """All contenders in one scenario."""

    config: ScenarioConfig
    rows: list[Row]


@dataclass
class Comparison:
    """All contenders in all scenarios."""

    tables: list[Table]
    episodes: int
    seed: int
    overrides: list[str]

    def improvement(self, metric: str, tables: Sequence[Table]) -> list[list[Estimate | None]]:
        """P(row better than column) over all episodes of ``tables``; None of what was refused."""
        scores = [
            _side_by_side([table.rows[place] for table in tables], metric)
            for place in range(len(tables[0].rows))
        ]
        strata = np.repeat(np.arange(len(tables)), self.episodes)
        lower = METRICS[metric].better == "lower"
        return [
            [
                None
                if x is None or y is None or x is y
                else probability_of_improvement(x, y, strata=strata, lower_is_better=lower)
                for y in scores
            ]
            for x in scores
        ]


def find_contenders(
    texts: Sequence[str], checkpoint: str = "best"
) -> tuple[list[Contender], list[str]]:
    """What ``texts`` name, in their order, and notes on what was left out.

    A text is what ``make_driver`` takes, or a pattern such as ``runs/ring/*``.
    Runs whose scenarios differ in ``training.seed`` alone become one contender;
    of two with the same seed too, the older one is left out.
    """
    groups: dict[str, list[RunDirectory]] = {}
    drivers: dict[Path, Driver] = {}  # of runs
    contenders: dict[str, Contender | None] = {}  # in order; None for groups of runs
    seen: set[str | Path] = set()
    for text in (one for pattern in texts for one in expand(pattern)):
        driver, trained_on = make_driver(text, checkpoint)
        run = None if trained_on is None else RunDirectory.open(Path(text))
        who = text if run is None else run.path.resolve()
        if who in seen:
            raise TrafficRLError(f"{text}: is given twice")
        seen.add(who)
        if run is None or trained_on is None:
            contenders[text] = Contender(text, [driver])
            continue
        drivers[run.path] = driver
        contenders.setdefault(kind(trained_on), None)
        groups.setdefault(kind(trained_on), []).append(run)
    notes: list[str] = []
    found = [
        one or _contender(make_group(groups[key], notes), drivers)
        for key, one in contenders.items()
    ]
    _make_names_unique(found)
    return found, notes


def scenarios_to_drive(
    contenders: Sequence[Contender], names: Sequence[str], overrides: Sequence[str]
) -> list[ScenarioConfig]:
    """The scenarios of these names, or else the one that all runs were trained on."""
    if names:
        return [load_scenario(name, overrides) for name in names]
    trained = [(one.name, one.trained_on) for one in contenders if one.trained_on is not None]
    if not trained:
        raise TrafficRLError("--scenario: is needed, as nothing here was trained on one")
    first, config = trained[0]
    for other, its in trained[1:]:
        if task(its) != task(config):
            raise TrafficRLError(
                f"--scenario: is needed, as {first} and {other} were trained on different ones"
            )
    return [load_scenario(config, overrides)]


def compare(
    contenders: Sequence[Contender],
    scenarios: Sequence[ScenarioConfig],
    *,
    episodes: int,
    seed: int = 0,
    overrides: Sequence[str] = (),
    on_start: Callable[[Contender, ScenarioConfig], None] = lambda contender, scenario: None,
    on_episode: Callable[[Trajectory], None] = lambda trajectory: None,
) -> Comparison:
    """Evaluate every contender in every scenario, on the same episodes.

    The scenarios have the ``overrides``, which a trained run takes of the world
    alone. What cannot drive somewhere says so in its row; ``TrafficRLError`` if
    nothing can.
    """
    tables = []
    for scenario in scenarios:
        rows = []
        for contender in contenders:
            on_start(contender, scenario)
            rows.append(_evaluate(contender, scenario, episodes, seed, overrides, on_episode))
        tables.append(Table(scenario, rows))
    refusals = [row.refused for table in tables for row in table.rows]
    if all(refusals):
        raise TrafficRLError(str(refusals[0]))
    return Comparison(tables, episodes, seed, list(overrides))


def _evaluate(
    contender: Contender,
    scenario: ScenarioConfig,
    episodes: int,
    seed: int,
    overrides: Sequence[str],
    on_episode: Callable[[Trajectory], None],
) -> Row:
    runs: list[list[Figures]] = []
    drive = partial(run_episodes, episodes=episodes, seed=seed, on_episode=on_episode)
    warnings = Tally()
    try:
        if contender.trained_on is not None:
            check_overrides(contender.trained_on, overrides)
            scenario = carry(contender.trained_on, scenario)
        for driver in contender.drivers:
            runs.append(drive(driver, scenario, warnings=warnings))
    except TrafficRLError as error:
        return Row(contender, refused=str(error))
    scores = {name: np.array([[one[name] for one in run] for run in runs]) for name in METRICS}
    return Row(
        contender,
        over=f"{len(runs)} training seeds" if len(runs) > 1 else f"{episodes} episodes",
        scores=scores,
        means={name: estimate(values) for name, values in scores.items()},
        interquartile_means={
            name: estimate(values, interquartile_mean) for name, values in scores.items()
        },
        warnings=warnings,
    )


def _contender(group: RunGroup, drivers: dict[Path, Driver]) -> Contender:
    return Contender(
        group.name,
        [drivers[run.path] for run in group.runs],
        group.seeds,
        [str(run.path) for run in group.runs],
        group.trained_on,
    )


def _make_names_unique(contenders: Sequence[Contender]) -> None:
    names: list[str] = []
    for one in contenders:
        count = names.count(one.name)
        names.append(one.name)
        if count:
            one.name = f"{one.name} ({count + 1})"


def _side_by_side(rows: Sequence[Row], metric: str) -> FloatArray | None:
    """Scores of one contender in several scenarios, (S, all episodes); None if refused in one."""
    if any(row.refused for row in rows):
        return None
    return np.concatenate([row.scores[metric] for row in rows], axis=1)
