"""Updates, model training and model rollouts, on data that SUMO has made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import torch

from trafficrl.algorithms.dmpo import DMPO
from trafficrl.algorithms.imagination import imagine
from trafficrl.algorithms.rollout import Rollout
from trafficrl.benchmarks.measuring import Block, Case, Group
from trafficrl.config import load_scenario
from trafficrl.training.seeding import update_streams
from trafficrl.training.setup import make_algorithm
from trafficrl.training.shard import Shard, acting_weights


class Learner:
    """A learner with a rollout of its own scenario, made when it is first needed."""

    def __init__(self, scenario: str, *overrides: str, device: str = "cpu") -> None:
        self.config = load_scenario(scenario, overrides)
        self.settings: Any = getattr(self.config.algorithms, self.config.training.algorithm)
        self.device = device
        self.streams = update_streams(0, device)

    @cached_property
    def algorithm(self) -> Any:
        """With fresh weights."""
        return self._made[0]

    @cached_property
    def rollout(self) -> Rollout:
        """What the algorithm's fresh policies do."""
        return self._made[1]

    @cached_property
    def _made(self) -> tuple[Any, Rollout]:
        config = self.config
        shard = Shard(config)
        try:
            algorithm = make_algorithm(
                config.training.algorithm, config, shard.open().widths, seed=0, device=self.device
            )
            haul = shard.collect(
                acting_weights(algorithm, config.n_agents),
                sim_steps=self.settings.rollout_steps,
                since=0,
                iteration=1,
            )
        finally:
            shard.close()
        return algorithm, haul.collected.rollout

    def case(self, name: str, unit: str, work: Callable[[], int]) -> Case:
        """One that works with this learner, which stays from round to round."""

        @contextmanager
        def prepare() -> Iterator[Block]:
            _ = self.rollout  # not a part of the work
            yield work

        return Case(name, unit, prepare)

    def update(self) -> int:
        """One update from the rollout; returns the simulation steps that it was made of."""
        self.algorithm.update(self.rollout, self.streams, 0.0)
        return int(self.settings.rollout_steps * self.config.training.replicas)


class Model(Learner):
    """A learner with a dynamics model, which has seen some data."""

    @cached_property
    def learner(self) -> DMPO:
        """The algorithm."""
        assert isinstance(self.algorithm, DMPO)
        self.algorithm.dynamics.add(self.rollout, self.streams.model)
        return self.algorithm

    def train(self) -> int:
        """One training of the model; returns its gradient steps."""
        return int(self.learner.dynamics.train(self.streams.model)["model_updates"])

    def imagine(self) -> int:
        """A rollout in the model; returns the steps of its branches."""
        s, learner = self.learner.settings, self.learner
        rows = learner.dynamics.experience.rows(newest=s.branch_rollouts)
        draw = torch.randint(
            len(rows),
            (s.branches,),
            generator=self.streams.model,
            device=self.streams.model.device,
        )
        rows = rows[draw.to(rows.device)]
        imagine(learner.base, learner.dynamics, rows, s.branch_length, self.streams.model)
        return int(s.branches * s.branch_length)


def learning() -> Group:
    """What an update costs, by simulation step or by gradient step, with the shipped settings."""
    # Without a limit of KL: updates on the same data again would skip most of their policy steps.
    ppo = Learner("ring", "training.algorithm=dppo", "algorithms.dppo.target_kl=null")
    sac = Learner("catchup", "training.algorithm=dsac")
    ring = Model("ring", "training.algorithm=dmpo")
    platoon = Model("catchup", "training.algorithm=dmpo")
    return Group(
        [
            ppo.case("PPO update, ring", "simulation steps", ppo.update),
            sac.case("SAC update, catch-up", "simulation steps", sac.update),
            ring.case("model training, ring", "gradient steps", ring.train),
            platoon.case("model training, catch-up", "gradient steps", platoon.train),
            ring.case("model rollout, ring", "steps of a branch", ring.imagine),
            platoon.case("model rollout, catch-up", "steps of a branch", platoon.imagine),
        ]
    )
