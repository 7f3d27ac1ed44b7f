"""Runs the current policies in the environment and keeps what happened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from trafficrl.algorithms.base import Algorithm
from trafficrl.envs.array_env import ArrayEnv, Step
from trafficrl.training.episodes import EpisodeRecorder, EpisodeSummary
from trafficrl.training.rollout import Rollout


@dataclass(slots=True)
class Collected:
    """A rollout, the episodes that ended in it, and its simulation steps."""

    rollout: Rollout
    episodes: list[EpisodeSummary]
    sim_steps: int
    mean_speed: float  # m/s, over agents and steps
    mean_reward: float  # evaluated terms summed over agents, per simulation step


class Collector:
    """Continues episodes from one call to the next."""

    def __init__(self, env: ArrayEnv, algorithm: Algorithm, generator: torch.Generator) -> None:
        self.env = env
        self.algorithm = algorithm
        self.generator = generator
        self._recorder = EpisodeRecorder(env)
        self._obs: torch.Tensor | None = None

    def collect(self, sim_steps: int) -> Collected:
        """At least ``sim_steps`` simulation steps of every replica, in whole control intervals."""
        rows: list[tuple[torch.Tensor, ...]] = []
        episodes: list[EpisodeSummary] = []
        counted, speed, reward = 0, 0.0, 0.0
        for _ in range(max(1, round(sim_steps / self.env.interval))):
            if self._obs is None or self.env.done:
                self._obs = torch.from_numpy(self.env.reset())
                self._recorder.begin()
            obs = self._obs
            action, log_prob = self.algorithm.act(obs, self.generator)
            step = self.env.step(action.numpy())
            episodes += self._recorder.add(step)
            self._obs = torch.from_numpy(step.obs)
            rows.append(_row(obs, action, log_prob, step))
            counted += step.sim_steps
            speed += float(self.env.states.speed[:, self.env.agents].mean())
            reward += self._recorder.evaluated_reward(step).sum()
        columns = [torch.stack(column, dim=1) for column in zip(*rows, strict=True)]
        return Collected(
            rollout=Rollout(*columns),
            episodes=episodes,
            sim_steps=counted,
            mean_speed=speed / len(rows),
            mean_reward=float(reward) / max(1, counted),
        )


def _row(
    obs: torch.Tensor, action: torch.Tensor, log_prob: torch.Tensor, step: Step
) -> tuple[torch.Tensor, ...]:
    """One time step in the order of ``Rollout``'s fields."""
    return (
        obs,
        action,
        log_prob,
        torch.from_numpy(step.reward.astype(np.float32)),
        torch.from_numpy(step.obs),
        torch.from_numpy(step.terminated),
        torch.from_numpy(step.truncated),
        torch.from_numpy(step.active),
    )
