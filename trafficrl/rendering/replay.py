"""Evaluation episodes, driven again in sumo-gui."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trafficrl.config import ScenarioConfig
from trafficrl.envs.array_env import ArrayEnv
from trafficrl.errors import TrafficRLError
from trafficrl.evaluation.driver import Driver
from trafficrl.evaluation.evaluate import begin_episode
from trafficrl.evaluation.trajectory import Trajectory
from trafficrl.rendering.colours import QUANTITIES, Moment
from trafficrl.rendering.video import Film
from trafficrl.simulation.view import View
from trafficrl.types import VehicleStates

ALL, NETWORK = "all", "network"  # for the camera to be on
AROUND = 20.0  # m around them
AROUND_ONE = 50.0  # m around a single one


@dataclass(frozen=True)
class Scene:
    """What of an episode is shown, and how. Raises ``TrafficRLError`` for what is not there."""

    colour: str = "speed"
    graph: bool = False  # draw the vehicle graph
    follow: str | None = None  # a vehicle, "all" or "network"; None: all on an open road
    start: float = 0.0  # s of the episode that are not shown
    seconds: float | None = None  # that are; None: to the end

    def steps(self, trajectory: Trajectory) -> range:
        """The steps of the trajectory that are shown."""
        first, last = self._first(trajectory.step_length), len(trajectory.speed)
        if first >= last:
            raise TrafficRLError(
                f"--start {self.start:g}: the episode is over after "
                f"{last * trajectory.step_length:g} s"
            )
        return range(first, min(last, self._last(trajectory.step_length)))

    def shortened(self, config: ScenarioConfig) -> ScenarioConfig:
        """The scenario with episodes that go on for no longer than is shown."""
        steps = min(config.episode.steps, self._last(config.simulation.step_s))
        if self._first(config.simulation.step_s) >= steps:
            return config  # nothing is shown, which `steps` says
        return config.model_copy(
            update={"episode": config.episode.model_copy(update={"steps": steps})}
        )

    def followed(self, trajectory: Trajectory) -> int | None:
        """The column of the vehicle that the camera is on."""
        if self.follow in (None, ALL, NETWORK):
            return None
        if self.follow not in trajectory.vehicles:
            names = trajectory.vehicles
            raise TrafficRLError(
                f"--follow {self.follow}: no such vehicle "
                f"(there are {names[0]} to {names[-1]}, {ALL} and {NETWORK})"
            )
        return trajectory.vehicles.index(self.follow)

    def follows_all(self, config: ScenarioConfig, trajectory: Trajectory) -> bool:
        """Whether the camera is on all vehicles: by default on a road with an end."""
        open_road = config.network.fixed_order and not trajectory.closed
        return self.follow == ALL or (self.follow is None and open_road)

    def _first(self, step_length: float) -> int:
        return round(self.start / step_length)

    def _last(self, step_length: float) -> int:
        if self.seconds is None:
            return sys.maxsize
        return self._first(step_length) + max(1, round(self.seconds / step_length))


class _Stage:
    """Draws an episode that is driven again, and checks that it is the same.

    SUMO draws a step after having driven it. What it is given before belongs to that
    step all the same: the trajectory tells what is to come.
    """

    def __init__(
        self, env: ArrayEnv, driver: Driver, trajectory: Trajectory, scene: Scene, view: View
    ) -> None:
        self._env, self._driver, self._trajectory = env, driver, trajectory
        self._scene, self._view = scene, view
        self._quantity = QUANTITIES[scene.colour]
        self._followed = scene.followed(trajectory)
        self._follows_all = scene.follows_all(env.config, trajectory)
        self.driven = 0  # steps of the trajectory
        self.differs_at: int | None = None

    def check(self, states: VehicleStates) -> None:
        """Take in a step that has been driven again."""
        t, recorded = self.driven, self._trajectory
        present = recorded.present[t]
        same = (
            np.array_equal(states.present[0], present)
            and np.array_equal(states.speed[0, present], recorded.speed[t, present])
            and np.array_equal(states.distance[0, present], recorded.distance[t, present])
        )
        if not same and self.differs_at is None:
            self.differs_at = t
        self.driven += 1

    def draw_next(self) -> None:
        """Prepare the picture of the step that comes next, with the vehicles that are there now."""
        ids = self._env.world.sumo_ids()
        here = [column for column, name in enumerate(ids) if name is not None]
        moment = Moment(self._trajectory, self.driven, self._env, self._driver)
        self._view.colour(
            [str(ids[column]) for column in here], self._quantity.values(moment)[here]
        )
        places = self._trajectory.places
        assert places is not None, "record the trajectory with its places"
        xy = np.stack([places.x[self.driven], places.y[self.driven]], axis=-1)
        if self._scene.graph:
            pairs = np.argwhere(np.triu(self._env.vehicle_graphs()[0].adjacency, 1))
            ends = xy[self._env.agents[pairs]]
            self._view.link(ends[np.isfinite(ends).all(axis=(1, 2))])
        known = xy[np.isfinite(xy).all(axis=1)]
        if self._follows_all and len(known):
            self._view.look_at(known, AROUND)
        elif self._followed is not None and ids[self._followed] is not None:
            place = xy[self._followed]
            self._view.follow(str(ids[self._followed]), place, AROUND_ONE)


class _Camera:
    """Takes pictures, each of the step that comes next."""

    def __init__(self, view: View, film: Film | None, file: Path) -> None:
        self._view, self._film, self._file = view, film, file
        self._waits = False

    def take_next(self) -> None:
        if self._film is not None:
            self._view.picture(self._file)
            self._waits = True

    def collect(self) -> None:
        if self._film is not None and self._waits:
            self._film(self._file.read_bytes())
            self._waits = False


def replay(
    driver: Driver,
    config: ScenarioConfig,
    trajectory: Trajectory,
    scene: Scene,
    *,
    seed: int,
    episode: int,
    size: tuple[int, int] = (1280, 720),
    delay: float = 0.0,
    film: Film | None = None,
    every: int = 1,
    on_step: Callable[[], None] = lambda: None,
) -> int | None:
    """Drive an evaluation episode again in sumo-gui, with the same random draws.

    ``trajectory`` is that episode as ``run_episodes`` drove it, with its places.
    ``delay`` in s is the least that a step takes. ``film`` gets a picture of
    ``size`` pixels every so many steps, ``on_step`` is called with each that is shown.
    Returns the step at which the two differ: None, as no step should.
    ``ConnectionLost`` where somebody closes the window.
    """
    shown = scene.steps(trajectory)
    view = View(QUANTITIES[scene.colour].legend(trajectory), size=size)
    env = ArrayEnv(config)
    env.world.show(view)
    stage = _Stage(env, driver, trajectory, scene, view)

    def prepare_next() -> None:
        if stage.driven in shown:
            stage.draw_next()
            if (stage.driven - shown.start) % every == 0:
                camera.take_next()

    def observe(states: VehicleStates) -> None:
        camera.collect()
        if stage.driven in shown:
            on_step()
            time.sleep(delay)
        if stage.driven < shown.stop:
            stage.check(states)
            prepare_next()

    with tempfile.TemporaryDirectory(prefix="trafficrl-frames-") as folder:
        camera = _Camera(view, film, Path(folder) / "frame.png")
        try:
            driver.prepare(env)
            obs = begin_episode(driver, env, seed=seed, episode=episode)
            env.observers.append(observe)
            prepare_next()
            while not env.done and stage.driven < shown.stop:
                obs = driver.step(env, obs).obs
        finally:
            env.close()
            view.close()
    return stage.differs_at
