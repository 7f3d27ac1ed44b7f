"""A point of a sweep, and what became of its trainings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Literal

from trafficrl.sweep.plan import Point

Event = Literal["begun", "asked", "finished", "failed", "lost", "retried"]


@dataclass
class Trial:
    """A point, and its trainings by their seeds."""

    number: int
    point: Point
    scores: dict[int, float] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)  # why
    losses: dict[int, list[str]] = field(default_factory=dict)  # how, since it was last retried

    @property
    def name(self) -> str:
        return f"trial-{self.number:03}"

    @property
    def score(self) -> float | None:
        """Mean over the seeds; none where one has failed, or there is none yet."""
        return None if self.failures or not self.scores else fmean(self.scores.values())

    def is_decided(self, seeds: Sequence[int]) -> bool:
        """Whether nothing is left to be done."""
        return not any(map(self.is_open, seeds))

    def is_open(self, seed: int) -> bool:
        """Whether that training is still to be done."""
        return seed not in self.scores and seed not in self.failures

    def add(self, event: Event, seed: int, said: Any) -> None:
        """Something has become of a training."""
        match event:
            case "finished":
                self.scores[seed] = float(said)
            case "failed":
                self.failures[seed] = str(said)
            case "lost":
                self.losses.setdefault(seed, []).append(str(said))
            case "retried":
                self.failures.pop(seed, None)
                self.losses.pop(seed, None)
