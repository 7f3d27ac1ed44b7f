"""Learners of N vehicles on a ring, with experience to learn from, for benchmarks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from trafficrl.algorithms import Streams
from trafficrl.algorithms.imagination import imagine
from trafficrl.algorithms.rollout import Links, Rollout
from trafficrl.config import ScenarioConfig, load_scenario
from trafficrl.graph import Neighbourhood, VehicleGraph
from trafficrl.training.seeding import torch_stream
from trafficrl.training.setup import make_algorithm

INTERVALS = 512  # of a rollout
BRANCHES, BRANCH_LENGTH = 128, 4
GRADIENT_STEPS = 4


@dataclass(frozen=True, slots=True)
class Part:
    """Something that is timed: what one call of ``run`` does, for how many vehicle steps."""

    run: Callable[[], Any]
    vehicle_steps: int
    prepare: Callable[[], Any] = lambda: None  # before each call, not timed


def ring_of(vehicles: int, *overrides: str) -> ScenarioConfig:
    """The scenario ``ring`` with so many vehicles, as dense as with 22."""
    length = 260.0 / 22 * vehicles
    return load_scenario(
        "ring", [f"vehicles.0.count={vehicles}", f"network.length_m={length:.1f}", *overrides]
    )


def ring_links(vehicles: int, value_hops: int) -> Links:
    """The links of that ring."""
    leader = np.roll(np.arange(vehicles), 1)
    edges = np.stack([np.arange(vehicles), leader], axis=1)
    graph = VehicleGraph([f"cav_{i}" for i in range(vehicles)], edges, leader)
    return Links(_tensors(graph.neighbourhood(1)), _tensors(graph.neighbourhood(value_hops)))


def streams(device: str = "cpu") -> Streams:
    """The random generators of an update."""
    return Streams(
        minibatches=torch_stream("minibatches", 0),
        actions=torch_stream("actions", 0, device),
        model=torch_stream("model", 0, device),
    )


class Learner:
    """An algorithm of the scenario ``ring``, and one rollout of noise to learn from.

    What the numbers are does not matter to what they cost.
    """

    def __init__(
        self,
        vehicles: int,
        algorithm: str,
        *,
        shared: bool,
        overrides: Sequence[str] = (),
        intervals: int = INTERVALS,
        device: str = "cpu",
    ) -> None:
        section = f"algorithms.{algorithm}" + (".base" if algorithm == "dmpo" else "")
        share = f"{section}.share_parameters={str(shared).lower()}"
        config = ring_of(vehicles, f"training.algorithm={algorithm}", share, *overrides)
        self.vehicles, self.intervals = vehicles, intervals
        hops = getattr(config.algorithms, algorithm).value_hops
        self.links = ring_links(vehicles, hops)
        widths = self.links.policy[0].shape[-1], self.links.value[0].shape[-1]
        self.algorithm: Any = make_algorithm(algorithm, config, widths, seed=0, device=device)
        self.streams = streams(device)
        self.rollout = self._rollout(len(config.observation))

    def _rollout(self, features: int) -> Rollout:
        draw, shape = torch.Generator().manual_seed(0), (1, self.intervals, self.vehicles)
        obs = torch.randn(1, self.intervals + 1, self.vehicles, features, generator=draw)
        never = torch.zeros(shape[:2], dtype=torch.bool)
        nothing = torch.empty(*shape, 0)
        return Rollout(
            obs=obs[:, :-1].clone(),
            action=torch.randn(*shape, 1, generator=draw).clamp(-1.0, 1.0),
            log_prob=torch.randn(shape, generator=draw),
            reward=torch.randn(shape, generator=draw),
            next_obs=obs[:, 1:].clone(),
            terminated=never,
            truncated=never.clone(),
            active=~never,
            memory=nothing,
            next_memory=nothing,
            links=self.links,
            next_links=self.links,
        )

    def inference(self) -> Part:
        """Actions of all vehicles in one state."""
        obs, memory = self.rollout.obs[:, 0], self.rollout.memory[:, 0]
        draw = torch.Generator().manual_seed(0)
        actor = self.algorithm.actor(torch.arange(self.vehicles))
        return Part(lambda: actor.act(obs, self.links, memory, draw), self.vehicles)

    def update(self) -> Part:
        """An update on the rollout."""
        return Part(
            lambda: self.algorithm.update(self.rollout, self.streams, 0.0),
            self.vehicles * self.intervals,
        )


def on_policy(vehicles: int, *, shared: bool, device: str = "cpu") -> Learner:
    """DPPO with one pass over the data in 4 minibatches."""
    one = ["algorithms.dppo.epochs=1", "algorithms.dppo.target_kl=null"]
    return Learner(vehicles, "dppo", shared=shared, overrides=one, device=device)


def off_policy(vehicles: int, *, shared: bool, device: str = "cpu") -> Learner:
    """DSAC with ``GRADIENT_STEPS`` gradient steps on 256 control intervals each."""
    few = f"algorithms.dsac.updates_per_interval={GRADIENT_STEPS / INTERVALS}"
    kept = f"algorithms.dsac.replay_size={INTERVALS}"
    return Learner(vehicles, "dsac", shared=shared, overrides=[few, kept], device=device)


class ModelLearner(Learner):
    """DMPO, whose replay has the rollout."""

    def __init__(self, vehicles: int, *, shared: bool, device: str = "cpu") -> None:
        few = f"algorithms.dmpo.model.max_updates={GRADIENT_STEPS}"
        never = f"algorithms.dmpo.model.check_every={GRADIENT_STEPS + 1}"
        super().__init__(vehicles, "dmpo", shared=shared, overrides=[few, never], device=device)
        self.algorithm.dynamics.add(self.rollout, self.streams.model)

    def training(self) -> Part:
        """``GRADIENT_STEPS`` gradient steps of the models, on 128 sub-trajectories of 4 each."""
        dynamics = self.algorithm.dynamics
        starts = dynamics.experience.windows(4, held_out=False)
        model, optim = dynamics.models[0], dynamics._optims[0]

        def run() -> None:
            dynamics._fit(model, optim, starts, self.streams.model)

        return Part(run, GRADIENT_STEPS * 128 * 4 * self.vehicles)

    def imagined(self) -> Part:
        """Branched rollouts in the models."""
        dynamics = self.algorithm.dynamics
        rows = dynamics.experience.rows()[:BRANCHES]

        def run() -> Rollout:
            base = self.algorithm.base
            return imagine(base, dynamics, rows, BRANCH_LENGTH, self.streams.model)

        return Part(run, len(rows) * BRANCH_LENGTH * self.vehicles)


def _tensors(one: Neighbourhood) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(one.index), torch.from_numpy(one.mask)
