"""SUMO tasks as multi-agent environments."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trafficrl.envs.parallel_env import TrafficEnv, make_env

__all__ = ["TrafficEnv", "make_env"]


def __getattr__(name: str) -> Any:
    # Lazily: the scenario models import this package's registries.
    if name in __all__:
        from trafficrl.envs import parallel_env

        return getattr(parallel_env, name)
    raise AttributeError(name)
