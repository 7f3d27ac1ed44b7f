"""Trajectories whose figures can be worked out by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from trafficrl.evaluation.trajectory import Trajectory

MakeTrajectory = Callable[..., Trajectory]


@pytest.fixture(scope="session")
def make_trajectory() -> MakeTrajectory:
    """``make_trajectory(speed, step=1.0, **fields)``: of speeds (T, M), nobody following anybody.

    Accelerations follow from the speeds, 0 in the first step; all vehicles learn.
    """

    def make(speed: ArrayLike, step: float = 1.0, **fields: Any) -> Trajectory:
        v = np.asarray(speed, dtype=float)
        t, m = v.shape
        nothing, never, nobody = np.zeros((t, m)), np.zeros((t, m), bool), np.full((t, m), -1)
        values: dict[str, Any] = {
            "episode": 0,
            "vehicles": tuple(f"cav_{i}" for i in range(m)),
            "agents": np.arange(m),
            "step_length": step,
            "path_length": np.inf,
            "held_steps": 0,
            "present": ~never,
            "entered": never,
            "position": nothing,
            "distance": np.cumsum(v, axis=0) * step,
            "speed": v,
            "acceleration": np.diff(v, axis=0, prepend=v[:1]) / step,
            "commanded_acceleration": nothing,
            "headway": np.full((t, m), np.inf),
            "leader_speed": np.full((t, m), np.nan),
            "leader": nobody,
            "follower": nobody,
            "overridden": never,
            "collided": never,
            "teleported": never,
            "emissions": np.zeros((t, m, 3)),
            "reward": np.zeros((t, m)),
            "reward_terms": {},
            "messages": np.zeros(t),
            "places": None,
        }
        return Trajectory(**{**values, **fields})

    return make
