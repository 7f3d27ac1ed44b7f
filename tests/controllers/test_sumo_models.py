"""Vehicles that SUMO drives by its own models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import libsumo
import numpy as np
import pytest

from trafficrl import load_scenario
from trafficrl.controllers import IDM, Controller, make_controller
from trafficrl.envs.array_env import ArrayEnv
from trafficrl.errors import ScenarioError, SimulationError
from trafficrl.evaluation.drivers import ControllerDriver, make_driver
from trafficrl.evaluation.evaluate import run_episodes
from trafficrl.types import VEHICLE_TYPE, FloatArray, VehicleStates

Open = Callable[..., ArrayEnv]
SAME_IDM = "sumo:IDM:accel=1.0,decel=1.5"  # the constants of our own
MIXED = (
    "vehicles=[{controller: learned, count: 2}, "
    "{controller: sumo:IDM, count: 3, parameters: {accel: 1.0, decel: 1.5}}, "
    "{controller: idm, count: 3, parameters: {noise: 0.2}}]"
)


@pytest.fixture
def open_env() -> Iterator[Open]:
    """``open_env(scenario, *overrides)``, closed when the test ends."""
    with ExitStack() as stack:

        def make(scenario: str, *overrides: str, replicas: int = 1) -> ArrayEnv:
            stack.close()
            env = ArrayEnv(load_scenario(scenario, overrides), replicas=replicas, seed=0)
            return stack.enter_context(closing(env))

        yield make


def drive(env: ArrayEnv, controller: Controller | str, seed: int = 1) -> list[VehicleStates]:
    """The states of an episode with the controller in the agents' place."""
    if isinstance(controller, str):
        driver, _ = make_driver(controller)
        assert isinstance(driver, ControllerDriver)
    else:
        driver = ControllerDriver(controller)
    driver.prepare(env)
    rng = np.random.default_rng(seed)
    obs = env.reset(rng)
    driver.begin(env, rng)
    seen = []
    while not env.done:
        obs = driver.step(env, obs).obs
        seen.append(env.states)
    return seen


def speeds(seen: list[VehicleStates]) -> FloatArray:
    return np.array([states.speed for states in seen])


def test_sumos_idm_is_ours_without_the_safe_speed_check(open_env: Open) -> None:
    """Over 120 s from standstill; jitter makes waves, in which every vehicle brakes and starts."""
    short = "episode.steps=1200"
    theirs = speeds(drive(open_env("ring", short), SAME_IDM))
    ours = speeds(drive(open_env("ring", short, "simulation.speed_mode=0"), IDM()))
    np.testing.assert_allclose(theirs, ours, rtol=0, atol=1e-3)
    assert np.ptp(ours[-1]) > 0.2


def test_sumos_idm_on_the_ring_ends_in_uniform_flow(open_env: Open) -> None:
    """s*(v) = gap sqrt(1 - (v/30)^4) has the root 4.82 m/s, see test_idm.py."""
    last = speeds(drive(open_env("ring", "start.jitter_m=0"), SAME_IDM))[-200:]
    assert last.mean() == pytest.approx(4.82, rel=0.01)
    assert last.std() < 0.01


def test_nothing_is_commanded_and_nothing_overridden(open_env: Open) -> None:
    """SUMO says of each vehicle that it drives as it would without commands, by its whole law."""
    env = open_env("ring", "episode.steps=300", "episode.control_interval_s=0.1")
    driver = ControllerDriver(make_controller("sumo:Krauss"))
    driver.prepare(env)
    obs = env.reset()
    driver.begin(env, env.rng)
    while not env.done:
        before, step = env.states, driver.step(env, obs)
        for vehicle in libsumo.vehicle.getIDList():
            api = libsumo.vehicle
            assert api.getSpeedWithoutTraCI(vehicle) == api.getSpeed(vehicle)
            assert (api.getSpeedMode(vehicle), api.getLength(vehicle)) == (31, 5.0)
        realised = (env.states.speed - before.speed) / 0.1
        np.testing.assert_allclose(env.states.commanded_acceleration, realised, atol=1e-9)
        assert (env.states.commanded_speed == env.states.speed).all()
        assert not step.overridden.any()
        # Rewards charge what the vehicle did.
        charged = -4 / 22 * np.abs(realised)
        assert step.reward_terms["absolute_acceleration"] == pytest.approx(charged)
    assert env.states.speed.min() > 2.0


def test_the_scenario_says_how_its_vehicles_follow(open_env: Open) -> None:
    """Standstill gap and time headway of the simulation section, unless a parameter says other."""
    keys = ("simulation.min_gap_m=3", "simulation.time_headway_s=0.5", "simulation.max_speed_mps=9")
    driven = {}
    for name in ("sumo:IDM", "sumo:IDM:minGap=1,tau=2,maxSpeed=7"):
        env = open_env("ring", *keys, "episode.steps=2")
        drive(env, name)
        api, one = libsumo.vehicle, libsumo.vehicle.getIDList()[0]
        driven[name] = (api.getMinGap(one), api.getTau(one), api.getMaxSpeed(one))
    assert list(driven.values()) == [(3.0, 0.5, 9.0), (1.0, 2.0, 7.0)]


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_group_drives_among_others(replicas: int, open_env: Open) -> None:
    env = open_env("ring", MIXED, "network.length_m=100", "episode.steps=600", replicas=replicas)
    env.reset()
    left_to_sumo = {
        vehicle
        for vehicle in libsumo.vehicle.getIDList()
        if libsumo.vehicle.getTypeID(vehicle) != VEHICLE_TYPE
    }
    names = ("veh_2", "veh_3", "veh_4")
    assert left_to_sumo == set(
        names if replicas == 1 else (f"r{r}_{n}" for r in (0, 1) for n in names)
    )
    while not env.done:
        step = env.step(np.full((replicas, 2, 1), 0.1))
        assert not step.overridden[:, 2:5].any()
        assert not step.collided.any()
    assert env.states.distance.min() > 100.0
    assert (env.states.commanded_speed == env.states.speed)[:, 2:5].all()


def test_a_group_follows_a_scripted_lead(open_env: Open) -> None:
    groups = (
        "vehicles=[{controller: lead, parameters: {final_speed: 10.0, ramp: 20.0}}, "
        "{controller: sumo:IDM, count: 4}, {controller: learned, count: 1}]"
    )
    env = open_env("catchup", groups)
    env.reset()
    while not env.done:
        env.step(np.full((1, 1), 3))
    assert env.states.speed[0] == pytest.approx(np.full(6, 10.0), abs=0.3)
    assert not env.states.collided.any()
    assert env.states.overridden[0, 1:5].tolist() == [False] * 4


@pytest.mark.parametrize("model", ["IDM", "Krauss", "EIDM", "CACC", "ACC", "IDMM"])
def test_episodes_repeat_after_a_reset(model: str, open_env: Open) -> None:
    env = open_env("ring", "episode.steps=200")
    first, _, again = (speeds(drive(env, f"sumo:{model}", seed)) for seed in (1, 2, 1))
    np.testing.assert_array_equal(first, again)
    fresh = open_env("ring", "episode.steps=200")
    np.testing.assert_array_equal(first, speeds(drive(fresh, f"sumo:{model}", 1)))


def test_mixed_episodes_repeat_after_a_reset(open_env: Open) -> None:
    env = open_env("ring", MIXED, "network.length_m=100", "episode.steps=200")
    first, _, again = (speeds(drive(env, "acc", seed)) for seed in (1, 2, 1))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("model", ["IDM", "EIDM", "CACC"])
def test_libsumo_and_traci_agree(model: str, open_env: Open) -> None:
    seen = []
    for backend in ("libsumo", "traci"):
        env = open_env("ring", "episode.steps=100", f"simulation.backend={backend}")
        seen.append(speeds(drive(env, f"sumo:{model}")))
    np.testing.assert_array_equal(*seen)


def test_the_agents_are_taken_back_after_a_warm_up_by_sumo(open_env: Open) -> None:
    warmup = "warmup={controller: sumo:IDM, duration_s: 20, parameters: {accel: 1.0}}"
    env = open_env("ring", warmup, "episode.control_interval_s=0.1", "simulation.speed_mode=0")
    for _ in range(2):
        env.reset()
        before = env.states.speed
        assert before.min() > 2.0
        env.step(np.full((1, 22, 1), 0.5))
        np.testing.assert_allclose(env.states.speed, before + 0.05, atol=1e-9)
        assert {libsumo.vehicle.getTypeID(one) for one in libsumo.vehicle.getIDList()} == {
            VEHICLE_TYPE
        }


def test_sumo_takes_over_after_a_warm_up_by_others(open_env: Open) -> None:
    env = open_env("ring_wave", "warmup.duration_s=30", "episode.steps=300")
    seen = drive(env, "sumo:IDM")
    assert not any(states.overridden.any() for states in seen)
    assert seen[-1].speed.min() > 3.0


@pytest.mark.parametrize("model", ["IDM", "Krauss", "EIDM", "CACC"])
@pytest.mark.parametrize("scenario", ["ring", "figure_eight", "catchup", "slowdown"])
def test_the_models_drive_every_task_without_collisions(model: str, scenario: str) -> None:
    driver, _ = make_driver(f"sumo:{model}")
    config = load_scenario(scenario, ["episode.steps=600"])
    (episode,) = run_episodes(driver, config, episodes=1)
    assert episode["collisions"] == 0
    assert episode["override_fraction"] == 0.0
    assert episode["mean_speed_mps"] > 3.0


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("sumo:idm", {}, "unknown controller 'sumo:idm'"),
        ("sumo:IDM", {"acel": 1.0}, r"no parameter 'acel' \(it has: accel, .*stepping\)"),
        # SUMO itself would silently ignore it.
        ("sumo:Krauss", {"delta": 4.0}, "'sumo:Krauss' has no parameter 'delta'"),
        ("sumo:IDM", {"decel": 0.0}, r"decel is 0 \(should be greater than 0\)"),
        ("sumo:IDM", {"minGap": -1.0}, r"minGap is -1 \(should be 0 or more\)"),
    ],
)
def test_what_sumo_does_not_know_is_refused_on_one_line(
    name: str, parameters: dict[str, float], message: str
) -> None:
    with pytest.raises(ScenarioError, match=message) as caught:
        make_controller(name, parameters)
    assert "\n" not in str(caught.value)


def test_a_model_that_was_not_admitted_is_refused(open_env: Open) -> None:
    env = open_env("ring")
    env.reset()
    with pytest.raises(SimulationError, match=r"has not loaded .* IDM \(admit it before the"):
        env.world.hand_over(make_controller("sumo:IDM"), env.agents)


def test_no_command_for_a_vehicle_of_ours_is_refused(open_env: Open) -> None:
    class Broken(Controller):
        def acceleration(self, states: VehicleStates, step: float) -> FloatArray:
            return np.full(states.speed.shape, np.nan)

    env = open_env("ring")
    env.reset()
    with pytest.raises(SimulationError, match="cav_0: its commanded speed is not a number"):
        env.drive(Broken())
