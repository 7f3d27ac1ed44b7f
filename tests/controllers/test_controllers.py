"""What all controllers share: names, parameters, and what they remember."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from trafficrl.controllers import CONTROLLERS, Controller, make_controller
from trafficrl.errors import ScenarioError
from trafficrl.types import FloatArray, VehicleStates

from .vehicles import of_follower, pair

NEEDED = {"follower_stopper": {"desired_speed": 8.0}}
# Those that work accelerations out; lead drives by the clock.
OURS = sorted(name for name in CONTROLLERS if name != "lead" and not name.startswith("sumo:"))


def make(name: str) -> Controller:
    return make_controller(name, NEEDED.get(name))


def passage(seed: int, steps: int = 30) -> list[VehicleStates]:
    """Two vehicles that drive about anyhow."""
    rng = np.random.default_rng(seed)
    driven, states = 0.0, []
    for step in range(steps):
        speed, leader_speed, acceleration = rng.uniform([0, 0, -1], [15, 15, 1])
        driven += 2.0 * speed
        states.append(
            pair(
                *(speed, leader_speed, rng.uniform(3, 40), 2.0 * step),
                acceleration=acceleration,
                leader_command=rng.uniform(-1, 1),
                driven=driven,
            )
        )
    return states


def driven_by(driver: Controller, states: list[VehicleStates]) -> FloatArray:
    driver.reset(states[0], np.random.default_rng(0))
    return np.array([driver.acceleration(one, 0.1)[0] for one in states])


def test_controllers_are_made_by_name() -> None:
    assert of_follower(make_controller("idm", {"min_gap": 12.0}), pair(0.0, 0.0, 12.0)) == 0.0


@pytest.mark.parametrize("name", OURS)
def test_what_was_before_a_reset_is_forgotten(name: str) -> None:
    driver, fresh = make(name), make(name)
    driven_by(driver, passage(1))
    np.testing.assert_array_equal(driven_by(driver, passage(2)), driven_by(fresh, passage(2)))


@pytest.mark.parametrize("name", OURS)
def test_a_vehicle_remembers_what_was_its_own(name: str) -> None:
    """In two replicas: what a vehicle of one went through is none of the other's business."""

    def stacked(one: VehicleStates, other: VehicleStates) -> VehicleStates:
        names = [key for key in VehicleStates.__dataclass_fields__ if key != "conflicts"]
        both = {
            key: np.concatenate([value, getattr(other, key)])
            for key in names
            if isinstance(value := getattr(one, key), np.ndarray)
        }
        return replace(one, **both)

    first, second, third = passage(3), passage(4), passage(5)
    driver = make(name)
    seen = []
    for partner in (second, third):
        states = [stacked(one, other) for one, other in zip(first, partner, strict=True)]
        driver.reset(states[0], np.random.default_rng(0))
        seen.append([driver.acceleration(one, 0.1) for one in states])
    one, other = np.array(seen)
    np.testing.assert_array_equal(one[:, 0], other[:, 0])
    assert (one[:, 1] != other[:, 1]).any()
    np.testing.assert_allclose(one[:, 0], driven_by(driver, first), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", OURS)
def test_a_vehicle_that_comes_into_a_slot_begins_anew(name: str) -> None:
    gone, came = passage(6), passage(7)
    came = [replace(states, time=states.time + 60.0) for states in came]
    expected = driven_by(make(name), came)
    came[0] = replace(came[0], entered=np.full((1, 2), True))
    seen = driven_by(make(name), [*gone, *came])[len(gone) :]
    np.testing.assert_allclose(seen, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", OURS)
def test_a_leader_that_is_none_of_the_vehicles_counts_as_one(name: str) -> None:
    """It tells nothing, so it does as one that is told to keep its speed."""
    inside = pair(12.0, 9.0, 15.0)
    outside = replace(
        inside,
        leader=np.array([[-1, -1]]),
        outside_leader_speed=np.array([[np.nan, 9.0]]),
    )
    assert of_follower(make(name), outside) == of_follower(make(name), inside)


@pytest.mark.parametrize("name", OURS)
@pytest.mark.parametrize("step", [0.01, 0.1, 1.0])
def test_accelerations_are_numbers_whatever_happens(name: str, step: float) -> None:
    """Also bumper to bumper, overlapping, at a standstill and without a leader."""
    for speed, leader_speed, headway in [(0, 0, 0), (20, 0, 0.1), (5, 5, -1), (0, 30, 1e6)]:
        states = pair(float(speed), float(leader_speed), float(headway))
        driver = make(name)
        driver.reset(states, np.random.default_rng(0))
        assert np.isfinite(driver.acceleration(states, step)).all()


@pytest.mark.parametrize("name", OURS)
def test_a_parameter_that_makes_no_sense_is_refused_by_name(name: str) -> None:
    for key in CONTROLLERS.parameters(name):
        if (name, key) in {("ovm", "alpha"), ("ovm", "beta"), ("ovm", "stop_headway")}:
            continue
        with pytest.raises(ScenarioError, match=rf"^{key}.* is -[16] \(should be") as caught:
            make_controller(name, {**NEEDED.get(name, {}), key: -1.0})
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("krauss", {}, r"unknown controller 'krauss' \(known: acc, cacc, .*, sumo:Wiedemann\)"),
        ("idm", {"sigma": 0.5}, r"'idm' has no parameter 'sigma' \(it has: desired_speed, .*noise"),
    ],
)
def test_unknown_names_are_refused_with_the_known(
    name: str, parameters: dict[str, float], message: str
) -> None:
    with pytest.raises(ScenarioError, match=message) as caught:
        make_controller(name, parameters)
    assert "\n" not in str(caught.value)
