"""All simulations of a training, in this process or in workers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Protocol

from trafficrl.config import ScenarioConfig
from trafficrl.errors import TrafficRLError
from trafficrl.simulation.sumo_warnings import Tally
from trafficrl.training.collector import Collected
from trafficrl.training.episodes import EpisodeSummary
from trafficrl.training.processes import Processes
from trafficrl.training.shard import Opening, Shard, State, Weights
from trafficrl.training.workers import Call, Pool, RemoteShard, WorkerLost


class Member(Protocol):
    """A shard, wherever it is; a call begins with ``start`` and ends with ``result``.

    ``result`` raises ``WorkerLost`` where its worker was lost and another one has the call.
    """

    def start(self, call: Call, state: State | None = None) -> None: ...
    def result(self) -> Any: ...
    @property
    def state(self) -> State | None: ...
    def leave(self) -> None: ...
    def close(self) -> Tally: ...


class LocalShard:
    """The shard of this process."""

    def __init__(self, config: ScenarioConfig) -> None:
        self.shard = Shard(config)
        self.close = self.shard.close
        self._result: Any = None

    @property
    def state(self) -> State:
        """How to go on after the last call."""
        return self.shard.collector.state_dict()

    def start(self, call: Call, state: State | None = None) -> None:
        """Call it, from a saved state if there is one."""
        if state is not None:
            self.shard.load_state_dict(state)
        self._result = getattr(self.shard, call.method)(**call.arguments)

    def result(self) -> Any:
        """What that came to."""
        return self._result

    def leave(self) -> None:
        """It ends with ``close``."""


class Fleet:
    """``training.simulations`` shards.

    ``workers`` of them collect at the same time, each in a process of its own, or in a worker
    of another pool; with 0 the only one is in this process. What is collected is the same.
    """

    def __init__(self, config: ScenarioConfig, workers: int | Pool = 0) -> None:
        count = config.training.simulations
        pool = Processes(workers) if isinstance(workers, int) else workers
        if pool.size == 0 and count > 1:
            raise TrafficRLError(
                f"training.simulations: {count} need workers (a process holds one; 1 or more)"
            )
        self._losses: list[str] = []  # of workers, since they were last taken
        self.lost = 0  # workers, in all
        self.given_up = 0  # how often running episodes had to be
        self.members: Sequence[Member] = ()
        self._tally = Tally()  # of SUMO's warnings, since they were last taken
        self._at_once = max(1, pool.size)
        self.members = (
            [RemoteShard(config, index, pool, self._count_loss) for index in range(count)]
            if pool.size
            else [LocalShard(config)]
        )
        try:
            openings: list[Opening] = self._all(Call("open"))
        except BaseException:
            self.close()
            raise
        self.widths = openings[0].widths

    def collect(self, weights: Weights, *, sim_steps: int, since: int, iteration: int) -> Collected:
        """About ``sim_steps`` of every replica of every simulation, as ``Shard.collect``."""
        arguments = {"sim_steps": sim_steps, "since": since, "iteration": iteration}
        hauls = self._all(Call("collect", {"weights": weights, **arguments}))
        for haul in hauls:
            self._tally.merge(haul.warnings)
        return Collected.merge([haul.collected for haul in hauls])

    def validate(self, weights: Weights, *, iteration: int) -> list[EpisodeSummary]:
        """Validation episodes, in the first simulation."""
        first = self.members[0]
        first.start(Call("validate", {"weights": weights, "iteration": iteration}))
        [validated] = results([first])
        self._tally.merge(validated.warnings)
        episodes: list[EpisodeSummary] = validated.episodes
        return episodes

    def state_dict(self) -> list[State]:
        """How to go on, of each simulation."""
        return [state for member in self.members if (state := member.state) is not None]

    def load_state_dict(self, states: Sequence[State]) -> None:
        """Go on from saved states; ``ValueError`` if they are of another number of simulations."""
        self._all(Call("open"), states)

    def take_warnings(self) -> Tally:
        """SUMO's warnings since the last time."""
        taken, self._tally = self._tally, Tally()
        return taken

    def take_losses(self) -> list[str]:
        """Of which simulations workers were lost since the last time, and how."""
        taken, self._losses = self._losses, []
        return taken

    def close(self) -> None:
        """End all simulations."""
        for member in self.members:
            member.leave()
        for member in self.members:
            self._tally.merge(member.close())

    def _all(self, call: Call, states: Sequence[State] | None = None) -> list[Any]:
        """Call all shards, ``workers`` at the same time, from saved states if there are any."""
        none = [None] * len(self.members)
        jobs = list(zip(self.members, none if states is None else states, strict=True))
        found = []
        for begin in range(0, len(jobs), self._at_once):
            some = jobs[begin : begin + self._at_once]
            for member, state in some:
                member.start(call, state)
            found += results([member for member, _ in some])
        return found

    def _count_loss(self, index: int, how: str, gives_up: bool) -> None:
        self.lost += 1
        self.given_up += gives_up
        what = "; its running episodes are given up for others" if gives_up else ""
        self._losses.append(f"the worker of simulation {index} {how} and was replaced{what}")


def results(members: Sequence[Member]) -> list[Any]:
    """What the calls of all came to; those of lost workers are made again beside each other."""
    found: dict[int, Any] = {}
    while len(found) < len(members):
        for place, member in enumerate(members):
            if place not in found:
                with suppress(WorkerLost):  # another one has been asked
                    found[place] = member.result()
    return [found[place] for place in range(len(members))]
