"""The scripted first vehicle."""

from __future__ import annotations

import numpy as np
import pytest

from trafficrl.controllers import Lead

from .vehicles import pair


@pytest.mark.parametrize("first", [30.0, 15.0, 3.0])
def test_lead_goes_linearly_to_its_final_speed(first: float) -> None:
    lead, states = Lead(final_speed=15.0, ramp=30.0), pair(first, first, 20.0)
    lead.reset(states, np.random.default_rng(0))
    profile = [lead.target_speed(time)[0, 0] for time in (0.0, 10.0, 15.0, 30.0, 60.0)]
    change = 15.0 - first
    expected = [first, first + change / 3, first + change / 2, 15.0, 15.0]
    assert profile == pytest.approx(expected)
    assert lead.acceleration(states, 0.1)[0, 0] == pytest.approx(change / 30.0)


def test_lead_returns_to_its_profile_in_one_step() -> None:
    lead = Lead(final_speed=15.0, ramp=30.0)
    lead.reset(pair(30.0, 30.0, 20.0), np.random.default_rng(0))
    slow = pair(20.0, 20.0, 20.0, time=9.9)
    assert 20.0 + 0.1 * lead.acceleration(slow, 0.1)[0, 0] == pytest.approx(25.0)
