"""What the recorder writes down is what the environment did, at every simulation step."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trafficrl import load_scenario
from trafficrl.controllers import make_controller
from trafficrl.envs.array_env import ArrayEnv
from trafficrl.evaluation.evaluate import figures_of
from trafficrl.evaluation.trajectory import RECORDED, Trajectory, TrajectoryRecorder
from trafficrl.simulation import sumo
from trafficrl.simulation.options import sumo_options
from trafficrl.simulation.programs import sumo_program
from trafficrl.training.episodes import EpisodeRecorder
from trafficrl.types import VehicleStates

SMALL = ["vehicles.0.count=6", "network.length_m=120", "episode.steps=43"]


class Drive:
    """Episodes of a scenario under constant actions, recorded both ways."""

    def __init__(self, scenario: str, *overrides: str, replicas: int = 1, places: bool = False):
        self.env = ArrayEnv(load_scenario(scenario, overrides), replicas=replicas, seed=0)
        self.recorder = TrajectoryRecorder(self.env, places=places)
        self.summaries = EpisodeRecorder(self.env)
        self.seen: list[VehicleStates] = []
        self.rewards: list[Any] = []
        self.env.observers.append(self.seen.append)

    def episode(self, action: Any = 1.0, messages: Any = 0.0) -> list[Trajectory]:
        env = self.env
        actions = np.zeros((env.replicas, env.n_agents, 1)) + action
        if env.actions.n_choices:
            actions = actions[..., 0].astype(int)
        env.reset()
        self.recorder.begin()
        self.summaries.begin()
        self.ended, found = [], []
        while not env.done:
            step = env.step(actions)
            self.rewards.append(step)
            self.ended += self.summaries.add(step)
            found += self.recorder.add(step, messages)
        return found


@pytest.fixture
def drive() -> Iterator[Any]:
    """``drive(scenario, *overrides, replicas=1, places=False)``, closed when the test ends."""
    with ExitStack() as stack:

        def make(*arguments: str, **options: Any) -> Drive:
            stack.close()
            made = Drive(*arguments, **options)
            stack.enter_context(closing(made.env))
            return made

        yield make


def test_every_simulation_step_is_there(drive) -> None:
    """43 steps in control intervals of 5: the last interval is cut short."""
    driven = drive("ring", *SMALL)
    (trajectory,) = driven.episode(messages=7.0)
    assert (len(driven.seen), trajectory.speed.shape) == (43, (43, 6))
    for name in RECORDED:
        recorded = getattr(trajectory, name)
        assert np.array_equal(recorded, [getattr(states, name)[0] for states in driven.seen])
    assert trajectory.times == pytest.approx([states.time for states in driven.seen])
    assert trajectory.reward.shape == (9, 6) and trajectory.messages.tolist() == [7.0] * 9
    expected = np.array([step.evaluated_reward[0] for step in driven.rewards])
    assert np.array_equal(trajectory.reward, expected)
    evaluated = ("desired_speed", "absolute_acceleration")
    total = sum(trajectory.reward_terms[name] for name in evaluated)
    assert trajectory.reward == pytest.approx(total)
    assert trajectory.present.all() and not trajectory.entered.any()
    assert (trajectory.path_length, trajectory.closed) == (pytest.approx(120.0), True)
    assert trajectory.vehicles == tuple(f"cav_{i}" for i in range(6))


def test_the_leaders_speed_is_that_of_the_leader(drive) -> None:
    (trajectory,) = drive("catchup", "episode.steps=30").episode(3)
    assert np.isnan(trajectory.leader_speed[:, 0]).all()
    assert np.array_equal(trajectory.leader_speed[:, 1:], trajectory.speed[:, :-1])
    assert trajectory.vehicles[:3] == ("veh_0", "cav_0", "cav_1")
    assert not trajectory.closed


def test_episodes_follow_each_other_and_keep_their_own_data(drive) -> None:
    driven = drive("ring", *SMALL)
    (first,) = driven.episode(1.0)
    before = first.speed.copy()
    (second,) = driven.episode(0.0)
    assert (first.episode, second.episode) == (0, 1)
    assert np.array_equal(first.speed, before) and not second.speed.any()


def test_replicas_are_told_apart(drive) -> None:
    driven = drive("ring", *SMALL, replicas=3)
    found = driven.episode(np.array([1.0, 0.5, 0.0])[:, None, None], np.array([1.0, 2.0, 3.0]))
    assert [one.speed[-1].round(2).tolist() for one in found] == [[4.3] * 6, [2.15] * 6, [0] * 6]
    assert [one.messages[0] for one in found] == [1, 2, 3]
    assert [one.reward.sum() for one in found] == pytest.approx(
        [one.return_ for one in driven.ended]
    )


def test_a_replica_is_as_long_as_it_was_driven(drive) -> None:
    """Vehicle 3 drives into the one ahead in one replica; the other goes on to the end."""
    near = ["simulation.speed_mode=0", "start.jitter_m=0", "network.length_m=70"]
    driven = drive("ring", *SMALL, *near, replicas=2)
    action = np.zeros((2, 6, 1))
    action[0, 3] = 1.0
    crashed, other = sorted(driven.episode(action), key=lambda one: one.steps)
    assert crashed.steps < 43 == other.steps
    assert crashed.collided[-1].any() and not crashed.collided[:-1].any()
    assert len(crashed.reward) == -(-crashed.steps // 5)
    assert [crashed.steps, other.steps] == sorted(one.steps for one in driven.ended)


def test_what_a_collision_holds_still_is_no_trajectory(drive) -> None:
    """The platoon's state is absorbing: the return counts to the horizon, driving does not."""
    close = ["start.headway_m=3", "start.first_headway_factor=[1.0, 1.0]", "start.speed_mps=20"]
    driven = drive("catchup", *close, "episode.steps=60")
    # Keeps its speed behind a lead that slows down.
    (trajectory,) = driven.episode(0, messages=7.0)
    crash = next(t for t, states in enumerate(driven.seen) if states.collided.any())
    assert 0 < len(trajectory.speed) == crash + 1 < 60
    assert (trajectory.steps, trajectory.held_steps) == (60, 59 - crash)
    assert trajectory.reward.sum() == pytest.approx(driven.ended[0].return_)
    assert trajectory.messages.tolist() == [7.0] * (crash // driven.env.interval + 1)
    held = trajectory.to_horizon(trajectory.speed)
    assert np.array_equal(held, [states.speed[0] for states in driven.seen])


@pytest.mark.parametrize(
    ("scenario", "action", "overrides"),
    [
        ("ring", 1.0, SMALL),
        ("catchup", 3, ["episode.steps=60", "start.headway_m=3"]),
        ("slowdown", 3, ["episode.steps=60"]),
    ],
)
def test_the_figures_are_those_that_training_logs(
    drive, scenario: str, action: float, overrides: list[str]
) -> None:
    """Where actions last one simulation step; else speeds are taken more often here."""
    driven = drive(scenario, *overrides, "episode.control_interval_s=0.1")
    (trajectory,) = driven.episode(action)
    (summary,) = driven.ended
    figures = figures_of(trajectory)
    expected = {
        "return_mean": summary.return_,
        "mean_speed_mps": summary.mean_speed_mps,
        "speed_std_mps": summary.speed_std_mps,
        "mean_speed_episode_mps": summary.mean_speed_episode_mps,
        "collisions": summary.collisions,
        "override_fraction": summary.override_fraction,
        "episode_steps": summary.steps,
    }
    assert {name: figures[name] for name in expected} == pytest.approx(expected)


def test_a_vehicle_alone_keeps_what_was_its_own(drive) -> None:
    (trajectory,) = drive("catchup", "episode.steps=30").episode(3)
    alone = trajectory.only(2)
    assert alone.vehicles == ("cav_1",) and alone.agents.tolist() == [0]
    assert np.array_equal(alone.headway[:, 0], trajectory.headway[:, 2])
    assert np.array_equal(alone.leader_speed[:, 0], trajectory.speed[:, 1])
    assert np.array_equal(alone.reward[:, 0], trajectory.reward[:, 1])
    assert trajectory.only(0).agents.size == 0 and trajectory.only(0).reward.shape == (6, 0)


def test_where_vehicles_are_is_recorded_on_request(drive) -> None:
    """On a ring, 120 m round: whatever the lane, at the radius, and heading along the circle."""
    assert drive("ring", *SMALL).episode()[0].places is None
    (trajectory,) = drive("ring", *SMALL, places=True).episode()
    places = trajectory.places
    assert places is not None
    radius = np.hypot(places.x, places.y)
    assert radius == pytest.approx(np.full((43, 6), 120 / (2 * np.pi)), rel=0.02)
    heading = np.radians(90.0 - places.angle)  # from the x axis, anticlockwise
    along = (places.x * np.sin(heading) - places.y * np.cos(heading)) / radius
    assert along == pytest.approx(np.ones((43, 6)), abs=0.02)
    lengths = np.mod(trajectory.position - places.lane_position, 120.0)
    assert set(places.lane.ravel()) >= {"e0_0", "e1_0"} and not places.slope.any()
    assert len(np.unique(lengths.round(3))) <= len(set(places.lane.ravel()))


# SUMO's own models --------------------------------------------------------------------


def test_emissions_are_those_of_sumos_own_tool(drive, tmp_path: Path) -> None:
    """``emissionsDrivingCycle`` is given the speeds and accelerations of a platoon."""
    driven = drive("slowdown", "episode.steps=300", "start.speed_mps=12")
    (trajectory,) = driven.episode(3)
    table = np.column_stack(
        [trajectory.times, trajectory.speed[:, 1], trajectory.acceleration[:, 1]]
    )
    cycle, result = tmp_path / "cycle.csv", tmp_path / "result.csv"
    np.savetxt(cycle, table, delimiter=";")
    subprocess.run(
        [
            *(str(sumo_program("emissionsDrivingCycle")), "--timeline-file", str(cycle)),
            *("--emission-class", "HBEFA4/PC_petrol_Euro-4", "--output", str(result)),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    # time; speed; acceleration; slope; CO; CO2; HC; PMx; NOx; fuel; electricity
    expected = np.loadtxt(result, delimiter=";")[:, [9, 5, 8]]
    assert (np.ptp(expected, axis=0) > 0.5).all()
    assert trajectory.emissions[:, 1] == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_teleports_are_recorded(drive, monkeypatch: pytest.MonkeyPatch) -> None:
    """With teleporting on after 1 s, vehicles that stand are moved."""

    def impatient(*arguments: Any, **keywords: Any) -> list[str]:
        words = sumo_options(*arguments, **keywords)
        words[words.index("--time-to-teleport") + 1] = "1"
        return words

    assert not drive("ring", *SMALL).episode(0.0)[0].teleported.any()
    monkeypatch.setattr(sumo, "sumo_options", impatient)
    (trajectory,) = drive("ring", *SMALL).episode(0.0)
    assert trajectory.teleported[10:].any() and not trajectory.teleported[:9].any()


def test_nobody_observes_an_environment_unasked() -> None:
    with closing(ArrayEnv(load_scenario("ring", SMALL))) as env:
        assert env.observers == []


def test_observers_see_each_step_of_a_controllers_drive(drive) -> None:
    driven = drive("ring", *SMALL)
    driven.env.reset()
    driven.recorder.begin()
    driven.env.drive(make_controller("idm"))
    assert [states.time for states in driven.seen] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
