"""One simulation of a training, with the policies that drive in it: collects and validates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trafficrl.algorithms import Algorithm
from trafficrl.algorithms.base import Policies
from trafficrl.config import ScenarioConfig
from trafficrl.envs.array_env import ArrayEnv
from trafficrl.memory import give_back_freed
from trafficrl.simulation.sumo_warnings import Tally
from trafficrl.training.collector import Collected, Collector, fresh_memory
from trafficrl.training.episodes import EpisodeRecorder, EpisodeSummary
from trafficrl.training.links import LinkTracker
from trafficrl.training.seeding import numpy_stream, torch_stream
from trafficrl.training.trained import fresh_algorithm

Weights = dict[str, dict[str, Tensor]]
State = dict[str, Any]


def acting_weights(algorithm: Algorithm, n_agents: int) -> Weights:
    """The weights that acting needs, on the CPU."""
    parts = algorithm.actor(torch.arange(n_agents)).acting_parts
    return {
        name: {key: value.detach().cpu() for key, value in part.state_dict().items()}
        for name, part in parts.items()
    }


@dataclass(slots=True)
class Haul:
    """What a shard has collected, SUMO's warnings meanwhile, and how to go on from there."""

    collected: Collected
    warnings: Tally
    state: State


@dataclass(slots=True)
class Opening:
    """What a shard is like before anything is collected."""

    widths: tuple[int, int]  # K of the policies' and of the critics' neighbourhoods
    state: State


@dataclass(slots=True)
class Validated:
    """Validation episodes and SUMO's warnings in them."""

    episodes: list[EpisodeSummary]
    warnings: Tally


class Shard:
    """Simulation number ``index`` of a training, in this process.

    Its random streams are its own, whatever other shards there are. It acts with
    the weights that it is given, on the CPU.
    """

    def __init__(self, config: ScenarioConfig, index: int = 0) -> None:
        settings = config.training
        self._config = config
        self.env = ArrayEnv(config, replicas=settings.replicas)
        try:
            self.env.rng = numpy_stream("environment", settings.seed, index)
            self.env.world.crossing_collisions = settings.crossing_collisions
            self.env.world.warnings_belong_to(None)
            # The shapes of networks need a graph, a graph needs vehicles.
            self.env.reset(numpy_stream("validation", settings.seed))
            learner = getattr(config.algorithms, settings.algorithm)
            self._widths = LinkTracker(self.env, learner.value_hops).widths()
            self.actor = self._make_actor(learner)
            give_back_freed()  # the critics and moments that it came with
        except BaseException:
            self.env.close()
            raise
        self.collector = Collector(
            self.env,
            self.actor,
            torch_stream("policy", settings.seed, index=index),
            value_hops=learner.value_hops,
            gamma=learner.gamma,
        )

    def open(self) -> Opening:
        """What is to be known before the first rollout."""
        return Opening(self._widths, self.collector.state_dict())

    def collect(self, weights: Weights, *, sim_steps: int, since: int, iteration: int) -> Haul:
        """As ``Collector.collect``, for update number ``iteration``."""
        self.actor.take_weights(weights)
        self._warnings_of("training", iteration)
        collected = self.collector.collect(sim_steps, since=since)
        return Haul(collected, self.env.world.take_warnings(), self.collector.state_dict())

    def validate(self, weights: Weights, *, iteration: int) -> Validated:
        """Drive validation episodes with the deterministic policies, after an update."""
        self.actor.take_weights(weights)
        before = self.collector.state_dict()
        self._warnings_of("validation", iteration)
        with self._every_collision_counts():
            episodes = self._validation_episodes()
        # Drives the running episode again, in which collisions count as they did; SUMO's
        # warnings would be counted twice.
        self.env.world.warnings_belong_to(None)
        self.collector.load_state_dict(before)
        return Validated(episodes, self.env.world.take_warnings())

    @staticmethod
    def without_episode(state: State) -> State:
        """A saved state whose running episodes are given up: others begin, with other draws."""
        rng = np.random.default_rng()
        rng.bit_generator.state = state["environment"]
        rng.random()  # a whole word, where draws of less than one are kept for the next
        return {
            **state,
            "environment": rng.bit_generator.state,
            "actions": None,
            "memory": None,
        }

    def load_state_dict(self, state: State) -> None:
        """Go on from a saved state."""
        self.env.world.warnings_belong_to(None)
        self.collector.load_state_dict(state)

    def close(self) -> Tally:
        """End the simulation; returns the warnings that it held back until now."""
        self.env.close()
        return self.env.world.take_warnings()

    # ------------------------------------------------------------------

    def _make_actor(self, learner: Any) -> Policies:
        config = self._config
        algorithm = fresh_algorithm(
            config.training.algorithm,
            learner,
            config.observation,
            config.action,
            self.env.n_agents,
            self._widths,
        )
        return algorithm.actor(torch.arange(self.env.n_agents))

    def _warnings_of(self, phase: str, iteration: int) -> None:
        self.env.world.warnings_belong_to({"iteration": iteration, "phase": phase})

    @contextmanager
    def _every_collision_counts(self) -> Iterator[None]:
        world = self.env.world
        before, world.crossing_collisions = world.crossing_collisions, True
        try:
            yield
        finally:
            world.crossing_collisions = before

    def _validation_episodes(self) -> list[EpisodeSummary]:
        """At least ``validate_episodes``, in whole batches of replicas."""
        env, settings = self.env, self._config.training
        rng = numpy_stream("validation", settings.seed)
        recorder = EpisodeRecorder(env)
        summaries: list[EpisodeSummary] = []
        while len(summaries) < settings.validate_episodes:
            obs = torch.from_numpy(env.reset(rng))
            memory = fresh_memory(self.actor, obs)
            recorder.begin()
            while not env.done:
                decision = self.actor.act(obs, self.collector.links.now(), memory, None)
                memory = decision.memory
                step = env.step(decision.action.numpy())
                obs = torch.from_numpy(step.obs)
                summaries += recorder.add(step)
        return summaries
