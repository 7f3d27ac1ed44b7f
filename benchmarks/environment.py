"""The array environment and collection beside SUMO's own step, in the same traffic."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from trafficrl.benchmarks.measuring import Block, Case, Group, Ratio
from trafficrl.config import ScenarioConfig, load_scenario
from trafficrl.envs.array_env import ArrayEnv
from trafficrl.training.setup import make_algorithm
from trafficrl.training.shard import Shard, acting_weights

VEHICLE_STEPS = 22 * 1600  # of a block
REPLICAS = (1, 4, 16)
ENDLESS = "episode.steps=1000000000"
SET_OFF = 12  # control intervals in which the vehicles get going
SET_OFF_MPS2 = 0.5
PLAIN = [  # what DESIGN's figure reads: an action and an observation every simulation step
    "episode.control_interval_s=0.1",
]


def environment() -> Group:
    """Bare ``simulationStep``, the array environment, and collection, for B replicas."""
    cases, ratios = [], []
    for replicas in REPLICAS:
        config = _config(replicas)
        every = _config(replicas, PLAIN)
        names = {
            kind: f"{kind}, B = {replicas}"
            for kind in ("simulationStep", "environment", "environment, every step", "collection")
        }
        cases += [
            Case(names["simulationStep"], "simulation steps", _Bare(config)),
            Case(names["environment"], "simulation steps", _Stepped(config)),
            Case(names["environment, every step"], "simulation steps", _Stepped(every)),
            Case(names["collection"], "simulation steps", _Collected(config)),
        ]
        targets = {
            "environment": 1.5 if replicas == 1 else 1.35 if replicas == 16 else None,
            "environment, every step": None,
            "collection": 2.0 if replicas == 16 else None,
        }
        ratios += [
            Ratio(f"{names[kind]} / simulationStep", names[kind], names["simulationStep"], target)
            for kind, target in targets.items()
        ]
    return Group(cases, ratios)


def _config(replicas: int, overrides: list[str] | None = None) -> ScenarioConfig:
    return load_scenario(
        "ring",
        [
            *(overrides or []),
            *(ENDLESS, f"training.replicas={replicas}", "training.algorithm=dppo"),
        ],
    )


class _Prepared:
    """Makes blocks on a ring on which the vehicles have set off."""

    def __init__(self, config: ScenarioConfig) -> None:
        self.config = config
        replicas = config.training.replicas
        self.steps = max(40, VEHICLE_STEPS // (config.n_vehicles * replicas))
        self.shape = (replicas, config.n_agents, 1)

    def set_off(self, env: ArrayEnv) -> None:
        env.reset(np.random.default_rng(0))
        action = np.full(self.shape, SET_OFF_MPS2, dtype=np.float32)
        for _ in range(SET_OFF * round(0.5 / self.config.episode.control_interval_s)):
            env.step(action)


class _Stepped(_Prepared):
    """The array environment with small accelerations, one up for one down."""

    @contextmanager
    def __call__(self) -> Iterator[Block]:
        env = ArrayEnv(self.config, replicas=self.shape[0], seed=0)
        rng = np.random.default_rng(0)
        noise = [rng.uniform(-0.1, 0.1, self.shape).astype(np.float32) for _ in range(32)]
        actions = [sign * one for one in noise for sign in (1, -1)]
        self.set_off(env)

        def block() -> int:
            before = env.steps
            for index in range(self.steps // env.interval):
                env.step(actions[index % len(actions)])
            return env.steps - before

        try:
            yield block
        finally:
            env.close()


class _Bare(_Prepared):
    """SUMO alone, its vehicles at the speeds that they were commanded last."""

    @contextmanager
    def __call__(self) -> Iterator[Block]:
        import libsumo

        env = ArrayEnv(self.config, replicas=self.shape[0], seed=0)
        self.set_off(env)

        def block() -> int:
            for _ in range(self.steps):
                libsumo.simulationStep()
            return self.steps

        try:
            yield block
        finally:
            env.close()


class _Collected(_Prepared):
    """Policies that act, and everything that they see and do kept for learning."""

    @contextmanager
    def __call__(self) -> Iterator[Block]:
        shard = Shard(self.config)
        widths = shard.open().widths
        learner = make_algorithm(self.config.training.algorithm, self.config, widths, seed=0)
        weights = acting_weights(learner, self.config.n_agents)

        def block() -> int:
            haul = shard.collect(weights, sim_steps=self.steps, since=0, iteration=1)
            return haul.collected.sim_steps // self.shape[0]

        try:
            yield block
        finally:
            shard.close()
