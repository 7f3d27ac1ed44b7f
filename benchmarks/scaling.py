"""What a vehicle costs among 22 and among 1,000, on rings that are equally dense."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import torch

from trafficrl.algorithms.imagination import imagine
from trafficrl.algorithms.rollout import Links, Rollout
from trafficrl.benchmarks.environment import ENDLESS
from trafficrl.benchmarks.measuring import Block, Case, Group, Ratio
from trafficrl.config import ScenarioConfig, load_scenario
from trafficrl.envs.array_env import ArrayEnv
from trafficrl.graph import Neighbourhood, VehicleGraph
from trafficrl.memory import give_back_freed
from trafficrl.training.links import LinkTracker
from trafficrl.training.seeding import update_streams
from trafficrl.training.setup import make_algorithm

SIZES = (22, 100, 316, 1000)  # vehicles
METRES_EACH = 260.0 / 22  # of road
MOST = 1.3  # times the cost among the fewest
UNIT = "vehicle steps"
ENOUGH = 20_000  # vehicle steps of a block, at least
INTERVALS = 512  # control intervals of a rollout
GRADIENT_STEPS = 4  # of models
SAC_STEPS = 1  # gradient steps
BRANCHES, BRANCH_LENGTH = 128, 4


def scaling(shared: bool) -> Group:
    """Environment, inference, updates and model for ``SIZES``, with shared or separate weights."""
    cases, ratios = [], []
    for size in SIZES:
        parts = {
            **costs(size, shared=shared),
            "environment, SUMO's own step left out": standing(size),
        }
        for name, prepare in parts.items():
            case, base = f"{name}, {size} vehicles", f"{name}, {SIZES[0]} vehicles"
            cases.append(Case(case, UNIT, prepare))
            if size != SIZES[0]:
                ratios.append(Ratio(f"{name}, {size} to {SIZES[0]}", case, base, MOST))
    return Group(cases, ratios)


def full_replay(shared: bool) -> Group:
    """SAC of the most vehicles, its replay of the default size filled, learned from and saved."""
    weights = "shared" if shared else "separate"

    @contextmanager
    def prepare() -> Iterator[Block]:
        steps = [f"updates_per_interval={SAC_STEPS / INTERVALS}"]
        one = Noise(SIZES[-1], "dsac", shared, steps, "cpu")

        def block() -> int:
            replay = one.algorithm.replay
            while len(replay) < replay.capacity:
                one.algorithm.remember(one.rollout, one.streams)
                give_back_freed()  # as a training does between updates
            one.update()
            with tempfile.TemporaryFile() as file:
                torch.save(one.algorithm.state_dict(), file)
            return int(replay.capacity)

        yield block

    name = f"full replay of {SIZES[-1]} vehicles, {weights} weights"
    return Group([Case(name, "control intervals", prepare, warm=False)], [])


def costs(vehicles: int, *, shared: bool, device: str = "cpu") -> dict[str, Callable[[], Any]]:
    """What learners of so many vehicles do, each for ``Case.prepare``."""
    ppo = Noise(vehicles, "dppo", shared, ["epochs=1", "target_kl=null"], device)
    few = [f"updates_per_interval={SAC_STEPS / INTERVALS}", f"replay_size={INTERVALS}"]
    sac = Noise(vehicles, "dsac", shared, few, device)
    steps = [f"model.max_updates={GRADIENT_STEPS}", f"model.check_every={GRADIENT_STEPS + 1}"]
    model = NoiseModel(vehicles, "dmpo", shared, steps, device)
    return {
        "inference": ppo.prepared(ppo.inference),
        "PPO update": ppo.prepared(ppo.update),
        "SAC update": sac.prepared(sac.update),
        "model training": model.prepared(model.training),
        "model rollout": model.prepared(model.imagined),
    }


def ring_of(vehicles: int, *overrides: str) -> ScenarioConfig:
    """The scenario ``ring`` with so many vehicles, as dense as with 22."""
    size = [f"vehicles.0.count={vehicles}", f"network.length_m={METRES_EACH * vehicles:.1f}"]
    return load_scenario("ring", [*size, *overrides])


def ring_links(vehicles: int, value_hops: int) -> Links:
    """The links of that ring."""
    leader = np.roll(np.arange(vehicles), 1)
    edges = np.stack([np.arange(vehicles), leader], axis=1)
    graph = VehicleGraph([f"cav_{i}" for i in range(vehicles)], edges, leader)
    return Links(_tensors(graph.neighbourhood(1)), _tensors(graph.neighbourhood(value_hops)))


def standing(vehicles: int) -> Callable[[], Any]:
    """An environment whose SUMO does not step: states are read, speeds commanded as ever."""

    @contextmanager
    def prepare() -> Iterator[Block]:
        env = ArrayEnv(ring_of(vehicles, ENDLESS), seed=0)
        env.reset()
        sumo = env.world._simulation
        sumo._calls = sumo._calls._replace(step=lambda: None)
        links, action = LinkTracker(env, 3), np.full((1, vehicles, 1), 0.1, dtype=np.float32)

        def block() -> int:
            before = env.steps
            for _ in range(max(1, ENOUGH // (vehicles * env.interval))):
                env.step(action)
                links.now()
            return (env.steps - before) * vehicles

        try:
            yield block
        finally:
            env.close()

    return prepare


class Noise:
    """A learner of the scenario ``ring`` with its settings, and a rollout of noise.

    What the numbers are does not matter to what they cost. Everything is made
    when it is first needed.
    """

    def __init__(
        self, vehicles: int, name: str, shared: bool, settings: Sequence[str], device: str
    ) -> None:
        base = f"algorithms.{name}" + (".base" if name == "dmpo" else "")
        share = f"{base}.share_parameters={str(shared).lower()}"
        own = [f"algorithms.{name}.{one}" for one in settings]
        self.config = ring_of(vehicles, f"training.algorithm={name}", share, *own)
        self.name, self.device, self.vehicles = name, device, vehicles
        self.links = ring_links(vehicles, getattr(self.config.algorithms, name).value_hops)
        self.streams = update_streams(0, device)

    def prepared(self, work: Callable[[], int]) -> Callable[[], Any]:
        """For ``Case.prepare``."""

        @contextmanager
        def prepare() -> Iterator[Block]:
            _ = self.algorithm, self.rollout  # not a part of the work

            def block() -> int:
                done = work()
                while done < ENOUGH:
                    done += work()
                return done

            yield block

        return prepare

    @cached_property
    def algorithm(self) -> Any:
        """With fresh weights."""
        widths = self.links.policy[0].shape[-1], self.links.value[0].shape[-1]
        return make_algorithm(self.name, self.config, widths, seed=0, device=self.device)

    @cached_property
    def actor(self) -> Any:
        """Its policies on the CPU, where vehicles are driven."""
        return self.algorithm.actor(torch.arange(self.vehicles))

    @cached_property
    def rollout(self) -> Rollout:
        """Standard normal, on the CPU, without an end of an episode."""
        draw, shape = torch.Generator().manual_seed(0), (1, INTERVALS, self.vehicles)
        features = len(self.config.observation)
        obs = torch.randn(1, INTERVALS + 1, self.vehicles, features, generator=draw)
        never, nothing = torch.zeros(shape[:2], dtype=torch.bool), torch.empty(*shape, 0)
        return Rollout(
            obs=obs[:, :-1],
            action=torch.randn(*shape, 1, generator=draw).clamp(-1.0, 1.0),
            log_prob=torch.randn(shape, generator=draw),
            reward=torch.randn(shape, generator=draw),
            next_obs=obs[:, 1:],
            terminated=never,
            truncated=never.clone(),
            active=~never,
            memory=nothing,
            next_memory=nothing,
            links=self.links,
            next_links=self.links,
        )

    def inference(self) -> int:
        """What all vehicles do in one state."""
        obs, memory = self.rollout.obs[:, 0], self.rollout.memory[:, 0]
        self.actor.act(obs, self.links, memory, self.streams.minibatches)
        return self.vehicles

    def update(self) -> int:
        """An update on the rollout; of SAC, ``SAC_STEPS`` batches."""
        self.algorithm.update(self.rollout, self.streams, 0.0)
        if self.name == "dsac":
            return SAC_STEPS * int(self.algorithm.settings.batch_size) * self.vehicles
        return INTERVALS * self.vehicles


class NoiseModel(Noise):
    """A learner with dynamics models that have seen the rollout."""

    @cached_property
    def dynamics(self) -> Any:
        """The models."""
        self.algorithm.dynamics.add(self.rollout, self.streams.model)
        return self.algorithm.dynamics

    def training(self) -> int:
        """Gradient steps of the models, without the errors that are measured afterwards."""
        s, dynamics = self.dynamics.settings, self.dynamics
        starts = dynamics.experience.windows(s.sequence_length, held_out=False)
        for model, optim in zip(dynamics.models, dynamics._optims, strict=True):
            dynamics._fit(model, optim, starts, self.streams.model)
        return GRADIENT_STEPS * int(s.batch_size) * int(s.sequence_length) * self.vehicles

    def imagined(self) -> int:
        """Branched rollouts in the models."""
        rows = self.dynamics.experience.rows()[:BRANCHES]
        imagine(self.algorithm.base, self.dynamics, rows, BRANCH_LENGTH, self.streams.model)
        return len(rows) * BRANCH_LENGTH * self.vehicles


def _tensors(one: Neighbourhood) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(one.index), torch.from_numpy(one.mask)
