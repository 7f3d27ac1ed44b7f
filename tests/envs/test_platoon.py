"""The platoon in SUMO against its recursion and rewards, worked out here with NumPy alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from trafficrl.envs.array_env import ArrayEnv
from trafficrl.types import FloatArray

OpenArray = Callable[..., ArrayEnv]

TASKS = ["catchup", "slowdown"]
GAINS = np.array([(0.0, 0.0), (0.5, 0.0), (0.0, 0.5), (0.5, 0.5)])
BOTH = 3  # index of the pair (0.5, 0.5)
STEP = 0.1  # s
HORIZON = 600  # steps


class Reference:
    """Section 3 of the design for 8 vehicles and a lead; ``speed`` (9,) has the lead first."""

    def __init__(self, headway: FloatArray, speed: FloatArray) -> None:
        self.h, self.v = headway.copy(), speed.copy()
        self.first_speed, self.t = speed[0], 0
        self.collided = False

    def target(self) -> float:
        done = min(1.0, self.t * STEP / 30.0)
        return float(self.first_speed + done * (15.0 - self.first_speed))

    def step(self, gains: FloatArray) -> FloatArray:
        """One step with gains (8, 2); the reward of each vehicle without its training terms."""
        if self.collided:
            return np.full(8, -1000.0)
        self.t += 1
        h, v, ahead = self.h, self.v[1:], self.v[:-1]
        wanted = 15.0 * (1.0 - np.cos(np.pi * np.clip((h - 5.0) / 30.0, 0.0, 1.0)))
        u = np.clip(gains[:, 0] * (wanted - v) + gains[:, 1] * (ahead - v), -2.5, 2.5)
        after = np.append(self.target(), np.clip(v + STEP * u, 0.0, 30.0))
        self.h = h + 0.5 * STEP * (ahead + after[:-1] - v - after[1:])
        self.v = after
        self.collided = bool((self.h < 1.0).any())
        errors = (self.h - 20.0) ** 2 + (after[1:] - self.target()) ** 2 + 0.1 * u**2
        return np.full(8, -1000.0) if self.collided else -errors


def reference_of(env: ArrayEnv) -> Reference:
    return Reference(env.states.headway[0, 1:], env.states.speed[0])


def choices(kind: str, rng: np.random.Generator) -> Any:
    """Gain choices (8,): all at random, or such that most vehicles keep their distance."""
    return rng.integers(0, 4, 8) if kind == "random" else rng.choice([2, BOTH], 8, p=[0.1, 0.9])


@pytest.mark.parametrize("interval", ["0.1", "0.5"])
@pytest.mark.parametrize("kind", ["random", "careful"])
@pytest.mark.parametrize("task", TASKS)
def test_sumo_drives_the_recursion(
    task: str, kind: str, interval: str, open_array: OpenArray
) -> None:
    env = open_array(task, f"episode.control_interval_s={interval}", seed=3)
    rng = np.random.default_rng(5)
    env.reset()
    reference = reference_of(env)
    while not env.done:
        action = choices(kind, rng)
        step = env.step(action[None])
        rewards = sum(reference.step(GAINS[action]) for _ in range(step.sim_steps.item()))
        states = env.states
        np.testing.assert_allclose(states.speed[0], reference.v, rtol=0, atol=1e-6)
        np.testing.assert_allclose(states.headway[0, 1:], reference.h, rtol=0, atol=1e-6)
        np.testing.assert_allclose(step.evaluated_reward[0], rewards, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(states.target_speed, reference.target(), rtol=0, atol=1e-9)
        assert states.collided.any() == reference.collided
        assert not step.terminated.any()
        assert step.truncated.all() == (env.steps == HORIZON)
    assert env.steps == HORIZON
    # Both branches of the recursion are met: a comparison that never collides says nothing of it.
    assert reference.collided == (kind == "random")


def test_a_collision_is_absorbing_to_the_end_of_the_episode(open_array: OpenArray) -> None:
    env = open_array("slowdown", "episode.control_interval_s=0.1")
    env.reset()
    while not env.states.collided.any():
        env.step(np.zeros((1, 8), dtype=np.int64))  # nobody brakes behind the lead
    first, states = env.steps, env.states
    assert first < HORIZON / 2
    assert states.collided[0].tolist() == (states.headway[0] < 1.0).tolist()
    held = {name: getattr(states, name) for name in ("speed", "headway", "position", "leader")}
    obs, steps = None, []
    while not env.done:
        steps.append(env.step(np.full((1, 8), BOTH)))
        assert obs is None or (steps[-1].obs == obs).all()
        obs = steps[-1].obs
        for name, value in held.items():
            np.testing.assert_array_equal(getattr(env.states, name), value)
    assert first + len(steps) == HORIZON
    for step in steps:
        assert (step.reward == -1000.0).all()
        assert (step.reward_terms["collision"] == -1000.0).all()
        assert not step.terminated.any()
    assert [step.truncated.item() for step in steps] == [False] * (len(steps) - 1) + [True]


def test_the_step_of_a_collision_costs_1000_and_nothing_else(open_array: OpenArray) -> None:
    env = open_array("slowdown", "episode.control_interval_s=0.1")
    env.reset()
    step = env.step(np.zeros((1, 8), dtype=np.int64))
    while not env.states.collided.any():
        assert step.reward_terms["collision"].sum() == 0.0
        step = env.step(np.zeros((1, 8), dtype=np.int64))
    assert (step.reward == -1000.0).all()
    assert step.collided[0].tolist() == env.states.collided[0].tolist()


def test_a_step_is_rewarded_by_the_formula(open_array: OpenArray) -> None:
    """h = 20, v = v_lead = 15, all gains (0.5, 0.5): V(20) = 15, so nothing moves but vehicle 0."""
    env = open_array(
        "catchup", "start.first_headway_factor=[2.0, 2.0]", "episode.control_interval_s=0.1"
    )
    env.reset()
    step = env.step(np.full((1, 8), BOTH))
    # V(40) = 30, u = 0.5 * 15 clipped to 2.5, v' = 15.25, h' = 40 - 0.05 * 0.25.
    expected = -((39.9875 - 20) ** 2 + 0.25**2 + 0.1 * 2.5**2)
    assert step.reward[0, 0] == pytest.approx(expected, abs=1e-6)
    # The second sees its leader's speed only in the next step: h' = 20 + 0.05 * 0.25.
    assert step.reward[0, 1] == pytest.approx(-(0.0125**2), abs=1e-6)
    np.testing.assert_allclose(step.reward[0, 2:], 0.0, atol=1e-6)


def test_close_headways_cost_in_training_only(open_array: OpenArray) -> None:
    env = open_array("catchup", "start.headway_m=8.0", "start.first_headway_factor=[1.0, 1.0]")
    env.reset()
    step = env.step(np.zeros((1, 8), dtype=np.int64))
    # Nobody accelerates: h stays 8 and v 15 in all 5 steps of the interval.
    np.testing.assert_allclose(step.evaluated_reward[0], 5 * -(12.0**2), rtol=1e-6)
    np.testing.assert_allclose(step.reward, 5 * -(12.0**2 + 5 * 2.0**2), rtol=1e-6)


def test_lead_drives_its_profile_while_followers_keep_to_their_top_speed(
    open_array: OpenArray,
) -> None:
    env = open_array("slowdown", "start.speed_factor=[2.5, 2.5]")
    env.reset()
    assert (env.states.speed == 37.5).all()
    while env.steps < 400:
        env.step(np.full((1, 8), BOTH))
        profile = 37.5 - 22.5 * min(env.steps * STEP / 30.0, 1.0)
        assert env.states.target_speed[0] == pytest.approx(np.full(9, profile), abs=1e-9)
        slope = -0.75 if env.steps < 300 else 0.0
        assert env.states.target_acceleration[0] == pytest.approx(np.full(9, slope), abs=1e-9)
        assert (env.states.final_target_speed == 15.0).all()
        assert env.states.speed[0, 0] == pytest.approx(profile, abs=1e-6)
        assert env.states.speed[0, 1:].max() <= 30.0


@pytest.mark.parametrize(
    ("task", "key", "expected"),
    [("catchup", "first_headway_factor", -80.0), ("slowdown", "speed_factor", -270.0)],
)
def test_both_gains_have_their_known_return(
    task: str, key: str, expected: float, open_array: OpenArray
) -> None:
    """A step, summed over the vehicles, with the draw of the start in five equal parts."""
    total = 0.0
    for factor in (1.6, 1.8, 2.0, 2.2, 2.4):
        env = open_array(task, f"start.{key}=[{factor}, {factor}]")
        env.reset()
        while not env.done:
            total += env.step(np.full((1, 8), BOTH)).evaluated_reward.sum()
    assert total / (5 * HORIZON) == pytest.approx(expected, rel=0.05)
