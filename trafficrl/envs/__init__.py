"""SUMO tasks as multi-agent environments."""

from trafficrl.envs.array_env import ArrayEnv
from trafficrl.envs.parallel_env import TrafficEnv, make_env

__all__ = ["ArrayEnv", "TrafficEnv", "make_env"]
