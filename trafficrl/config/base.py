"""What every section of a scenario has in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


class Section(BaseModel):
    """A part of a scenario: frozen, strict about types, and closed to unknown keys."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True
    )


def _ordered(interval: list[float]) -> list[float]:
    if len(interval) != 2 or interval[0] > interval[1]:
        raise ValueError("an interval is [low, high] with low <= high")
    return interval


def _positive(interval: list[float]) -> list[float]:
    if interval[0] <= 0:
        raise ValueError("both ends of the interval should be greater than 0")
    return interval


Interval = Annotated[list[float], AfterValidator(_ordered)]
PositiveInterval = Annotated[Interval, AfterValidator(_positive)]
