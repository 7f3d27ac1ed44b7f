"""Which kind of world a scenario's network needs."""

from __future__ import annotations

from trafficrl.config.networks import CourseNetwork
from trafficrl.config.scenario import ScenarioConfig
from trafficrl.envs.course_world import CourseWorld
from trafficrl.envs.network_world import NetworkWorld
from trafficrl.envs.world import World


def make_world(config: ScenarioConfig, *, replicas: int = 1) -> World:
    """The world of a scenario, with ``replicas`` copies of it in one simulation."""
    if isinstance(config.network, CourseNetwork):
        return CourseWorld(config, config.network, replicas=replicas)
    return NetworkWorld(config, config.network, replicas=replicas)
