"""Replicas side by side: each is what it would be alone, and the sums are right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from trafficrl.envs.array_env import ArrayEnv, Step
from trafficrl.errors import SimulationError
from trafficrl.types import FloatArray, Moments, VehicleStates

OpenArray = Callable[..., ArrayEnv]

EVERY_STEP = "episode.control_interval_s=0.1"
EXACT = "start.jitter_m=0"


def random_actions(env: ArrayEnv, steps: int, seed: int = 0) -> Any:
    """Actions (T, B, N, A), or (T, B, N) where they are choices."""
    rng, shape = np.random.default_rng(seed), (steps, env.replicas, env.n_agents)
    if env.actions.n_choices:
        return rng.integers(0, env.actions.n_choices, shape)
    space = env.actions.space
    return rng.uniform(space.low.item(), space.high.item(), (*shape, 1))


def run(env: ArrayEnv, actions: Any) -> list[Step]:
    """Steps until the actions or the episodes are over."""
    steps = []
    for action in actions:
        if env.done:
            break
        steps.append(env.step(action))
    return steps


def replica_of(step: Step, replica: int) -> dict[str, Any]:
    """All that a step says of one replica."""
    arrays = {
        "obs": step.obs,
        "reward": step.reward,
        "active": step.active,
        "terminated": step.terminated,
        "truncated": step.truncated,
        "overridden": step.overridden,
        "collided": step.collided,
        "sim_steps": step.sim_steps,
        **step.reward_terms,
    }
    return {name: array[replica] for name, array in arrays.items()}


# Replicas ---------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0, 1])
def test_each_replica_of_a_ring_drives_as_it_would_alone(mode: int, open_array: OpenArray) -> None:
    """Where a replica's episode ends by a collision, the others go on undisturbed."""
    overrides = [EXACT, "episode.steps=403", f"simulation.speed_mode={mode}"]
    together = open_array("ring", *overrides, replicas=3)
    actions = random_actions(together, 81)
    together.reset()
    side_by_side = run(together, actions)
    for replica in range(3):
        alone = open_array("ring", *overrides)
        alone.reset()
        steps = run(alone, actions[:, [replica]])
        for mine, ours in zip(steps, side_by_side, strict=False):
            own, shared = replica_of(mine, 0), replica_of(ours, replica)
            # SUMO's positions are rounded differently elsewhere in the plane.
            np.testing.assert_allclose(shared.pop("obs"), own.pop("obs"), rtol=0, atol=1e-5)
            for name, value in own.items():
                np.testing.assert_allclose(shared[name], value, atol=1e-7, err_msg=name)
        for ours in side_by_side[len(steps) :]:
            assert not ours.active[replica]
            assert not (ours.reward[replica].any() or ours.collided[replica].any())
    assert any(step.terminated.any() for step in side_by_side) == (mode == 0)


def test_steps_of_other_replicas_change_nothing(open_array: OpenArray) -> None:
    """Replica 0 drives bit for bit the same, whatever replica 1 does."""
    speeds = []
    for other in (-1.0, 1.0):
        env = open_array("ring", EXACT, replicas=2)
        actions = random_actions(env, 60)
        actions[:, 1] = other
        env.reset()
        run(env, actions)
        speeds.append(env.states.speed[0])
    assert speeds[0].tolist() == speeds[1].tolist()


@pytest.mark.parametrize("task", ["ring", "ring_wave", "figure_eight", "catchup"])
def test_two_resets_with_the_same_stream_are_bit_identical(
    task: str, open_array: OpenArray
) -> None:
    wave = ["warmup.duration_s=10"] if task == "ring_wave" else []
    env = open_array(task, "episode.steps=100", *wave, replicas=2)
    actions = random_actions(env, 100)
    seen = []
    for seed in (4, 5, 4):
        obs = env.reset(np.random.default_rng(seed))
        steps = run(env, actions)
        seen.append([obs.tolist(), [step.obs.tolist() for step in steps]])
    assert seen[0] == seen[2]
    assert seen[0][0] != seen[1][0]


def test_replicas_and_episodes_start_differently(open_array: OpenArray) -> None:
    env = open_array("catchup", replicas=3)
    headway = [item.feature for item in env.config.observation].index("headway")
    first = [env.reset()[:, 0, headway].copy() for _ in range(2)]
    assert len(np.unique(np.concatenate(first))) == 6


def test_thirty_resets_keep_the_vehicles_and_their_names(open_array: OpenArray) -> None:
    env = open_array("ring", EXACT, "episode.steps=10", replicas=2)
    actions = random_actions(env, 2)
    outcomes = set()
    for _ in range(30):
        env.reset()
        run(env, actions)
        assert env.done
        outcomes.add(env.states.position.tobytes())
    assert len(outcomes) == 1
    assert env.agent_names == tuple(f"cav_{i}" for i in range(22))


# Ends -----------------------------------------------------------------------------------


def crash(env: ArrayEnv) -> FloatArray:
    """Actions (B, N, 1) with which vehicle 3 of replica 0 drives into its leader."""
    action = np.zeros((env.replicas, env.n_agents, 1))
    action[0, 3] = 1.0
    return action


@pytest.mark.parametrize("on_collision", ["terminate", "freeze", "continue"])
def test_what_a_collision_does_is_the_scenarios_choice(
    on_collision: str, open_array: OpenArray
) -> None:
    overrides = [EXACT, EVERY_STEP, "simulation.speed_mode=0", "episode.steps=60"]
    env = open_array("ring", *overrides, f"episode.on_collision={on_collision}", replicas=2)
    env.reset()
    steps, speeds = [], []
    while not env.done:
        steps.append(env.step(crash(env)))
        speeds.append(env.states.speed[:, 3])
    hit = next(i for i, step in enumerate(steps) if step.collided.any())
    assert len(steps) == 60
    # 6.82 m at 1 m/s2 by the trapezoid rule: 0.005 k^2 > 6.82 with k = 37.
    assert hit + 1 == 37
    assert np.flatnonzero(steps[hit].collided[0]).tolist() == [2, 3]
    assert not any(step.collided[1].any() for step in steps)
    ends = on_collision == "terminate"
    terminated = [step.terminated.tolist() for step in steps]
    assert [i for i, ended in enumerate(terminated) if any(ended)] == ([hit] if ends else [])
    assert terminated[hit] == [ends, False]
    assert [step.truncated.tolist() for step in steps[-2:]] == [[False, False], [not ends, True]]
    assert [step.active.tolist() for step in steps[hit : hit + 2]] == [[True] * 2, [not ends, True]]
    assert [step.sim_steps.tolist() for step in steps[hit : hit + 2]] == [[1, 1], [not ends, 1]]
    stands_still = len(set(np.array(speeds)[hit:, 0])) == 1
    assert stands_still == (on_collision != "continue")


def test_a_replica_that_is_over_yields_nothing(open_array: OpenArray) -> None:
    env = open_array("ring", EXACT, EVERY_STEP, "simulation.speed_mode=0", replicas=2)
    env.reset()
    while env.active.all():
        last = env.step(crash(env))
    assert last.reward[0].any()  # the step of the collision still counts
    for _ in range(20):
        step = env.step(crash(env) + 0.1)
        assert not step.reward[0].any()
        assert not any(term[0].any() for term in step.reward_terms.values())
        assert step.active.tolist() == [False, True]
        assert not step.terminated[0]
        assert not step.truncated[0]
        assert not step.collided[0].any()
        assert (step.obs[0] == last.obs[0]).all()
        assert (step.obs[1] != last.obs[1]).any()


# Intervals ------------------------------------------------------------------------------


def test_an_interval_sums_rewards_over_its_steps(open_array: OpenArray) -> None:
    env = open_array("ring", EXACT, EVERY_STEP)
    actions = random_actions(env, 30)
    env.reset()
    single = run(env, np.repeat(actions, 5, axis=0))
    env = open_array("ring", EXACT, "episode.control_interval_s=0.5")
    env.reset()
    held = run(env, actions)
    assert {step.sim_steps.item() for step in held} == {5}
    for index, step in enumerate(held):
        parts = single[5 * index : 5 * index + 5]
        np.testing.assert_allclose(step.reward, sum(part.reward for part in parts))
        np.testing.assert_allclose(step.overridden, np.mean([p.overridden for p in parts], axis=0))
        np.testing.assert_array_equal(step.obs, parts[-1].obs)
        for name, term in step.reward_terms.items():
            np.testing.assert_allclose(term, sum(part.reward_terms[name] for part in parts))


def test_steps_are_counted_in_simulation_steps(open_array: OpenArray) -> None:
    """A horizon of 17 steps in intervals of 5: the last one is cut short."""
    env = open_array("ring", "episode.steps=17", replicas=3)
    env.reset()
    steps = run(env, random_actions(env, 10))
    assert [step.sim_steps.tolist() for step in steps] == [[5] * 3, [5] * 3, [5] * 3, [2] * 3]
    assert [step.truncated.all() for step in steps] == [False, False, False, True]
    assert not any(step.terminated.any() for step in steps)
    assert env.states.time == pytest.approx(1.7)
    assert env.steps == 17


def test_an_interval_ends_with_the_episode(open_array: OpenArray) -> None:
    env = open_array("ring", EXACT, "simulation.speed_mode=0")
    env.reset()
    while not env.done:
        step = env.step(crash(env))
    assert env.steps == 37
    assert step.sim_steps.tolist() == [2]


def test_an_episode_that_is_over_takes_no_step(open_array: OpenArray) -> None:
    env = open_array("ring", "episode.steps=10")
    actions = random_actions(env, 10)
    with pytest.raises(SimulationError, match=r"the episode is over \(reset first\)"):
        env.step(actions[0])  # none has begun
    env.reset()
    assert len(run(env, actions)) == 2
    with pytest.raises(SimulationError, match=r"the episode is over \(reset first\)"):
        env.step(actions[2])


def test_moments_are_joined_in_their_order_where_they_differ_in_arrays() -> None:
    still, moving = VehicleStates.at_rest((2, 3)), VehicleStates.at_rest((2, 3), time=0.1)
    moving.speed = np.arange(6.0).reshape(2, 3)
    joined = Moments([still, moving])
    assert joined.speed.tolist() == [[0.0] * 3, [0.0] * 3, [0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert joined.driven.shape == (4, 3)
    with pytest.raises(AttributeError, match="time differs from moment to moment"):
        _ = joined.time
