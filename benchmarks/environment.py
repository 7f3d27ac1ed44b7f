"""The array environment and collection beside SUMO's own step, in the same traffic."""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np

from trafficrl.benchmarks import compiled
from trafficrl.benchmarks.measuring import Block, Case, Group, Ratio
from trafficrl.config import ScenarioConfig, load_scenario
from trafficrl.envs.array_env import ArrayEnv
from trafficrl.simulation.vehicles import Calls
from trafficrl.training.setup import make_algorithm
from trafficrl.training.shard import Shard, acting_weights

VEHICLE_STEPS = 22 * 1600  # of a block
UNIT = "simulation steps"
REPLICAS = (1, 4, 16)
TARGETS = {("environment", 1): 1.5, ("environment", 16): 1.35, ("collection", 16): 2.0}
ENDLESS = "episode.steps=1000000000"
SET_OFF_S = 6.0  # in which the vehicles get going
SET_OFF_MPS2 = 0.5
EVERY_STEP = "episode.control_interval_s=0.1"  # instead of 0.5 s


def environment() -> Group:
    """Bare ``simulationStep``, the array environment, and collection, for B replicas."""
    cases, ratios = [], []
    for replicas in REPLICAS:
        held, every = ring(replicas), ring(replicas, EVERY_STEP)
        base = f"simulationStep, B = {replicas}"
        cases.append(Case(base, UNIT, Bare(held)))
        for name, prepared in (
            *((("the same from C++", Compiled(held)),) if compiled.COMPILER else ()),
            ("all read and commanded", Talking(held)),
            ("environment", Stepped(held)),
            ("environment, every step", Stepped(every)),
            ("collection", Collected(held)),
        ):
            case = f"{name}, B = {replicas}"
            cases.append(Case(case, UNIT, prepared))
            target = TARGETS.get((name, replicas))
            ratios.append(Ratio(f"{case} / simulationStep", case, base, target))
    return Group(cases, ratios)


def ring(replicas: int, *overrides: str) -> ScenarioConfig:
    """B rings of 22 vehicles whose episodes do not end."""
    plain = (ENDLESS, f"training.replicas={replicas}", "training.algorithm=dppo")
    return load_scenario("ring", [*overrides, *plain])


class Prepared:
    """Makes blocks on a ring on which the vehicles have set off."""

    def __init__(self, config: ScenarioConfig) -> None:
        self.config = config
        replicas = config.training.replicas
        self.steps = max(40, VEHICLE_STEPS // (config.n_vehicles * replicas))
        self.shape = (replicas, config.n_agents, 1)

    def __call__(self) -> AbstractContextManager[Block]:
        """For ``Case.prepare``."""
        raise NotImplementedError

    @contextmanager
    def moving(self) -> Iterator[ArrayEnv]:
        """An environment in which all have set off."""
        env = ArrayEnv(self.config, replicas=self.shape[0], seed=0)
        try:
            env.reset(np.random.default_rng(0))
            action = np.full(self.shape, SET_OFF_MPS2, dtype=np.float32)
            for _ in range(round(SET_OFF_S / self.config.episode.control_interval_s)):
                env.step(action)
            yield env
        finally:
            env.close()


class Stepped(Prepared):
    """The array environment with small accelerations, one up for one down."""

    @contextmanager
    def __call__(self) -> Iterator[Block]:
        with self.moving() as env:
            rng = np.random.default_rng(0)
            noise = [rng.uniform(-0.1, 0.1, self.shape).astype(np.float32) for _ in range(32)]
            actions = [sign * one for one in noise for sign in (1, -1)]

            def block() -> int:
                before = env.steps
                for index in range(self.steps // env.interval):
                    env.step(actions[index % len(actions)])
                return env.steps - before

            yield block


class Bare(Prepared):
    """SUMO alone, its vehicles at the speeds that they were commanded last."""

    @contextmanager
    def __call__(self) -> Iterator[Block]:
        import libsumo

        with self.moving():
            step = Calls.of(libsumo).step

            def block() -> int:
                for _ in range(self.steps):
                    step()
                return self.steps

            yield block


class Talking(Prepared):
    """The least that an environment does: libsumo's functions for each vehicle, without wrappers.

    Speeds and odometers are read, and speeds commanded; nothing is computed.
    """

    @contextmanager
    def __call__(self) -> Iterator[Block]:
        import libsumo

        with self.moving():
            calls, ids = Calls.of(libsumo), libsumo.vehicle.getIDList()

            def block() -> int:
                for _ in range(self.steps):
                    speeds = list(map(calls.get_speed, ids))
                    deque(map(calls.get_distance, ids), maxlen=0)
                    deque(map(calls.set_speed, ids, speeds), maxlen=0)
                    calls.step()
                return self.steps

            yield block


class Compiled(Prepared):
    """Speeds and odometers are read and speeds commanded by a compiled loop."""

    @contextmanager
    def __call__(self) -> Iterator[Block]:
        import libsumo

        with self.moving():
            ids = libsumo.vehicle.getIDList()
            calls, step, count = compiled.library(), Calls.of(libsumo).step, len(ids)
            calls.watch(
                (ctypes.c_char_p * count)(*(one.encode() for one in ids)), ctypes.c_long(count)
            )
            speeds, distances = np.empty(count), np.empty(count)
            where = [ctypes.c_void_p(one.ctypes.data) for one in (speeds, distances)]

            def block() -> int:
                for _ in range(self.steps):
                    calls.read(*where)
                    calls.command(where[0])
                    step()
                return self.steps

            yield block


class Collected(Prepared):
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


PREPARED: dict[str, type[Prepared]] = {
    "simulationStep": Bare,
    "all read and commanded": Talking,
    **({"the same from C++": Compiled} if compiled.COMPILER else {}),
    "environment": Stepped,
    "collection": Collected,
}
