"""The sweep file: what is varied, how it is searched, and what is best.

One pydantic model per section; unknown keys are refused, as in scenarios.
"""

from __future__ import annotations

import json
import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from trafficrl.config.base import Section
from trafficrl.config.messages import show_value

MAX_POINTS = 10_000

Key = str  # of a scenario, such as training.total_steps


def _once(items: list[Any]) -> list[Any]:
    seen = set()
    for item in items:
        text = json.dumps(item)
        if text in seen:
            raise ValueError(f"{show_value(item)} is given twice")
        seen.add(text)
    return items


Values = Annotated[list[Any], Field(min_length=1), AfterValidator(_once)]


class GridSearch(Section):
    """Every combination of the values."""

    kind: Literal["grid"]
    values: dict[Key, Values] = Field(min_length=1, description="a list of values for each key")


class Range(Section):
    """Where Optuna looks for a value: between two numbers, or among choices."""

    low: int | float | None = Field(None, description="smallest value")
    high: int | float | None = Field(None, description="largest value")
    log: bool = Field(False, description="draw the logarithm evenly, not the value")
    step: int | float | None = Field(None, gt=0, description="distance of values, from low on")
    choices: Values | None = Field(None, description="the values themselves, in no order")

    @model_validator(mode="after")
    def _one_kind(self) -> Range:
        if self.choices is not None:
            if self.log or (self.low, self.high, self.step) != (None, None, None):
                raise ValueError("should have either choices, or low and high")
        elif self.low is None or self.high is None:
            raise ValueError("should have low and high, or choices")
        elif self.low >= self.high:
            raise ValueError(f"low {self.low:g} should be less than high {self.high:g}")
        elif self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log: true should have a low of more than 0 and no step")
        elif self.step is not None:
            steps = (self.high - self.low) / self.step
            if not math.isclose(steps, round(steps)) or round(steps) == 0:
                raise ValueError(f"high should be low and a number of steps of {self.step:g}")
        return self


class OptunaSearch(Section):
    """Points that Optuna's TPE sampler proposes, after the scores of those before."""

    kind: Literal["optuna"]
    trials: int = Field(ge=1, le=MAX_POINTS, description="points to try")
    seed: int = Field(0, ge=0, lt=2**32, description="of the sampler")
    ranges: dict[Key, Range] = Field(min_length=1, description="where to look, for each key")


class Objective(Section):
    """What a training is scored by: a figure of its validation episodes."""

    figure: Literal[
        "return", "mean_speed_mps", "speed_std_mps", "collisions", "override_fraction"
    ] = Field("return", description="which one; those of metrics.jsonl")
    direction: Literal["maximise", "minimise"] = Field(
        "maximise", description="what is better; only a return is maximised unless said"
    )
    validation: Literal["best", "last"] = Field(
        "best",
        description="best: of the checkpoint that evaluate drives (fewest collisions, then return)",
    )

    @model_validator(mode="after")
    def _says_what_is_better(self) -> Objective:
        if self.figure != "return" and "direction" not in self.model_fields_set:
            raise ValueError(f"should say whether to maximise or minimise {self.figure}: direction")
        return self

    @property
    def sign(self) -> float:
        """Times a score, more is better."""
        return 1.0 if self.direction == "maximise" else -1.0


class SweepConfig(Section):
    """A whole sweep file."""

    scenario: str = Field(min_length=1, description="a scenario file, or the name of a bundled one")
    set: dict[Key, Any] = Field(
        default_factory=dict, description="keys of the scenario that are the same in all trainings"
    )
    search: Annotated[GridSearch | OptunaSearch, Field(discriminator="kind")]
    seeds: Annotated[
        list[Annotated[int, Field(ge=0)]], Field(min_length=1), AfterValidator(_once)
    ] = Field([0], description="training seeds; every point is trained with each")
    objective: Objective = Objective()
    jobs: int | None = Field(
        None, ge=1, description="trainings at once  [default: a training a core]"
    )
