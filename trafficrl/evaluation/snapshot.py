"""One moment of an episode: who is where, and who can talk to whom."""

from __future__ import annotations

from dataclasses import dataclass

from trafficrl.config import ScenarioConfig
from trafficrl.envs.array_env import ArrayEnv
from trafficrl.errors import TrafficRLError
from trafficrl.evaluation.driver import Driver
from trafficrl.evaluation.evaluate import begin_episode
from trafficrl.graph import VehicleGraph
from trafficrl.simulation.geometry import LaneShape, lane_shapes
from trafficrl.types import FloatArray


@dataclass(frozen=True)
class Snapshot:
    """M vehicles on their road, with the graph over the learning ones among them."""

    time: float  # s since the start of the episode
    vehicles: tuple[str, ...]  # M names
    xy: FloatArray  # (M, 2) front bumpers in m, NaN of who is not there
    graph: VehicleGraph
    lanes: list[LaneShape]


def take_snapshot(
    driver: Driver, config: ScenarioConfig, *, time: float, seed: int = 0, episode: int = 0
) -> Snapshot:
    """The end of the first control interval that reaches ``time`` s into an evaluation episode.

    The episode is that of ``run_episodes``. Raises ``TrafficRLError`` if it ends earlier.
    """
    env = ArrayEnv(config, replicas=1)
    try:
        driver.prepare(env)
        obs = begin_episode(driver, env, seed=seed, episode=episode)
        step_length = config.simulation.step_s
        while env.steps * step_length < time - step_length / 2:
            if env.done:
                raise TrafficRLError(
                    f"{config.name}: the episode ends after {env.steps * step_length:g} s, "
                    f"before {time:g} s"
                )
            obs = driver.step(env, obs).obs
        return Snapshot(
            time=env.steps * step_length,
            vehicles=tuple(env.world.vehicle_names),
            xy=env.world.coordinates()[0],
            graph=env.vehicle_graphs()[0],
            lanes=lane_shapes(env.world.net_file),
        )
    finally:
        env.close()
