"""Whatever can drive: constants and controllers by name, and what is none of them."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from trafficrl import load_scenario
from trafficrl.envs.array_env import ArrayEnv
from trafficrl.errors import TrafficRLError
from trafficrl.evaluation.drivers import ConstantDriver, make_driver
from trafficrl.evaluation.evaluate import run_episodes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("constant:", "'' is not a number"),
        ("constant", "'' is not a number"),
        ("constant:fast", "'fast' is not a number"),
        ("constant:nan", "'nan' is not a number"),
        ("constant:inf", "'inf' is not a number"),
        ("idm:noise", "'' is not a number"),
        ("idm:noise=high", "'high' is not a number"),
        ("idm:sigma=0.5", "'idm' has no parameter 'sigma'"),
        ("sumo:IDM:sigma", "'' is not a number"),
        ("sumo:IDM:stepp=1", "'sumo:IDM' has no parameter 'stepp'"),
        ("sumo:idm", "sumo:idm: neither a run directory nor a controller .* sumo:IDM, "),
        ("idmx:noise=1", "idmx:noise=1: neither a run directory"),
        ("follower_stopper", "needs its parameter 'desired_speed'"),
        ("lead", "neither a run directory nor a controller"),
        ("krauss", r"krauss: neither a run directory nor a controller \(constant:VALUE, acc, "),
        ("/nowhere/run", "/nowhere/run: neither a run directory"),
    ],
)
def test_what_is_no_driver_is_refused_on_one_line(text: str, message: str) -> None:
    with pytest.raises(TrafficRLError, match=message) as caught:
        make_driver(text)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrafficRLError, match="not a run directory"):
        make_driver(str(tmp_path))


@pytest.mark.parametrize(
    ("scenario", "value", "message"),
    [
        ("catchup", 4.0, "'catchup' has choices 0 to 3"),
        ("catchup", -1.0, "'catchup' has choices 0 to 3"),
        ("catchup", 0.5, "'catchup' has choices 0 to 3"),
        ("ring", -5.0, "'ring' takes -1 to 1 m/s2"),
    ],
)
def test_a_constant_that_is_no_action_is_refused(scenario: str, value: float, message: str) -> None:
    config = load_scenario(scenario, ["episode.steps=5"])
    with pytest.raises(TrafficRLError, match=f"constant:{value:g}: .*{message}"):
        run_episodes(ConstantDriver(value), config, episodes=1)
    # The simulation of the refused evaluation does not stay behind.
    assert len(run_episodes(ConstantDriver(0.0), config, episodes=1)) == 1


@pytest.mark.parametrize(
    ("text", "overrides", "expected"),
    [
        ("constant:0.5", ["start.speed_mps=2"], 2.05),
        ("constant:-0.5", ["start.speed_mps=2"], 1.95),
        ("idm:max_acceleration=0.5", [], 0.05 * (1 - (2 / (260 / 22 - 5)) ** 2)),
        ("ovm:alpha=0.0,beta=0.0", ["start.speed_mps=2"], 2.0),
        # SUMO's IDM has a = 2.6 m/s2, and s0 = 1 m where a parameter says so.
        ("sumo:IDM", [], 0.26 * (1 - (2 / (260 / 22 - 5)) ** 2)),
        ("sumo:IDM:minGap=1,accel=1", [], 0.1 * (1 - (1 / (260 / 22 - 5)) ** 2)),
    ],
)
def test_a_driver_does_what_its_name_says(text: str, overrides: list[str], expected: float) -> None:
    driver, trained_on = make_driver(text)
    assert trained_on is None
    fixed = ["start.jitter_m=0", "episode.control_interval_s=0.1", *overrides]
    with closing(ArrayEnv(load_scenario("ring", fixed), seed=0)) as env:
        driver.prepare(env)
        obs = env.reset()
        driver.begin(env, np.random.default_rng(0))
        driver.step(env, obs)
        assert env.states.speed == pytest.approx(np.full((1, 22), expected))


@pytest.mark.parametrize(("name", "each"), [("ploeg", 1), ("cacc", 0), ("idm", 0)])
def test_a_cooperative_controller_is_sent_messages_in_every_simulation_step(
    name: str, each: int
) -> None:
    """22 vehicles with a leader on the ring, 8 behind the lead, control intervals of 5 steps."""
    for scenario, vehicles in (("ring", 22), ("catchup", 8)):
        config = load_scenario(scenario, ["episode.steps=10", "episode.control_interval_s=0.5"])
        (episode,) = run_episodes(make_driver(name)[0], config, episodes=1)
        assert episode["messages_per_control_step"] == each * 5 * vehicles
