"""The figures of a validation, and which of two validations is better."""

from __future__ import annotations

from collections.abc import Mapping

VALIDATED = ("return", "mean_speed_mps", "speed_std_mps", "collisions", "override_fraction")
PREFIX = "validation_"  # of a figure, in metrics.jsonl


def merit(figures: Mapping[str, float]) -> list[float]:
    """More is better, and of equal ones the first: fewest collisions, then return.

    A crash can end an episode of negative rewards early, and so look good.
    """
    return [-figures["collisions"], figures["return"]]
