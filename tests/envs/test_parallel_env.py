"""The PettingZoo environment: its interface, its spaces, its figures and its ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import networkx as nx
import numpy as np
import pytest
from pettingzoo.test import parallel_api_test, parallel_seed_test

from trafficrl import make_env
from trafficrl.envs import TrafficEnv
from trafficrl.errors import TrafficRLError

OpenEnv = Callable[..., TrafficEnv]
StepResult = tuple[dict[str, Any], ...]

TASKS = {"ring": 22, "figure_eight": 14, "catchup": 8, "slowdown": 8}  # agents
EVERY_STEP = "episode.control_interval_s=0.1"


def random_episode(env: TrafficEnv, seed: int = 0) -> Iterator[StepResult]:
    """Every step of an episode with random actions, the reset first with Nones."""
    obs, infos = env.reset(seed=seed)
    for index, agent in enumerate(env.possible_agents):
        env.action_space(agent).seed(seed + index)
    yield obs, {}, {}, {}, infos
    while env.agents:
        yield env.step({agent: env.action_space(agent).sample() for agent in env.agents})


# Interface --------------------------------------------------------------------------


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("task", TASKS)
def test_passes_the_api_test(task: str, open_env: OpenEnv) -> None:
    parallel_api_test(open_env(task, "episode.steps=300", EVERY_STEP), num_cycles=400)


@pytest.mark.parametrize("task", TASKS)
def test_passes_the_seed_test(task: str) -> None:
    """Two environments at once need two SUMOs, so here they are processes of their own."""
    overrides = ["simulation.backend=traci", "episode.steps=50"]
    parallel_seed_test(lambda: make_env(task, overrides=overrides), num_cycles=5)


@pytest.mark.parametrize("task", TASKS)
def test_the_same_seed_and_actions_give_the_same_episode(task: str, open_env: OpenEnv) -> None:
    env = open_env(task, "episode.steps=200")
    first, other = list(random_episode(env, 7)), list(random_episode(env, 8))
    again = list(random_episode(open_env(task, "episode.steps=200"), 7))
    assert_equal(first, again)
    with pytest.raises(AssertionError):
        assert_equal(first, other)


def assert_equal(one: Any, other: Any) -> None:
    """Nested containers equal bit for bit; NaN equals NaN."""
    np.testing.assert_equal(one, other)


@pytest.mark.parametrize(("task", "agents"), TASKS.items())
def test_observations_and_rewards_hold_what_the_spaces_promise(
    task: str, agents: int, open_env: OpenEnv
) -> None:
    env = open_env(task)
    names = {f"cav_{i}" for i in range(agents)}
    steps = 0
    for obs, rewards, terminated, truncated, infos in random_episode(env):
        assert set(obs) == set(infos) == names
        for agent, one in obs.items():
            assert env.observation_space(agent).contains(one)
            assert one.dtype == np.float32
            assert np.isfinite(one).all()
        state = env.state()
        assert env.state_space.contains(state)
        assert state.tolist() == np.concatenate([obs[f"cav_{i}"] for i in range(agents)]).tolist()
        if steps:
            assert set(rewards) == set(terminated) == set(truncated) == names
            assert all(isinstance(r, float) and np.isfinite(r) for r in rewards.values())
            assert all(type(end) is bool for end in [*terminated.values(), *truncated.values()])
        steps += 1
    assert env.agents == []
    interval = round(env.config.episode.control_interval_s / env.config.simulation.step_s)
    ended_early = any(terminated.values())
    assert ended_early or steps - 1 == env.config.episode.steps / interval


def test_observations_are_the_callers_own(open_env: OpenEnv) -> None:
    env = open_env("ring")
    obs, _ = env.reset(seed=0)
    obs["cav_0"][:] = 99.0
    env.state()[:] = 99.0
    assert 99.0 not in env.state()


def test_agents_are_numbered_from_the_front(open_env: OpenEnv) -> None:
    env = open_env("catchup")
    _, infos = env.reset(seed=0)
    positions = [infos[agent]["position"] for agent in env.agents]
    assert positions == sorted(positions, reverse=True)


def test_each_agent_has_action_spaces_of_its_own(open_env: OpenEnv) -> None:
    env = open_env("ring")
    env.action_space("cav_0").seed(1)
    first = env.action_space("cav_0").sample()
    env.action_space("cav_0").seed(1)
    env.action_space("cav_1").seed(2)
    env.action_space("cav_1").sample()
    assert env.action_space("cav_0").sample() == first


# Ends ---------------------------------------------------------------------------------


def test_the_horizon_truncates_and_does_not_terminate(open_env: OpenEnv) -> None:
    env = open_env("ring", "episode.steps=20")
    *before, last = list(random_episode(env))
    assert len(before) == 4
    assert all(not any(one[3].values()) for one in before)
    assert all(last[3].values())
    assert not any(last[2].values())
    assert env.step({}) == ({}, {}, {}, {}, {})


def test_a_collision_terminates_and_does_not_truncate(open_env: OpenEnv) -> None:
    env = open_env("ring", "simulation.speed_mode=0", "start.jitter_m=0")
    env.reset(seed=0)
    one_hurries = {agent: np.zeros(1, np.float32) for agent in env.agents}
    one_hurries["cav_3"][0] = 1.0
    while env.agents:
        _, _, terminated, truncated, infos = env.step(one_hurries)
        assert all(terminated.values()) == (not env.agents)
    assert not any(truncated.values())
    assert env.array_env.steps < 100
    assert {agent for agent, info in infos.items() if info["collided"]} >= {"cav_3"}


def test_a_collision_in_the_platoon_does_neither(open_env: OpenEnv) -> None:
    env = open_env("slowdown")
    env.reset(seed=0)
    while env.agents:
        _, rewards, terminated, truncated, infos = env.step(dict.fromkeys(env.agents, 0))
        assert not any(terminated.values())
        assert all(truncated.values()) == (not env.agents)
    assert set(rewards.values()) == {-5000.0}
    assert any(info["collided"] for info in infos.values())


def test_a_new_episode_can_begin_at_any_time(open_env: OpenEnv) -> None:
    env = open_env("ring", "episode.steps=20")
    env.reset(seed=0)
    env.step({agent: np.ones(1, np.float32) for agent in env.agents})
    env.reset()
    assert env.agents == env.possible_agents
    assert max(info["speed"] for info in env.reset()[1].values()) == 0.0


# Graph --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "graph"), [("ring", nx.cycle_graph(22)), ("catchup", nx.path_graph(8))]
)
def test_vehicle_graph_is_a_cycle_on_the_ring_and_a_path_in_the_platoon(
    task: str, graph: nx.Graph, open_env: OpenEnv
) -> None:
    env = open_env(task)
    env.reset(seed=0)
    found = env.vehicle_graph()
    assert nx.utils.edges_equal(found.graph.edges, graph.edges)
    assert found.names == tuple(env.possible_agents)
    env.step({agent: env.action_space(agent).sample() for agent in env.agents})
    assert env.vehicle_graph() is found  # nobody overtakes


def test_vehicle_graph_with_conflicts_changes_as_vehicles_approach_the_crossing(
    open_env: OpenEnv,
) -> None:
    env = open_env("figure_eight", "graph.conflict_distance_m=60")
    env.reset(seed=0)
    ((first, second),) = env.array_env.world.crossings
    seen = set()
    for _ in range(60):
        infos = env.step({agent: np.full(1, 0.5, np.float32) for agent in env.agents})[-1]
        position = np.array([infos[agent]["position"] for agent in env.possible_agents])
        on_first, on_second = (
            np.flatnonzero((crossing - 60.0 <= position) & (position <= crossing)).tolist()
            for crossing in (first, second)
        )
        expected = nx.cycle_graph(14)
        expected.add_edges_from((i, j) for i in on_first for j in on_second)
        assert nx.utils.edges_equal(env.vehicle_graph().graph.edges, expected.edges)
        seen.add(frozenset(expected.edges))
    assert len(seen) > 3


def test_without_an_episode_there_is_nothing_to_step_or_to_see(open_env: OpenEnv) -> None:
    env = open_env("ring")
    actions = {agent: env.action_space(agent).sample() for agent in env.possible_agents}
    with pytest.raises(TrafficRLError, match="call reset first"):
        env.step(actions)
    env.reset()
    env.close()
    with pytest.raises(TrafficRLError, match="call reset first"):
        env.vehicle_graph()
