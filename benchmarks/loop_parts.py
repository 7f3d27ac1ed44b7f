"""DMPO on catch-up, stacked and as a loop over agents, on the work of the authors' code.

That is in catchup_authors.yaml. A cycle is what lies between two trainings of the models:
``model_every`` iterations of one episode each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from trafficrl.algorithms import DMPO, Streams
from trafficrl.algorithms.imagination import imagine
from trafficrl.algorithms.rollout import Rollout
from trafficrl.benchmarks.loop_dmpo import Draw, LoopDMPO, draw_each
from trafficrl.benchmarks.measuring import Block, Case, Group, Ratio
from trafficrl.config import ScenarioConfig, load_scenario
from trafficrl.envs.array_env import ArrayEnv
from trafficrl.training.collector import Collector
from trafficrl.training.links import LinkTracker
from trafficrl.training.seeding import numpy_stream, torch_stream, update_streams
from trafficrl.training.setup import make_algorithm

SCENARIO = Path(__file__).with_name("catchup_authors.yaml")
# A cycle of two iterations in place of ten.
SHORT = ("algorithms.dmpo.model_every=2", "algorithms.dmpo.model.max_updates=100")
PARTS = ("collection", "model training", "imagination", "policy and critic updates")
COLLECTION, MODEL, IMAGINATION, UPDATES = PARTS
CYCLE = "whole cycle"
PRODUCTS = "matrix products, 8 times 2048x64 by 64x64"


@dataclass(frozen=True, slots=True)
class Part:
    """The same work by both."""

    name: str
    stacked: Callable[[], object]
    loop: Callable[[], object]


class Subjects:
    """Both implementations on one environment, with the same weights and one real rollout."""

    def __init__(
        self, config: ScenarioConfig, *, draw: Draw = draw_each, fused: bool = False
    ) -> None:
        self.config, self.settings = config, config.algorithms.dmpo
        seed = config.training.seed
        self.env = ArrayEnv(config)
        self.env.reset(numpy_stream("environment", seed))
        tracker = LinkTracker(self.env, self.settings.value_hops)
        stacked = make_algorithm("dmpo", config, tracker.widths(), seed=seed)
        assert isinstance(stacked, DMPO)
        self.stacked = stacked
        self.loop = LoopDMPO(stacked, tracker.now(), draw=draw, fused=fused)
        self.streams, self.loop_streams = self._streams(), self._streams()

    def rollout(self, actor: DMPO | LoopDMPO, sim_steps: int | None = None) -> Rollout:
        """A new episode, or so many simulation steps of it, driven by one of the two."""
        collector = Collector(
            self.env,
            actor,
            torch_stream("policy", self.config.training.seed),
            value_hops=self.settings.value_hops,
            gamma=self.settings.gamma,
        )
        return collector.collect(sim_steps or self.settings.rollout_steps).rollout

    def whole_episode(self) -> Rollout:
        """One in which nobody crashes, which most fresh policies manage now and then."""
        while True:
            rollout = self.rollout(self.stacked)
            if rollout.active.all():
                return rollout

    def remember(self, rollout: Rollout) -> None:
        """Have both take in real data."""
        self.stacked.dynamics.add(rollout, self.streams.model)
        self.stacked.base.remember(rollout, self.streams)
        self.loop.remember(rollout, self.loop_streams)

    def close(self) -> None:
        """End the simulation."""
        self.env.close()

    def _streams(self) -> Streams:
        seed = self.config.training.seed
        return update_streams(seed)


def parts(subjects: Subjects) -> list[Part]:
    """What a cycle consists of, both with real data and able to imagine."""
    stacked, loop, s = subjects.stacked, subjects.loop, subjects.settings
    here, there = subjects.streams, subjects.loop_streams
    subjects.remember(subjects.whole_episode())
    stacked.dynamics.train(here.model)
    loop.train_model(there.model)

    def imagined() -> Rollout:
        rows = stacked._branching_rows(here)
        return imagine(stacked.base, stacked.dynamics, rows, s.branch_length, here.model)

    def loop_imagined() -> object:
        return loop.imagine(loop.branching_rows(there.model), there.model)

    data, loop_data = imagined(), loop.imagine(loop.branching_rows(there.model), there.model)
    return [
        Part(
            COLLECTION,
            lambda: subjects.rollout(stacked),
            lambda: subjects.rollout(loop),
        ),
        Part(
            MODEL,
            lambda: stacked.dynamics.train(here.model),
            lambda: loop.train_model(there.model),
        ),
        Part(IMAGINATION, imagined, loop_imagined),
        Part(
            UPDATES,
            lambda: stacked.base.learn(data, here, 0.0),
            lambda: loop.learn(*loop_data, there),
        ),
    ]


def against_loop(overrides: Sequence[str] = SHORT) -> Group:
    """Each part, and a cycle of a fifth of the length with all in proportion, by both."""
    made: list[tuple[Subjects, dict[str, Part]]] = []

    @contextmanager
    def ready(name: str, who: str) -> Iterator[Block]:
        if not made:
            subjects = Subjects(load_scenario(SCENARIO, overrides))
            made.append((subjects, {part.name: part for part in parts(subjects)}))
        subjects, found = made[0]
        if name == CYCLE:
            yield lambda: cycle(subjects, loop=who == "loop")
            return
        work: Callable[[], object] = getattr(found[name], who)

        def block() -> int:
            work()
            return 1

        yield block

    units = {**dict.fromkeys(PARTS, "times"), CYCLE: "simulation steps"}
    cases = [
        Case(f"{name}, {who}", unit, partial(ready, name, who), warm=name != CYCLE)
        for name, unit in units.items()
        for who in ("stacked", "loop")
    ]
    return Group(
        [*cases, Case(PRODUCTS, "GFLOP", products)],
        [
            Ratio(
                f"loop over agents: {name}",
                case=f"{name}, stacked",
                base=f"{name}, loop",
                target=20.0 if name == CYCLE else None,
                faster=True,
            )
            for name in units
        ],
    )


@contextmanager
def products() -> Iterator[Block]:
    """What the core can do at best: the largest products that a policy of each agent makes."""
    rows, weights = torch.randn(8, 2048, 64), torch.randn(8, 64, 64)
    times = 50

    def block() -> float:
        for _ in range(times):
            torch.bmm(rows, weights)
        return times * 2e-9 * 8 * 2048 * 64 * 64

    yield block


def cycle(subjects: Subjects, *, loop: bool) -> int:
    """All iterations from one training of the models to the next; the simulation steps."""
    for _ in range(subjects.settings.model_every):
        if loop:
            subjects.loop.update(subjects.rollout(subjects.loop), subjects.loop_streams)
        else:
            subjects.stacked.update(subjects.rollout(subjects.stacked), subjects.streams, 0.0)
    return subjects.settings.model_every * subjects.settings.rollout_steps
