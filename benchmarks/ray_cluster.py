"""What collection in a Ray cluster costs, beside processes of this machine.

    python benchmarks/ray_cluster.py benchmarks/results/ray.json

The cluster is one of two nodes on this machine (4 logical CPUs each, whatever there is). Bytes
are those of messages, as they are sent. Seconds are medians of rollouts that the fleets make in
turn; CPU seconds are of the learner's process with all its threads. Beside rollouts there are
what one simulation does alone while the others wait, which is to validate, and what the loss of
all actors costs.
"""

from __future__ import annotations

import json
import os
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click
import torch

from trafficrl import cluster
from trafficrl.config import ScenarioConfig, load_scenario
from trafficrl.training.channel import pack, unpack
from trafficrl.training.collector import Collected
from trafficrl.training.fleet import Fleet
from trafficrl.training.provenance import provenance
from trafficrl.training.ray_actors import Actor, Actors
from trafficrl.training.seeding import update_streams
from trafficrl.training.setup import make_algorithm
from trafficrl.training.shard import Weights, acting_weights
from trafficrl.training.workers import Call, Pool, RemoteShard

Figures = dict[str, Any]

CASES = {"ring, dppo": "ring", "ring, dmpo": "ring", "catchup, dmpo": "catchup"}
SIMULATIONS = (1, 2)
LOST = 6  # actors at once
MACHINES = (1, 10, 100)  # of which is said how often they validate


def configuration(case: str, simulations: int) -> ScenarioConfig:
    """The shipped scenario with an algorithm."""
    algorithm = case.split()[-1]
    settings = [f"training.algorithm={algorithm}", f"training.simulations={simulations}"]
    return load_scenario(CASES[case], settings)


class Rollouts:
    """A fleet and what its rollouts cost."""

    def __init__(self, config: ScenarioConfig, workers: int | Pool) -> None:
        begun = time.perf_counter()
        self.fleet = Fleet(config, workers)
        self.starts_s = time.perf_counter() - begun
        self.seconds: list[float] = []
        self.cpu_seconds: list[float] = []

    def collect(self, arguments: dict[str, Any]) -> Collected:
        """The next rollout of all simulations."""
        begun, cpu = time.perf_counter(), time.process_time()
        collected = self.fleet.collect(**arguments)
        self.seconds.append(time.perf_counter() - begun)
        self.cpu_seconds.append(time.process_time() - cpu)
        return collected

    def figures(self) -> dict[str, float]:
        """Medians, s; the first rollout is not among them."""
        return {
            "starts_s": self.starts_s,
            "collect_s": statistics.median(self.seconds[1:]),
            "collect_learner_cpu_s": statistics.median(self.cpu_seconds[1:]),
        }


def fleets(stack: ExitStack, case: str) -> dict[str, Rollouts]:
    """By where their workers are, and how many simulations they have."""
    pools: dict[str, Callable[[int], int | Pool]] = {
        "processes": lambda simulations: simulations,
        "ray": lambda simulations: Actors(),
    }
    made = {}
    for name, pool in pools.items():
        for simulations in SIMULATIONS:
            one = Rollouts(configuration(case, simulations), pool(simulations))
            stack.callback(one.fleet.close)
            made[f"{name}, {simulations}"] = one
    return made


def validation(fleet: Fleet, config: ScenarioConfig, weights: Weights, repeats: int) -> Figures:
    """What the first simulation does alone, and what is sent to its machine for it."""
    call = Call("validate", {"weights": weights, "iteration": 1})
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        fleet.validate(weights, iteration=1)
        seconds.append(time.perf_counter() - begun)
    settings = config.training
    steps = getattr(config.algorithms, settings.algorithm).rollout_steps * settings.replicas
    every = settings.validate_every_steps
    return {
        "seconds": statistics.median(seconds),
        "episodes": settings.validate_episodes,
        "episode_sim_steps": config.episode.steps,
        "request": len(call.request),
        "per_update": {str(count): min(1.0, steps * count / every) for count in MACHINES},
    }


def losses() -> Figures:
    """Seconds of a fleet of actors to start, to be restored, and to be lost amid a rollout."""
    import ray

    config = configuration("ring, dppo", LOST)
    seconds = {}

    def timed(what: str, act: Callable[[], Any]) -> Any:
        begun = time.perf_counter()
        result = act()
        seconds[what] = time.perf_counter() - begun
        return result

    fleet: Fleet = timed("start_s", lambda: Fleet(config, Actors()))
    try:
        algorithm = make_algorithm("dppo", config, fleet.widths, seed=config.training.seed)
        weights = acting_weights(algorithm, config.n_agents)
        # Half an episode, so that there is one to be driven again.
        arguments = {"sim_steps": 1500, "since": 0, "iteration": 1}
        timed("collect_s", lambda: fleet.collect(weights, **arguments))
        timed("restore_s", lambda: fleet.load_state_dict(fleet.state_dict()))
        for name, lost in (("one_lost", fleet.members[:1]), ("all_lost", fleet.members)):
            for member in lost:
                assert isinstance(member, RemoteShard) and isinstance(member.worker, Actor)
                ray.kill(member.worker.handle)
            timed(f"collect_{name}_s", lambda: fleet.collect(weights, **arguments))
            fleet.load_state_dict(fleet.state_dict())
    finally:
        timed("close_s", fleet.close)
    return {"actors": LOST, "workers_lost": fleet.lost, **seconds}


def sizes(fleet: Fleet, arguments: dict[str, Any]) -> Figures:
    """Of the messages of one rollout of one simulation, in bytes."""
    [member] = fleet.members
    assert isinstance(member, RemoteShard)
    call = Call("collect", arguments)
    member.worker.ask(call.request)
    data = member.worker.answer(600.0)
    haul = unpack(data)["value"]
    rollout = haul.collected.rollout
    samples = haul.collected.sim_steps * rollout.obs.shape[2]
    return {
        "request": len(call.request),
        "answer": len(data),
        "state_in_answer": len(pack(haul.state)),
        "sim_steps": haul.collected.sim_steps,
        "vehicles": rollout.obs.shape[2],
        "answer_per_sim_step_and_vehicle": len(data) / samples,
    }


def update_s(config: ScenarioConfig, widths: tuple[int, int], collected: Collected) -> float:
    """CPU seconds of the first update with a rollout."""
    name, seed = config.training.algorithm, config.training.seed
    algorithm = make_algorithm(name, config, widths, seed=seed)
    streams = update_streams(seed)
    begun = time.process_time()
    algorithm.update(collected.rollout, streams, 0.0)
    return time.process_time() - begun


def measured(case: str, repeats: int) -> Figures:
    """All figures of a case."""
    config = configuration(case, 1)
    with ExitStack() as stack:
        all_of = fleets(stack, case)
        first = next(iter(all_of.values())).fleet
        algorithm = make_algorithm(
            config.training.algorithm, config, first.widths, seed=config.training.seed
        )
        steps = getattr(config.algorithms, config.training.algorithm).rollout_steps
        arguments = {
            "weights": acting_weights(algorithm, config.n_agents),
            "sim_steps": steps,
            "since": 0,
            "iteration": 1,
        }
        collected = {}
        for _ in range(repeats + 1):
            for name, one in all_of.items():
                collected[name] = one.collect(arguments)
        for simulations in SIMULATIONS:  # the same data, wherever it was collected
            here, there = (collected[f"{kind}, {simulations}"] for kind in ("processes", "ray"))
            assert torch.equal(here.rollout.obs, there.rollout.obs)
        return {
            "rollout_steps": steps,
            "replicas": config.training.replicas,
            "bytes": sizes(first, arguments),
            "fleets": {name: one.figures() for name, one in all_of.items()},
            "validation": validation(all_of["ray, 1"].fleet, config, arguments["weights"], repeats),
            "first_update_cpu_s": {
                str(simulations): update_s(
                    configuration(case, simulations),
                    first.widths,
                    collected[f"processes, {simulations}"],
                )
                for simulations in SIMULATIONS
            },
        }


@contextmanager
def two_nodes() -> Iterator[None]:
    """A connection to a cluster of its own."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  # as processes have it
    node: dict[str, Any] = {"num_cpus": 4, "object_store_memory": 200_000_000}
    made: Any = Cluster()
    made.add_node(**node, include_dashboard=False)
    made.add_node(**node)
    os.environ["RAY_ADDRESS"] = made.address
    try:
        with cluster.connect("ray://auto"):
            yield
    finally:
        made.shutdown()


@click.command()
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--repeats", type=click.IntRange(1), default=3, show_default=True)
@click.option("--case", "cases", multiple=True, type=click.Choice(list(CASES)), help="Only these")
def main(output: Path, repeats: int, cases: tuple[str, ...]) -> None:
    """Measure, and write OUTPUT."""
    torch.set_num_threads(1)
    machine = {key: value for key, value in provenance().items() if key != "command"}
    figures: dict[str, Any] = {"machine": machine, "repeats": repeats, "cases": {}}
    with two_nodes():
        for case in cases or CASES:
            figures["cases"][case] = measured(case, repeats)
            click.echo(f"{case}: {json.dumps(figures['cases'][case], indent=1)}")
        figures["losses"] = losses()
        click.echo(f"losses: {json.dumps(figures['losses'], indent=1)}")
    output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
