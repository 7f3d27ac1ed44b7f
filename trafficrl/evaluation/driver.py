"""What takes the agents of an environment through an episode."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from trafficrl.envs.array_env import ArrayEnv, Step
from trafficrl.types import IntArray


class Driver:
    """A trained run, a constant, a classical controller: whatever decides for the agents.

    ``messages`` (B,) is how many the last step took between vehicles.
    """

    messages: NDArray[np.float64] | float = 0.0

    def prepare(self, env: ArrayEnv) -> None:
        """Episodes of ``env`` are about to be driven: before its first reset."""

    def policy_slots(self, env: ArrayEnv) -> IntArray:
        """The number of the policy that drives each agent now, (N,)."""
        return np.arange(env.n_agents)

    def begin(self, env: ArrayEnv, rng: np.random.Generator) -> None:
        """An episode of ``env`` has begun."""
        raise NotImplementedError

    def step(self, env: ArrayEnv, obs: NDArray[np.float32]) -> Step:
        """Drive one control interval."""
        raise NotImplementedError
