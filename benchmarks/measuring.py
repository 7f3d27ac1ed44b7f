"""Times what is to be compared in turns, so that all of it meets the same machine.

In each round every case does one block of its work, after one that does not count.
Figures are medians over rounds; ratios are taken within each round first, as a
machine that others use is slower in one round than in another, but in all cases.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

Block = Callable[[], "float | Done"]
Clock = Literal["cpu", "wall"]


class Done(NamedTuple):
    """What a block of work came to."""

    work: float  # how many units
    figures: Mapping[str, float] = {}  # what else there is to say of it


@dataclass(frozen=True)
class Case:
    """Something that is timed.

    ``prepare`` gives the block, and puts away afterwards what only one case can have
    at a time (a process has one SUMO). Work in other processes needs the ``wall`` clock.
    """

    name: str
    unit: str  # of work, in the plural
    prepare: Callable[[], AbstractContextManager[Block]]
    clock: Clock = "cpu"
    warm: bool = True  # whether a block that does not count goes before


@dataclass(frozen=True)
class Ratio:
    """Seconds per unit of one case over those of another, ``base``."""

    name: str
    case: str
    base: str
    target: float | None = None
    faster: bool = False  # the inverse, ``base`` over ``case``, which is to be above the target


@dataclass(frozen=True)
class Group:
    """Cases that are timed in turns, in a process of their own."""

    cases: Sequence[Case]
    ratios: Sequence[Ratio] = ()


@dataclass
class Spread:
    """The median of some rounds and the middle half of them."""

    median: float
    low: float
    high: float

    @staticmethod
    def of(values: Sequence[float]) -> Spread:
        low, median, high = np.quantile(np.asarray(values, dtype=np.float64), [0.25, 0.5, 0.75])
        return Spread(float(median), float(low), float(high))


@dataclass
class Timed:
    """What one case came to."""

    unit: str
    clock: Clock
    seconds: list[float] = field(default_factory=list)  # per unit, of each round
    figures: dict[str, list[float]] = field(default_factory=dict)

    def content(self) -> dict[str, object]:
        """Plain, for JSON."""
        spread = Spread.of(self.seconds)
        return {
            "unit": self.unit,
            "clock": self.clock,
            "seconds_per_unit": vars(spread),
            "units_per_second": 1.0 / spread.median,
            "rounds": self.seconds,
            "figures": {name: vars(Spread.of(values)) for name, values in self.figures.items()},
        }


@dataclass
class Compared:
    """What one ratio came to."""

    ratio: Ratio
    spread: Spread

    @property
    def holds(self) -> bool | None:
        """Whether the target is met, None without one."""
        target = self.ratio.target
        if target is None:
            return None
        return self.spread.median >= target if self.ratio.faster else self.spread.median <= target

    def content(self) -> dict[str, object]:
        """Plain, for JSON."""
        return {
            "case": self.ratio.case,
            "base": self.ratio.base,
            **vars(self.spread),
            "target": self.ratio.target,
            "target_is": "at least" if self.ratio.faster else "at most",
            "holds": self.holds,
        }


def measure(group: Group, rounds: int) -> tuple[dict[str, Timed], dict[str, Compared]]:
    """Time every case ``rounds`` times, in turns."""
    timed = {case.name: Timed(case.unit, case.clock) for case in group.cases}
    for _ in range(rounds):
        for case in group.cases:
            _time(case, timed[case.name])
    return timed, {ratio.name: compare(ratio, timed) for ratio in group.ratios}


def _time(case: Case, timed: Timed) -> None:
    now = time.process_time if case.clock == "cpu" else time.perf_counter
    with case.prepare() as block:
        if case.warm:
            block()
        gc.collect()
        gc.disable()
        try:
            began = now()
            done = block()
            seconds = now() - began
        finally:
            gc.enable()
    done = done if isinstance(done, Done) else Done(done)
    timed.seconds.append(seconds / done.work)
    for name, value in done.figures.items():
        timed.figures.setdefault(name, []).append(value)


def compare(ratio: Ratio, timed: Mapping[str, Timed]) -> Compared:
    """A ratio, taken within each round."""
    pairs = zip(timed[ratio.case].seconds, timed[ratio.base].seconds, strict=True)
    values = [base / case if ratio.faster else case / base for case, base in pairs]
    return Compared(ratio, Spread.of(values))
