"""The train-by-test matrix: how each controller drives in each scenario, its own or not."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from trafficrl.config import ScenarioConfig, load_scenario
from trafficrl.errors import TrafficRLError
from trafficrl.evaluation.carry import CarryError, carry, task
from trafficrl.evaluation.dealing import Assignment
from trafficrl.evaluation.driver import Driver
from trafficrl.evaluation.drivers import make_driver
from trafficrl.evaluation.evaluate import report, run_episodes
from trafficrl.evaluation.learned import LearnedDriver
from trafficrl.evaluation.metrics import METRICS
from trafficrl.resources import closest

SPEED = "mean_speed_mps"


@dataclass(frozen=True, slots=True)
class Cell:
    """What a controller does in a scenario: figures, or why there are none."""

    controller: str
    scenario: str
    value: float | None = None  # mean of the metric over the episodes
    low: float | None = None  # its 95 % interval over episodes
    high: float | None = None
    collisions: float | None = None  # vehicles an episode
    reason: str | None = None  # one line
    own: bool = False  # whether the controller was trained on that task


@dataclass(frozen=True, slots=True)
class Matrix:
    """A row for each controller, a column for each scenario."""

    metric: str
    episodes: int
    seed: int
    trained_on: dict[str, str | None]  # of each row, in order: the scenario of its training
    scenarios: tuple[str, ...]
    cells: dict[tuple[str, str], Cell]

    @property
    def controllers(self) -> tuple[str, ...]:
        """Names of the rows."""
        return tuple(self.trained_on)


def transfer(
    controllers: Sequence[str],
    scenarios: Sequence[str],
    *,
    episodes: int = 5,
    seed: int = 0,
    metric: str = SPEED,
    checkpoint: str = "best",
    assign: Assignment | None = None,
    on_cell: Callable[[Cell], None] = lambda cell: None,
) -> Matrix:
    """Let every controller drive in every scenario, on the same episodes.

    ``controllers`` are run directories, or whatever else ``make_driver`` names;
    ``scenarios`` are files or bundled names. All are read first, and raise if
    that fails; what fails while it drives is a cell with its reason.
    """
    if metric not in METRICS:
        nearest = ", ".join(closest(metric, list(METRICS))[:5])
        raise TrafficRLError(f"--metric {metric}: unknown (known: {nearest}, ...)")
    configs = _named_scenarios(scenarios)
    drivers = _named_drivers(controllers, checkpoint, assign)
    cells = {}
    for controller, driver in drivers.items():
        for scenario, config in configs.items():
            cell = _cell(controller, driver, scenario, config, metric, episodes, seed)
            cells[controller, scenario] = cell
            on_cell(cell)
    return Matrix(
        metric=metric,
        episodes=episodes,
        seed=seed,
        trained_on={name: _trained_on(driver) for name, driver in drivers.items()},
        scenarios=tuple(configs),
        cells=cells,
    )


def _cell(
    controller: str,
    driver: Driver,
    scenario: str,
    config: ScenarioConfig,
    metric: str,
    episodes: int,
    seed: int,
) -> Cell:
    own = isinstance(driver, LearnedDriver) and task(driver.trained) == task(config)
    cell = partial(Cell, controller, scenario, own=own)
    try:
        if isinstance(driver, LearnedDriver):
            config = carry(driver.trained, config)
        summaries = run_episodes(driver, config, episodes=episodes, seed=seed)
        result = report(controller, config, summaries, seed=seed)
    except CarryError as error:
        return cell(reason=_one_line(error.reason))
    except TrafficRLError as error:
        return cell(reason=_one_line(str(error)))
    except Exception as error:  # hours of other cells are worth more than this one
        return cell(reason=_one_line(f"unexpected {type(error).__name__}: {error}"))
    value = result[metric]
    if value is None or math.isnan(value):
        return cell(reason=f"{metric} is not defined there")
    low, high = result["intervals_95"][metric]
    return cell(value, low, high, result["collisions"])


def _named_scenarios(scenarios: Sequence[str]) -> dict[str, ScenarioConfig]:
    """By their own names, or as they were given where two have the same."""
    configs = {text: load_scenario(text) for text in scenarios}
    names = [config.name for config in configs.values()]
    return {
        (config.name if names.count(config.name) == 1 else text): config
        for text, config in configs.items()
    }


def _named_drivers(
    controllers: Sequence[str], checkpoint: str, assign: Assignment | None
) -> dict[str, Driver]:
    """Runs by scenario, algorithm and seed, or by directory where two have the same."""
    drivers = {
        text: make_driver(text, checkpoint, assign if Path(text).exists() else None)[0]
        for text in controllers
    }
    names = {text: _trained_as(driver) or text for text, driver in drivers.items()}
    shown = list(names.values())
    return {
        (names[text] if shown.count(names[text]) == 1 else text): driver
        for text, driver in drivers.items()
    }


def _trained_as(driver: Driver) -> str | None:
    if not isinstance(driver, LearnedDriver):
        return None
    trained = driver.trained
    return f"{trained.name} {trained.training.algorithm} {trained.training.seed}"


def _trained_on(driver: Driver) -> str | None:
    return driver.trained.name if isinstance(driver, LearnedDriver) else None


def _one_line(text: str) -> str:
    return " ".join(text.split())
