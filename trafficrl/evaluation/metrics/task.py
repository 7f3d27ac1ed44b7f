"""What the task pays."""

from __future__ import annotations

import numpy as np

from trafficrl.evaluation.metrics.base import Function, metric
from trafficrl.evaluation.trajectory import Trajectory
from trafficrl.terms import REWARD_TERMS
from trafficrl.types import FloatArray


@metric("return_mean", "task", "reward", "all vehicles and steps", better="higher")
def episode_return(trajectory: Trajectory) -> float:
    """Rewards summed over the learning vehicles and the episode, training-only terms left out."""
    return _sum(trajectory, trajectory.reward)


@metric("return_per_step", "task", "reward", "all vehicles, a simulation step", better="higher")
def return_per_step(trajectory: Trajectory) -> float:
    """The return over the simulation steps of the episode."""
    return episode_return(trajectory) / trajectory.steps


def _term(name: str) -> Function:
    def reward_term(trajectory: Trajectory) -> float:
        """One weighted term of the reward, summed as the return is."""
        term = trajectory.reward_terms.get(name)
        return np.nan if term is None else _sum(trajectory, term)

    return reward_term


for _name in REWARD_TERMS:
    add = metric(f"reward_{_name}", "task", "reward", "term with its weight", better="higher")
    add(_term(_name))


@metric("episode_steps", "task", "simulation steps", "of the episode", per_vehicle=False)
def episode_steps(trajectory: Trajectory) -> float:
    """How long the episode was: less than the horizon where a collision ended it."""
    return float(trajectory.steps)


def _sum(trajectory: Trajectory, rewards: FloatArray) -> float:
    """Over control intervals and agents; NaN of a vehicle that does not learn."""
    return float(rewards.sum()) if trajectory.agents.size else np.nan
