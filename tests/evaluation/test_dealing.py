"""Policies are dealt as worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from trafficrl.evaluation.dealing import by_leaders, by_position, by_slot


def test_by_slot_policies_come_round_again() -> None:
    assert by_slot(3, 8).tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert by_slot(8, 3).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("policies", "vehicles", "expected"),
    [
        (5, 5, [0, 1, 2, 3, 4]),
        (3, 7, [0, 0, 1, 1, 1, 2, 2]),  # 0, 1/3, 2/3, 1, 4/3, 5/3, 2
        (8, 3, [0, 4, 7]),  # 0, 3.5, 7
        (22, 4, [0, 7, 14, 21]),
        (1, 3, [0, 0, 0]),
        (8, 1, [0]),
    ],
)
def test_by_position_first_and_last_stay_so(
    policies: int, vehicles: int, expected: list[int]
) -> None:
    assert by_position(policies, vehicles).tolist() == expected


def test_by_leaders_each_counts_the_learned_ones_ahead_of_it() -> None:
    # 0 <- 1 <- 2 <- 3 and 4 <- 5, where 1 and 4 are human; 6 is alone.
    leader = np.array([-1, 0, 1, 2, -1, 4, -1])
    agents = np.array([0, 2, 3, 5, 6])
    assert by_leaders(8, leader, agents).tolist() == [0, 1, 2, 0, 0]
    assert by_leaders(2, leader, agents).tolist() == [0, 1, 1, 0, 0]


def test_by_leaders_on_a_loop_ends_with_the_last_policy() -> None:
    assert by_leaders(3, np.array([4, 0, 1, 2, 3]), np.arange(5)).tolist() == [2] * 5
