"""Runs the current policies in the environment and keeps what happened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trafficrl.algorithms.base import Actor, Decision
from trafficrl.algorithms.rollout import Links, Rollout
from trafficrl.envs.array_env import ArrayEnv
from trafficrl.errors import NumericalError
from trafficrl.training.episodes import EpisodeRecorder, EpisodeSummary
from trafficrl.training.links import LinkTracker


@dataclass(slots=True)
class Collected:
    """A rollout, the episodes that ended in it, and its simulation steps."""

    rollout: Rollout
    episodes: list[EpisodeSummary]
    sim_steps: int
    mean_speed: float  # m/s, over agents and steps
    mean_reward: float  # evaluated terms summed over agents, per simulation step

    @staticmethod
    def merge(parts: Sequence[Collected]) -> Collected:
        """All of several simulations, in their order, as replicas of one."""
        if len(parts) == 1:
            return parts[0]
        replicas = [len(part.rollout.obs) for part in parts]
        first = [sum(replicas[:index]) for index in range(len(parts))]
        steps = [part.sim_steps for part in parts]
        return Collected(
            rollout=Rollout.merge([part.rollout for part in parts]),
            episodes=[
                replace(episode, replica=first[index] + episode.replica)
                for index, part in enumerate(parts)
                for episode in part.episodes
            ],
            sim_steps=sum(steps),
            mean_speed=float(np.average([part.mean_speed for part in parts], weights=replicas)),
            mean_reward=float(np.average([part.mean_reward for part in parts], weights=steps)),
        )


# Of each step: what else it says is not learned from, and would only take memory.
KEPT = ("reward", "obs", "terminated", "truncated", "active", "absorbed")


class Collector:
    """Continues episodes from one call to the next."""

    def __init__(
        self,
        env: ArrayEnv,
        actor: Actor,
        generator: torch.Generator,
        *,
        value_hops: int,
        gamma: float,
    ) -> None:
        self.env = env
        self.gamma = gamma
        self.links = LinkTracker(env, value_hops)
        self.actor = actor
        self.generator = generator
        self._recorder = EpisodeRecorder(env)
        self._obs: torch.Tensor | None = None
        self._begun = env.rng.bit_generator.state
        self._actions: list[torch.Tensor] = []  # since then
        self._memory = torch.empty(0)
        self._held: NDArray[np.bool_] = np.zeros(env.replicas, dtype=bool)

    def collect(self, sim_steps: int, *, since: int = 0) -> Collected:
        """About ``sim_steps`` simulation steps of every replica, in whole control intervals.

        Raises ``NumericalError`` with the agent and the step, counted from
        ``since`` on, where an observation, an action or a reward is not finite.
        """
        obs, links, next_links = [], [], []
        kept: dict[str, list[Any]] = {name: [] for name in KEPT}
        decisions: list[Decision] = []
        memory, held = [], []
        episodes: list[EpisodeSummary] = []
        counted, speed, reward = 0, 0.0, 0.0
        for _ in range(max(1, round(sim_steps / self.env.interval))):
            if self._obs is None or self.env.done:
                self._obs = self._begin()
            obs.append(self._obs)
            links.append(self.links.now())
            memory.append(self._memory)
            held.append(self._held)
            with torch.inference_mode():  # quicker than without gradients, where calls are small
                decision = self.actor.act(self._obs, links[-1], self._memory, self.generator)
            decisions.append(decision)
            self._memory = decision.memory
            action = decision.action.numpy()
            require_finite("action", action, since + counted)
            step = self.env.step(action)
            for name, column in kept.items():
                column.append(getattr(step, name))
            self._actions.append(decision.action)
            self._held = step.absorbed
            episodes += self._recorder.add(step)
            self._obs = torch.from_numpy(step.obs)
            next_links.append(self.links.now())
            counted += int(step.sim_steps.sum())
            require_finite("reward", step.reward, since + counted)
            require_finite("observation", step.obs, since + counted)
            speed += _mean_speed(self.env)
            reward += step.evaluated_reward.sum()
        rollout = Rollout(
            obs=torch.stack(obs, dim=1),
            action=torch.stack([decision.action for decision in decisions], dim=1),
            log_prob=torch.stack([decision.log_prob for decision in decisions], dim=1),
            reward=_over_time(kept["reward"]).float(),
            next_obs=_over_time(kept["obs"]),
            terminated=_over_time(kept["terminated"]),
            truncated=_over_time(kept["truncated"]),
            active=_over_time(kept["active"]),
            memory=torch.stack(memory, dim=1),
            next_memory=torch.stack([decision.memory for decision in decisions], dim=1),
            links=Links.stack(links),
            next_links=Links.stack(next_links),
        )
        absorbed = _over_time(kept["absorbed"])
        fold_absorbed(rollout, _over_time(held), absorbed, self.gamma)
        return Collected(
            rollout=rollout,
            episodes=episodes,
            sim_steps=counted,
            mean_speed=speed / len(obs),
            mean_reward=float(reward) / max(1, counted),
        )

    def _begin(self) -> torch.Tensor:
        self._begun, self._actions = self.env.rng.bit_generator.state, []
        obs = torch.from_numpy(self.env.reset())
        self._memory = fresh_memory(self.actor, obs)
        self._held = np.zeros(self.env.replicas, dtype=bool)
        self._recorder.begin()
        return obs

    def state_dict(self) -> dict[str, Any]:
        """How the running episodes came about; SUMO itself cannot be saved exactly."""
        under_way = self._obs is not None and not self.env.done
        return {
            "environment": self._begun if under_way else self.env.rng.bit_generator.state,
            "actions": torch.stack(self._actions) if under_way and self._actions else None,
            "memory": self._memory if under_way else None,
            "episodes": self._recorder.episodes,
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Drive the running episodes again, action by action, to where they were."""
        self.env.rng.bit_generator.state = state["environment"]
        self._obs = None
        if state["actions"] is not None:
            self._obs = self._begin()
            for action in state["actions"]:
                step = self.env.step(action.numpy())
                self._recorder.add(step)
                self._actions.append(action)
                self._held = step.absorbed
                self._obs = torch.from_numpy(step.obs)
            self._memory = state["memory"]
        self._recorder.episodes = state["episodes"]
        self.generator.set_state(state["generator"])


def require_finite(what: str, values: NDArray[Any], sim_steps: int) -> None:
    """``NumericalError`` that names the agent if one of ``values`` (B, N, ...) is not finite."""
    finite = np.isfinite(values)
    if not finite.all():
        place = tuple(np.argwhere(~finite)[0])
        raise NumericalError(
            f"cav_{place[1]}: its {what} at step {sim_steps:,} is {values[place[:2]]}"
        )


def fold_absorbed(
    rollout: Rollout, held: torch.Tensor, absorbed: torch.Tensor, gamma: float
) -> None:
    """Fold the steps of replicas that a collision holds still into the step that led there.

    ``held`` and ``absorbed`` are (B, T): held before and after each step. For a
    learner the episode terminates with the collision, and the discounted
    rewards that follow are paid at once: nothing observed tells that a vehicle
    is held, so those steps would teach it wrong dynamics.
    """
    if not absorbed.any():
        return
    later = torch.zeros_like(rollout.reward[:, 0])
    for t in reversed(range(held.shape[1])):
        reward, holding = rollout.reward[:, t].clone(), held[:, t, None]
        rollout.reward[:, t] += gamma * torch.where(holding, 0.0, later)
        later = torch.where(holding, reward + gamma * later, 0.0)
    rollout.terminated |= absorbed & ~held
    rollout.truncated &= ~absorbed
    rollout.active &= ~held


def fresh_memory(actor: Actor, obs: torch.Tensor) -> torch.Tensor:
    """What agents with observations (B, N, O) remember at the start of an episode: zeros."""
    return obs.new_zeros(*obs.shape[:2], actor.memory_width)


def _mean_speed(env: ArrayEnv) -> float:
    """m/s, over the agents of all replicas that are there; 0 without one."""
    states, agents = env.states, env.columns
    speeds = states.speed[:, agents][states.present[:, agents]]
    return float(speeds.mean()) if speeds.size else 0.0


def _over_time(columns: Sequence[NDArray[Any]]) -> torch.Tensor:
    """T arrays (B, ...) as (B, T, ...)."""
    return torch.from_numpy(np.stack(columns, axis=1))
