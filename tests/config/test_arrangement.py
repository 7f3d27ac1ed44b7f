"""Where along the road the groups of a scenario's vehicles are."""

from __future__ import annotations

import numpy as np
import pytest

from trafficrl import load_scenario
from trafficrl.config.arrangement import group_of_place


def places(*counts: int, scenario: str = "ring", **keys: object) -> list[int]:
    """The group at each place; the first learns, the others are IDM."""
    names = ["learned"] + ["idm"] * (len(counts) - 1)
    groups = ", ".join(
        f"{{controller: {name}, count: {n}}}" for name, n in zip(names, counts, strict=True)
    )
    overrides = [f"vehicles=[{groups}]", *(f"{key}={value}" for key, value in keys.items())]
    return group_of_place(load_scenario(scenario, overrides)).tolist()


def gaps_of(group: int, order: list[int]) -> set[int]:
    """Places from each vehicle of the group to its next, round a loop."""
    at = np.flatnonzero(np.array(order) == group)
    return set(np.diff(at, append=at[0] + len(order)).tolist())


def test_by_default_the_groups_follow_one_another() -> None:
    assert places(2, 3, 1) == [0, 0, 1, 1, 1, 2]
    assert places(2, 3, 1, shuffle_seed=3) == [0, 0, 1, 1, 1, 2]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((3, 3), [0, 1, 0, 1, 0, 1]),
        # Shares 1/4, 3/4 of the first and 1/8, 3/8, 5/8, 7/8 of the second.
        ((2, 4), [1, 0, 1, 1, 0, 1]),
        # Shares 1/2; 1/4, 3/4; 1/6, 1/2, 5/6: at 1/2 the earlier group goes first.
        ((1, 2, 3), [2, 1, 0, 2, 1, 2]),
        ((5,), [0] * 5),
    ],
)
def test_spread_places_worked_out_by_hand(counts: tuple[int, ...], expected: list[int]) -> None:
    assert places(*counts, arrangement="spread") == expected


@pytest.mark.parametrize("first", range(1, 22))
def test_of_two_spread_groups_gaps_differ_by_one_place_at_most(first: int) -> None:
    order = places(first, 22 - first, arrangement="spread")
    assert order.count(0) == first
    for group in (0, 1):
        gaps = gaps_of(group, order)
        assert max(gaps) - min(gaps) <= 1


def test_shuffled_is_an_order_that_stays_and_follows_its_seed() -> None:
    drawn = [places(7, 15, arrangement="shuffled", shuffle_seed=seed) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    assert all(order.count(0) == 7 for order in drawn)
    assert drawn[0] not in (places(7, 15), places(7, 15, arrangement="spread"))


@pytest.mark.parametrize("arrangement", ["in_order", "spread", "shuffled"])
def test_a_scripted_lead_stays_first(arrangement: str) -> None:
    groups = (
        "vehicles=[{controller: lead}, {controller: learned, count: 4}, "
        "{controller: idm, count: 4}]"
    )
    for seed in range(5):
        keys = [groups, f"arrangement={arrangement}", f"shuffle_seed={seed}"]
        order = group_of_place(load_scenario("catchup", keys)).tolist()
        assert order[0] == 0
        assert sorted(order[1:]) == [1] * 4 + [2] * 4
