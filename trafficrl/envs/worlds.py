"""Which kind of world a scenario's network needs."""

from __future__ import annotations

from trafficrl.config.scenario import ScenarioConfig
from trafficrl.envs.course_world import CourseWorld
from trafficrl.envs.world import World


def make_world(config: ScenarioConfig, *, replicas: int = 1) -> World:
    """The world of a scenario, with ``replicas`` copies of it in one simulation."""
    return CourseWorld(config, replicas=replicas)
