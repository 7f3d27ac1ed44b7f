"""Which points of a sweep are tried, in which order."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, Protocol

from trafficrl.errors import TrafficRLError
from trafficrl.sweep.config import GridSearch, OptunaSearch, Range
from trafficrl.sweep.plan import Plan, Point, grid_points, show_point

if TYPE_CHECKING:
    from optuna.trial import Trial


class Search(Protocol):
    """Proposes points; those of an earlier session are recalled first, in their order."""

    def ask(self, number: int) -> Point:
        """Point ``number``, 0 being the first; each is asked for once, in order."""

    def recall(self, number: int, point: Point) -> None:
        """That was point ``number``; ``TrafficRLError`` where the search has none such."""

    def tell(self, number: int, score: float | None) -> None:
        """What a point came to; more is better, None where it failed."""


def make_search(plan: Plan) -> Search:
    """The search that the sweep file names."""
    search = plan.config.search
    return Grid(search) if isinstance(search, GridSearch) else Tpe(search, plan.whole)


class Grid:
    """Every combination of the values, the last key fastest."""

    def __init__(self, search: GridSearch) -> None:
        self._points = list(grid_points(search.values))

    def ask(self, number: int) -> Point:
        return self._points[number]

    def recall(self, number: int, point: Point) -> None:
        if number >= len(self._points) or self._points[number] != point:
            raise _changed(number, point)

    def tell(self, number: int, score: float | None) -> None:
        pass


class Tpe:
    """Optuna's tree-structured Parzen estimator (Bergstra et al., 2011).

    A point depends on its number, the sampler's seed, the points before it and
    their scores as far as they are known, and on nothing else: each has a sampler
    of its own seed, so that no state has to be kept of what was drawn before.
    """

    def __init__(self, search: OptunaSearch, whole: frozenset[str]) -> None:
        try:
            import optuna
        except ImportError:
            raise TrafficRLError(
                "search.kind optuna: Optuna is not installed (pip install 'trafficrl[optuna]')"
            ) from None
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._optuna, self._search = optuna, search
        self._study = optuna.create_study(direction="maximize")
        self._distributions = {
            key: self._distribution(one, key in whole) for key, one in search.ranges.items()
        }
        self._trials: list[Trial] = []

    def ask(self, number: int) -> Point:
        self._study.sampler = self._optuna.samplers.TPESampler(
            seed=sampler_seed(self._search.seed, number), constant_liar=True
        )
        return self._values(self._ask().params)

    def recall(self, number: int, point: Point) -> None:
        if list(point) != list(self._search.ranges):
            raise _changed(number, point)
        try:
            inner = {key: self._inner(key, value) for key, value in point.items()}
        except ValueError:  # of a choice
            raise _changed(number, point) from None
        self._study.enqueue_trial(inner)
        self._ask()

    def tell(self, number: int, score: float | None) -> None:
        failed = self._optuna.trial.TrialState.FAIL
        state = failed if score is None else None
        self._study.tell(self._trials[number], score, state=state)

    def _ask(self) -> Trial:
        self._trials.append(self._study.ask(self._distributions))
        return self._trials[-1]

    def _distribution(self, one: Range, whole: bool) -> Any:
        found = self._optuna.distributions
        if one.choices is not None:  # by place: Optuna has no choices that are lists or mappings
            return found.CategoricalDistribution(range(len(one.choices)))
        assert one.low is not None and one.high is not None
        if whole:
            step = 1 if one.step is None else int(one.step)
            return found.IntDistribution(int(one.low), int(one.high), log=one.log, step=step)
        return found.FloatDistribution(one.low, one.high, log=one.log, step=one.step)

    def _values(self, params: dict[str, Any]) -> Point:
        choices = {key: one.choices for key, one in self._search.ranges.items()}
        return {
            key: params[key] if (some := choices[key]) is None else some[params[key]]
            for key in self._search.ranges
        }

    def _inner(self, key: str, value: Any) -> Any:
        choices = self._search.ranges[key].choices
        # As text, in which 1, 1.0 and true differ.
        return value if choices is None else list(map(json.dumps, choices)).index(json.dumps(value))


def sampler_seed(seed: int, number: int) -> int:
    """A seed for the sampler of one point, below 2^32."""
    digest = hashlib.sha256(f"sweep {seed} {number}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def _changed(number: int, point: Point) -> TrafficRLError:
    return TrafficRLError(
        f"point {number} of trials.jsonl ({', '.join(show_point(point))}) is none of sweep.yaml "
        "(should be as it was; begin a new sweep for other values)"
    )
