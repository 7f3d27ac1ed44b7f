"""A sweep that has been read and checked: its points, and the scenario at each."""

from __future__ import annotations

import itertools
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from trafficrl.config import ScenarioConfig, load_scenario
from trafficrl.config.loading import Setting
from trafficrl.config.messages import show_value
from trafficrl.config.yaml_source import Node
from trafficrl.sweep.config import GridSearch, Key, SweepConfig

SEED = "training.seed"
LONG = 60  # characters of a value that is shown whole
T = TypeVar("T")

Point = dict[Key, Any]
"""A value for each key that is searched over."""


@dataclass(frozen=True)
class Plan:
    """A sweep that has been checked."""

    config: SweepConfig  # paths absolute
    base: ScenarioConfig  # with what the sweep sets
    whole: frozenset[Key]  # keys of ranges that take whole numbers alone
    first: Point = field(default_factory=dict)  # one at which the base can be tried

    @property
    def n_points(self) -> int:
        """How many points there will be."""
        search = self.config.search
        if isinstance(search, GridSearch):
            return math.prod(map(len, search.values.values()))
        return search.trials

    def decisive(self) -> dict[str, Any]:
        """All that scores depend on, plain: for trials and seeds that are the same."""
        search = self.config.search.model_dump(mode="json", exclude={"trials"})
        objective = self.config.objective.model_dump(mode="json")
        return {
            "base": self.base.model_dump(mode="json"),
            "search": search,
            "objective": objective,
        }

    def scenario(self, point: Point) -> ScenarioConfig:
        """The scenario at a point; ``ScenarioError`` where its values do not go together."""
        place = ", ".join(show_point(point))
        settings = [Setting(key, Node.of(value, place)) for key, value in point.items()]
        return load_scenario(self.base, settings)


def show_point(point: Point) -> list[str]:
    """``key=value`` for each key."""
    return [f"{key}={show_setting(value)}" for key, value in point.items()]


def show_setting(value: Any) -> str:
    """A value of a point; of a long list or mapping the beginning, and a sum to tell it by."""
    if not isinstance(value, list | dict):
        return show_value(value)
    text = json.dumps(value)
    return text if len(text) <= LONG else f"{text[:LONG]}... ({zlib.crc32(text.encode()):08x})"


def grid_points(values: Mapping[Key, Iterable[T]]) -> Iterator[dict[Key, T]]:
    """Every combination, the last key fastest."""
    for combination in itertools.product(*values.values()):
        yield dict(zip(values, combination, strict=True))
