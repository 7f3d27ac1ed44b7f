"""Without SUMO's checks: what counts as a collision, and that it can be avoided."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from trafficrl.envs.array_env import ArrayEnv
from trafficrl.terms import FEATURES
from trafficrl.types import FloatArray

OpenArray = Callable[..., ArrayEnv]

PAIR = (
    "vehicles=[{controller: learned, count: 2}]",
    "start.jitter_m=0",
    "episode.control_interval_s=0.1",
    "action.min_mps2=-1000",
    "action.max_mps2=1000",
    "simulation.max_speed_mps=100",
)


def test_hitting_the_leader_on_the_ring_ends_the_episode(open_array: OpenArray) -> None:
    env = open_array("ring_free", "start.jitter_m=0")
    env.reset()
    action = np.zeros((1, 22, 1))
    action[0, 5] = 1.0
    while not env.done:
        step = env.step(action)
    # 260 / 22 - 5 = 6.82 m at 1 m/s2 take 3.69 s.
    assert env.steps == 37
    assert step.terminated.all()
    assert np.flatnonzero(step.collided).tolist() == [4, 5]
    assert (step.reward_terms["collision"] < 0).all()


@pytest.mark.parametrize("ahead", [0, 1])
@pytest.mark.parametrize(("gap", "collides"), [(0.0, True), (5.9, True), (6.9, False)])
def test_two_in_the_crossing_at_once_collide(
    gap: float, collides: bool, ahead: int, open_array: OpenArray
) -> None:
    """5 m long and 1.8 m wide, they need 5 + 2 * 0.9 = 6.8 m between their arrivals."""
    env = open_array("figure_eight_free", *PAIR)
    env.reset()
    push = np.zeros((1, 2, 1))
    push[0, ahead] = 100.0 * gap  # up to 10 gap per s and back in two steps: moves by gap
    for action in (push, -push, np.full((1, 2, 1), 20.0)):
        env.step(action)
    while not env.done:
        step = env.step(np.zeros((1, 2, 1)))
        if env.states.distance.min() > 130.0:  # both are past the crossing
            break
    assert step.collided.all() == collides
    assert step.terminated.all() == collides
    if collides:
        assert (step.reward_terms["collision"] < 0).all()


@pytest.mark.parametrize("beyond_m", [0.0, 2.0, 4.0])
def test_hitting_the_leader_inside_the_crossing_always_counts(
    beyond_m: float, open_array: OpenArray
) -> None:
    """0 stops with its front in the crossing or just behind it, 1 drives into it."""
    env = open_array("figure_eight_free", "start.jitter_m=0", "episode.control_interval_s=0.1")
    env.world.crossing_collisions = False
    env.reset()
    place = max(
        env.world.crossings[0], key=lambda arm: -np.mod(arm - env.states.position[0, 0], 402)
    )
    action = np.zeros((1, 14, 1))
    while (env.states.position[0, 0] - place + 201) % 402 - 201 < beyond_m:
        action[0, 0] = 2.0 - env.states.speed[0, 0]
        env.step(action)
    action[0, :2, 0] = -3.0, 3.0
    while not env.done:
        step = env.step(action)
    assert np.flatnonzero(step.collided).tolist() == [0, 1]


def test_contacts_at_crossings_can_be_left_uncounted(open_array: OpenArray) -> None:
    """Two that are level pass through each other; one that hits its leader still collides."""
    env = open_array("figure_eight_free", "start.jitter_m=0")
    env.world.crossing_collisions = False
    env.reset()
    while env.steps < 300:
        assert not env.step(np.ones((1, 14, 1))).collided.any()
    assert env.states.distance.min() > 201.0, "all have passed the crossing"
    env.step(np.full((1, 14, 1), -3.0))
    action = np.zeros((1, 14, 1))
    action[0, 5] = 3.0
    while not env.done:
        step = env.step(action)
    assert np.flatnonzero(step.collided).tolist() == [4, 5]


def feedback(env: ArrayEnv, speed: float, gains: dict[str, float]) -> FloatArray:
    """Actions (B, N, 1) linear in features: towards ``speed`` and the middle of the gaps."""
    result = np.clip(0.3 * (speed - env.states.speed), -0.5, 0.5)
    for feature, gain in gains.items():
        result += gain * np.minimum(FEATURES[feature](env.states), 20.0)
    return result[..., None]


RING = {
    "headway": 0.15,
    "follower_headway": -0.15,
    "relative_speed": 0.3,
    "follower_relative_speed": -0.3,
}
FIGURE_EIGHT = {
    "headway": 0.05,
    "follower_headway": -0.05,
    "relative_speed": 0.2,
    "follower_relative_speed": -0.2,
    "conflict_headway": 0.1,
    "conflict_follower_headway": -0.1,
    "conflict_relative_speed": 0.2,
    "conflict_follower_relative_speed": -0.2,
}


@pytest.mark.parametrize(
    ("scenario", "gains"), [("ring_free", RING), ("figure_eight_free", FIGURE_EIGHT)]
)
def test_a_linear_controller_drives_fast_without_a_collision(
    scenario: str, gains: dict[str, float], open_array: OpenArray
) -> None:
    """So that the features say enough, and the start can be left unharmed."""
    env = open_array(scenario, replicas=2)
    env.reset()
    while not env.done:
        step = env.step(feedback(env, 14.0, gains))
        assert not step.collided.any()
    assert env.steps == env.config.episode.steps
    assert step.truncated.all()
    np.testing.assert_allclose(env.states.speed, 14.0, rtol=0, atol=0.1)


def test_the_conflict_features_are_what_avoids_collisions(open_array: OpenArray) -> None:
    env = open_array("figure_eight_free")
    env.reset()
    blind = {name: gain for name, gain in FIGURE_EIGHT.items() if "conflict" not in name}
    while not env.done:
        step = env.step(feedback(env, 14.0, blind))
    assert step.terminated.all()
    assert env.states.time < 10.0
