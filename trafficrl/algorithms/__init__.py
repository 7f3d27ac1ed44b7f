"""Learning algorithms, one file each."""

from trafficrl.algorithms.base import AgentSpec, Algorithm
from trafficrl.algorithms.dppo import DPPO

ALGORITHMS: dict[str, type[DPPO]] = {"dppo": DPPO}

__all__ = ["ALGORITHMS", "DPPO", "AgentSpec", "Algorithm"]
