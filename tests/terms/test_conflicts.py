"""Order of arrival at a crossing, against distances worked out by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from trafficrl.terms import FEATURES, REWARD_TERMS
from trafficrl.terms.conflicts import conflict_neighbours
from trafficrl.types import VehicleStates

MakeStates = Callable[..., VehicleStates]

# The first two are on the arm to 300 m with 10 and 40 m to go, the others on that to
# 100 m with 20 and 45 m to go: they arrive in the order 0, 2, 1, 3.
POSITIONS = [290.0, 260.0, 80.0, 55.0]


def test_vehicles_find_who_arrives_before_and_after_on_the_other_arm(lap: MakeStates) -> None:
    near = conflict_neighbours(lap(POSITIONS))
    # Nobody is just ahead of 0: the last to have passed 100 m is 1, 160 m ago. The next
    # that comes to 300 m after 3 is 2, with 220 m to go.
    assert near.leader.tolist() == [[1, 2, 0, 1]]
    assert near.leader_gap.tolist() == [[170.0, 20.0, 10.0, 5.0]]
    assert near.follower.tolist() == [[2, 3, 1, 2]]
    assert near.follower_gap.tolist() == [[10.0, 5.0, 20.0, 175.0]]


def test_nothing_jumps_for_those_who_pass_the_crossing(lap: MakeStates) -> None:
    before = conflict_neighbours(lap([299.9, 80.0]))
    after = conflict_neighbours(lap([300.1, 80.2]))
    assert before.leader.tolist() == after.leader.tolist() == [[-1, 0]]
    assert before.follower.tolist() == after.follower.tolist() == [[1, -1]]
    np.testing.assert_allclose(before.leader_gap, [[np.inf, 19.9]])
    np.testing.assert_allclose(after.leader_gap, before.leader_gap)


@pytest.mark.parametrize("turn", [0.0, 100.0, 200.0, 301.3])
@pytest.mark.parametrize("lag", [-4.5, -0.5, 0.0, 0.5, 4.5])
def test_of_two_level_vehicles_the_first_by_number_leads(
    turn: float, lag: float, lap: MakeStates
) -> None:
    """Wherever they are, even where it is behind."""
    near = conflict_neighbours(lap([(280.0 + turn) % 400.0, (80.0 + turn - lag) % 400.0]))
    assert near.leader.tolist() == [[-1, 0]]
    assert near.follower.tolist() == [[1, -1]]
    assert near.leader_gap[0, 1] == pytest.approx(lag)
    assert near.follower_gap[0, 0] == pytest.approx(lag)


def test_beyond_a_vehicle_length_the_nearer_one_leads(lap: MakeStates) -> None:
    assert conflict_neighbours(lap([280.0, 85.5])).leader.tolist() == [[1, -1]]
    assert conflict_neighbours(lap([280.0, 74.5])).leader.tolist() == [[-1, 0]]


def test_arms_of_different_length(lap: MakeStates) -> None:
    """Crossing at 100 and 350 m: 20 and 30 m to go, whatever lies between the passes."""
    near = conflict_neighbours(lap([330.0, 70.0], crossings=((100.0, 350.0),)))
    assert near.leader.tolist() == [[-1, 0]]
    assert near.follower.tolist() == [[1, -1]]
    assert near.leader_gap[0, 1] == near.follower_gap[0, 0] == 10.0


def test_the_nearer_of_two_crossings_counts(lap: MakeStates) -> None:
    """At 60 and 260 m the vehicles are 20 m apart, at 100 and 290 m 10 m."""
    states = lap([270.0, 90.0], crossings=((60.0, 260.0), (100.0, 290.0)))
    assert conflict_neighbours(states).follower_gap[0, 1] == 10.0
    assert conflict_neighbours(states).leader_gap[0, 0] == 10.0


def test_replicas_do_not_see_each_other(lap: MakeStates) -> None:
    one, other = lap([290.0, 80.0]), lap([280.0, 95.0])
    both = lap([290.0, 80.0])
    both.position = np.concatenate([one.position, other.position])
    both.speed = np.zeros((2, 2))
    both.path_length = np.array([400.0, 400.0])
    for found, first, second in zip(
        conflict_neighbours(both),
        conflict_neighbours(one),
        conflict_neighbours(other),
        strict=True,
    ):
        assert found.tolist() == [*first.tolist(), *second.tolist()]


def test_conflict_features(lap: MakeStates) -> None:
    states = lap(POSITIONS, [10.0, 8.0, 7.0, 3.0])
    expected = {
        "conflict_headway": [100.0, 15.0, 5.0, 0.0],  # 165 m is beyond what is seen
        "conflict_follower_headway": [5.0, 0.0, 15.0, 100.0],
        "conflict_relative_speed": [-2.0, -1.0, 3.0, 5.0],
        "conflict_follower_relative_speed": [3.0, 5.0, -1.0, -4.0],
    }
    for name, values in expected.items():
        assert FEATURES[name](states).tolist() == [values]


def test_conflict_features_are_neutral_without_a_crossing(lap: MakeStates) -> None:
    states = lap(POSITIONS, [10.0, 8.0, 7.0, 3.0], crossings=())
    for name in ("conflict_headway", "conflict_follower_headway"):
        assert FEATURES[name](states).tolist() == [[100.0] * 4]
    for name in ("conflict_relative_speed", "conflict_follower_relative_speed"):
        assert FEATURES[name](states).tolist() == [[0.0] * 4]
    assert FEATURES["crossing_distance"](states).tolist() == [[100.0] * 4]
    term = REWARD_TERMS["conflict_headway_shortage"]
    assert term(states, threshold_m=9.0, within_m=50.0).tolist() == [[0.0] * 4]


def test_the_distance_to_go_is_that_to_the_next_pass(lap: MakeStates) -> None:
    distance = FEATURES["crossing_distance"](lap([350.0, 290.0, 110.0, 99.0]))
    assert distance.tolist() == [[100.0, 10.0, 100.0, 1.0]]  # 150 and 190 m are beyond what is seen


def test_both_of_a_pair_pay_for_a_short_conflict_gap_near_the_crossing(lap: MakeStates) -> None:
    """Gaps 5, 15 and 0 m between 0, 2, 1 and 3, of which 9 m are wanted.

    With 10, 40, 20 and 45 m to go they count by 0.8, 0.2, 0.6 and 0.1 within 50 m.
    """
    term = REWARD_TERMS["conflict_headway_shortage"]
    shortage = term(lap(POSITIONS), threshold_m=9.0, within_m=50.0)
    np.testing.assert_allclose(shortage, [[0.8 * 4, 0.2 * 9, 0.6 * 4, 0.1 * 9]])


def test_the_speed_that_the_gap_allows_minds_both_arms(lap: MakeStates) -> None:
    """The smaller of headway and conflict gap is 160, 15, 5 and 0 m: it allows
    10, 6.5, 1.5 and 0 m/s at a time gap of 2 s. Headways of 160, 25, 175 and 20 m alone
    allow 10, 10, 10 and 9 m/s.
    """
    speeds = [10.0, 8.0, 7.0, 3.0]
    term = REWARD_TERMS["squared_gap_speed_error"]
    parameters = {"min_gap_m": 2.0, "time_gap_s": 2.0, "max_mps": 10.0}
    crossing = term(lap(POSITIONS, speeds), **parameters)
    np.testing.assert_allclose(crossing, [[0.0, 1.5**2, 5.5**2, 9.0]])
    plain = term(lap(POSITIONS, speeds, crossings=()), **parameters)
    np.testing.assert_allclose(plain, [[0.0, 2.0**2, 3.0**2, 6.0**2]])
    error = FEATURES["gap_speed_error"]
    for states in (lap(POSITIONS, speeds), lap(POSITIONS, speeds, crossings=())):
        np.testing.assert_allclose(error(states, **parameters), [[0.0, 2.0, 3.0, 6.0]])
