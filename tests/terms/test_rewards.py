"""Reward terms on three vehicles of a loop, against hand-worked values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from trafficrl.terms import REWARD_TERMS
from trafficrl.types import VehicleStates

MakeStates = Callable[..., VehicleStates]


@pytest.fixture
def states(lap: MakeStates) -> VehicleStates:
    """Headways 368, 5 and 12 m at 10, 10 and 4 m/s."""
    return lap([127.0, 117.0, 100.0], [10.0, 10.0, 4.0])


def test_a_wanted_gap_grows_with_the_speed(states: VehicleStates) -> None:
    """Wanted are 4 + 0.2 v = 6, 6 and 4.8 m."""
    shortage = REWARD_TERMS["squared_headway_shortage"]
    np.testing.assert_allclose(shortage(states, threshold_m=4.0, time_gap_s=0.2), [[0, 1, 0]])
    np.testing.assert_allclose(shortage(states, threshold_m=6.0), [[0, 1, 0]])
    np.testing.assert_allclose(shortage(states, threshold_m=13.0), [[0, 64, 1]])


def test_being_out_of_the_middle_costs(states: VehicleStates) -> None:
    """Own headway less the follower's: 363, -7 and -356 m."""
    difference = REWARD_TERMS["squared_headway_difference"](states)
    np.testing.assert_allclose(difference, [[363**2, 49, 356**2]])


def test_driving_at_another_speed_than_the_leader_costs(states: VehicleStates) -> None:
    assert REWARD_TERMS["squared_relative_speed"](states).tolist() == [[36.0, 0.0, 36.0]]


def test_a_first_and_a_last_vehicle_cost_nothing(states: VehicleStates) -> None:
    states.leader[0, 0], states.headway[0, 0] = -1, np.inf
    states.follower[0, 2] = -1
    assert REWARD_TERMS["squared_relative_speed"](states).tolist() == [[0.0, 0.0, 36.0]]
    assert REWARD_TERMS["squared_headway_difference"](states).tolist() == [[0.0, 49.0, 0.0]]
