"""What an agent is told agrees with itself, and what it asks for is understood or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from trafficrl.envs import TrafficEnv
from trafficrl.errors import TrafficRLError

OpenEnv = Callable[..., TrafficEnv]
Infos = dict[str, dict[str, Any]]

KEYS = {
    "present": bool,
    "speed": float,
    "headway": float,
    "leader_speed": float,
    "acceleration": float,
    "position": float,
    "commanded_speed": float,
    "overridden": bool,
    "collided": bool,
    "reward_terms": dict,
}
LENGTHS = {"ring": 260.0, "figure_eight": 402.727290, "catchup": None, "slowdown": None}  # m, a lap
EVERY_STEP = "episode.control_interval_s=0.1"


def column(infos: Infos, key: str) -> np.ndarray[Any, Any]:
    return np.array([infos[f"cav_{i}"][key] for i in range(len(infos))])


@pytest.mark.parametrize("task", LENGTHS)
def test_infos_agree_with_each_other_and_with_the_step_before(task: str, open_env: OpenEnv) -> None:
    env = open_env(task, EVERY_STEP, "episode.steps=250")
    _, last = env.reset(seed=0)
    for index, agent in enumerate(env.agents):
        env.action_space(agent).seed(index)
    overrides = 0
    while env.agents and not column(last, "collided").any():
        actions = {agent: env.action_space(agent).sample() for agent in env.agents}
        _, rewards, _, _, infos = env.step(actions)
        speed, before = column(infos, "speed"), column(last, "speed")
        np.testing.assert_allclose(column(infos, "acceleration"), (speed - before) / 0.1, atol=1e-9)
        travelled = column(infos, "position") - column(last, "position")
        if LENGTHS[task]:
            travelled = np.mod(travelled, LENGTHS[task])
        np.testing.assert_allclose(travelled, 0.05 * (speed + before), atol=1e-6)
        assert_follows_leader(infos, LENGTHS[task])
        overridden = np.abs(speed - column(infos, "commanded_speed")) > 1e-6
        assert column(infos, "overridden").tolist() == overridden.tolist()
        overrides += overridden.sum()
        for agent, reward in rewards.items():
            assert sum(infos[agent]["reward_terms"].values()) == pytest.approx(reward, abs=1e-9)
        last = infos
    assert env.array_env.steps > 50
    assert (overrides > 0) == (env.config.simulation.speed_mode != 0)


def assert_follows_leader(infos: Infos, lap: float | None) -> None:
    """Agent i drives 5 m and its headway behind agent i - 1, on a lap agent 0 behind the last."""
    position, speed = column(infos, "position"), column(infos, "speed")
    to_front = np.roll(position, 1) - position
    gap = np.mod(to_front, lap) - 5.0 if lap else to_front - 5.0
    first = 0 if lap else 1  # the platoon's lead is no agent
    np.testing.assert_allclose(column(infos, "headway")[first:], gap[first:], atol=1e-9)
    assert column(infos, "leader_speed")[first:].tolist() == np.roll(speed, 1)[first:].tolist()


@pytest.mark.parametrize("task", LENGTHS)
def test_infos_have_their_keys_and_types_from_the_reset_on(task: str, open_env: OpenEnv) -> None:
    env = open_env(task)
    _, infos = env.reset(seed=0)
    terms = {term.term for term in env.config.reward.terms}
    for expected in (set(), terms):
        for info in infos.values():
            assert {key: type(value) for key, value in info.items()} == KEYS
            assert set(info["reward_terms"]) == expected
        infos = env.step({agent: env.action_space(agent).sample() for agent in env.agents})[-1]


def test_the_reward_of_an_interval_is_the_sum_over_its_steps(open_env: OpenEnv) -> None:
    action = np.ones(1, np.float32)
    published = (
        "reward.terms=[{term: desired_speed, weight: 4.0, parameters: {target_mps: 20.0}}, "
        "{term: absolute_acceleration, weight: -4.0}]"
    )
    env = open_env("ring", published, EVERY_STEP, "start.jitter_m=0")
    env.reset(seed=0)
    single = [env.step(dict.fromkeys(env.agents, action))[1]["cav_0"] for _ in range(5)]
    # v = 0.1, 0.2, ... 0.5 at 1 m/s2: 4 (v/20 - 1) / 22 each.
    assert single == pytest.approx([4 * (0.1 * k / 20 - 1) / 22 for k in range(1, 6)])
    env = open_env("ring", published, "start.jitter_m=0")
    env.reset(seed=0)
    assert env.step(dict.fromkeys(env.agents, action))[1]["cav_0"] == pytest.approx(sum(single))


# Actions ------------------------------------------------------------------------------


def first_speeds(env: TrafficEnv, actions: Callable[[int], Any]) -> list[float]:
    env.reset(seed=0)
    infos = env.step({agent: actions(i) for i, agent in enumerate(env.agents)})[-1]
    return [info["speed"] for info in infos.values()]


def test_each_agent_gets_its_own_action(open_env: OpenEnv) -> None:
    env = open_env("ring", EVERY_STEP)
    speeds = first_speeds(env, lambda i: np.array([i / 22], np.float32))
    assert speeds == pytest.approx([0.1 * i / 22 for i in range(22)], abs=1e-7)


def test_accelerations_beyond_the_bounds_are_clipped(open_env: OpenEnv) -> None:
    env = open_env("ring", EVERY_STEP, "start.speed_mps=2.0")
    assert first_speeds(env, lambda i: np.array([1e9 if i % 2 else -5.0])) == pytest.approx(
        [2.1 if i % 2 else 1.9 for i in range(22)]
    )


def test_plain_numbers_are_accelerations_too(open_env: OpenEnv) -> None:
    speeds = first_speeds(open_env("ring", EVERY_STEP), lambda i: i / 22)
    assert speeds == pytest.approx([0.1 * i / 22 for i in range(22)], abs=1e-7)


@pytest.mark.parametrize(
    ("task", "wrong"),
    [
        ("ring", np.array([np.nan], np.float32)),
        ("ring", np.zeros(2, np.float32)),
        ("catchup", 4),
        ("catchup", -1),
        ("catchup", 1.7),
        ("catchup", np.nan),
    ],
)
def test_an_action_that_means_nothing_is_refused(task: str, wrong: Any, open_env: OpenEnv) -> None:
    env = open_env(task)
    env.reset(seed=0)
    actions = {agent: env.action_space(agent).sample() for agent in env.agents}
    with pytest.raises(TrafficRLError, match="cav_3"):
        env.step({**actions, "cav_3": wrong})


def test_a_missing_action_is_refused_by_name(open_env: OpenEnv) -> None:
    env = open_env("ring")
    env.reset(seed=0)
    actions = {agent: env.action_space(agent).sample() for agent in env.agents[:-1]}
    with pytest.raises(TrafficRLError, match="cav_21"):
        env.step(actions)
