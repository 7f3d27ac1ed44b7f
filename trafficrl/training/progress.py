"""What a training tells of itself to whoever shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from trafficrl.training.episodes import EpisodeSummary

Phase = Literal["collect", "update", "validate"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a training is, after an update."""

    iteration: int
    sim_steps: int
    total_steps: int
    steps_per_second: float  # since the training was started or resumed
    seconds: dict[str, float]  # of this update: collect_s, update_s, validate_and_save_s
    metrics: dict[str, float]  # of this update
    episodes: list[EpisodeSummary]  # that ended in this update
    validation: dict[str, float] | None  # where this update was followed by one
    warnings: list[dict[str, Any]]  # of SUMO in this update, as far as they are written
    n_warnings: int  # of SUMO, in the whole run
    workers_lost: list[str]  # in this update: which, and how
