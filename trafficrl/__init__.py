"""Learns vehicle controllers in SUMO by decentralised model-based policy optimisation.

``make_env``, ``load_scenario`` and ``load_policy`` load with their first use, so
that ``import trafficrl`` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trafficrl.config import load_scenario
    from trafficrl.deployment import Policy, load_policy
    from trafficrl.envs import make_env

__all__ = ["Policy", "__version__", "load_policy", "load_scenario", "make_env"]

__version__ = "0.1.0"

_LAZY = {
    "Policy": "trafficrl.deployment",
    "load_policy": "trafficrl.deployment",
    "load_scenario": "trafficrl.config",
    "make_env": "trafficrl.envs",
}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__
