"""Sums up episodes while they run: the figures of training logs and evaluations."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from trafficrl.envs.array_env import ArrayEnv, Step
from trafficrl.errors import SimulationError
from trafficrl.types import BoolArray, FloatArray


@dataclass(frozen=True, slots=True)
class EpisodeSummary:
    """One episode of one replica. Speeds, collisions and overrides are over all vehicles.

    A vehicle counts while it is there; speeds are NaN where nobody was.
    """

    episode: int
    replica: int
    steps: int  # simulation steps
    return_: float  # reward summed over agents and steps, training-only terms left out
    mean_speed_mps: float  # last third of the episode
    speed_std_mps: float  # over vehicles and time in the last third of the episode
    mean_speed_episode_mps: float
    collisions: int  # vehicles that collided at least once
    override_fraction: float  # of commands that SUMO did not follow
    without_slot: int  # vehicles that came and that SUMO drove, as no slot was free for them

    def row(self) -> dict[str, float | int]:
        """As a flat mapping, with ``return`` under its own name."""
        values = asdict(self)
        return {("return" if key == "return_" else key): value for key, value in values.items()}


class EpisodeRecorder:
    """Follows an ``ArrayEnv`` step by step."""

    def __init__(self, env: ArrayEnv) -> None:
        self.env = env
        self.episodes = 0
        self._speeds: list[FloatArray] = []
        self._present: list[BoolArray] = []

    def begin(self) -> None:
        """New episodes have begun in every replica."""
        env = self.env
        self._speeds, self._present = [], []
        self._returns = np.zeros(env.replicas)
        self._commands, self._overridden = np.zeros(env.replicas), np.zeros(env.replicas)
        self._steps = np.zeros(env.replicas, dtype=np.int64)
        self._intervals = np.zeros(env.replicas, dtype=np.int64)
        self._collisions = np.zeros(env.replicas, dtype=np.int64)

    def add(self, step: Step) -> list[EpisodeSummary]:
        """Take in a step; returns the episodes that it ended."""
        self._speeds.append(self.env.states.speed)
        self._present.append(self.env.states.present)
        self._returns += step.evaluated_reward.sum(axis=1)
        self._commands += step.commands.sum(axis=1)
        self._overridden += (step.overridden * step.commands).sum(axis=1)
        self._steps += step.sim_steps
        self._intervals += step.active
        self._collisions += step.collisions
        (ended,) = (step.terminated | step.truncated).nonzero()
        return [self._summary(replica) for replica in ended.tolist()]

    def _summary(self, replica: int) -> EpisodeSummary:
        intervals = int(self._intervals[replica])
        speeds = [
            speed[replica][present[replica]]
            for speed, present in zip(self._speeds[:intervals], self._present, strict=False)
        ]
        whole = np.concatenate(speeds)
        if not whole.size:
            raise SimulationError(
                f"nobody to drive in an episode of {self._steps[replica]} steps: no car departs "
                "(earlier ones in network.route_files, or a longer episode)"
            )
        last_third = np.concatenate(speeds[-max(1, intervals // 3) :])
        self.episodes += 1
        return EpisodeSummary(
            episode=self.episodes - 1,
            replica=replica,
            steps=int(self._steps[replica]),
            return_=float(self._returns[replica]),
            mean_speed_mps=_mean(last_third),
            speed_std_mps=float(last_third.std()) if last_third.size else np.nan,
            mean_speed_episode_mps=_mean(whole),
            collisions=int(self._collisions[replica]),
            override_fraction=float(self._overridden[replica] / max(1.0, self._commands[replica])),
            without_slot=int(self.env.world.without_slot[replica]),
        )


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if values.size else np.nan
