"""Learns vehicle controllers in SUMO by decentralised model-based policy optimisation.

``make_env`` and ``load_scenario`` load with their first use, so that
``import trafficrl`` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trafficrl.config import load_scenario
    from trafficrl.envs import make_env

__all__ = ["__version__", "load_scenario", "make_env"]

__version__ = "0.1.0"

_LAZY = {"load_scenario": "trafficrl.config", "make_env": "trafficrl.envs"}


def __getattr__(name: str) -> object:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return __all__
