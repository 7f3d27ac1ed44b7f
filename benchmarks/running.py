"""Runs groups of benchmarks, each in a process of its own, and keeps what they come to."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from trafficrl import memory
from trafficrl.benchmarks.device import device
from trafficrl.benchmarks.environment import environment
from trafficrl.benchmarks.learning import learning
from trafficrl.benchmarks.loop_parts import against_loop
from trafficrl.benchmarks.measuring import Group, measure
from trafficrl.benchmarks.scaling import full_replay, scaling
from trafficrl.benchmarks.training import thousand, training, workers
from trafficrl.training.provenance import provenance

TRAININGS = (
    *(("catchup", algorithm) for algorithm in ("dppo", "dsac", "dmpo")),
    *(("ring", algorithm) for algorithm in ("dppo", "cppo", "ia2c", "ic3net", "dmpo")),
    *(("figure_eight", algorithm) for algorithm in ("dppo", "dmpo")),
)
GROUPS: dict[str, Callable[[], Group]] = {
    "environment": environment,
    "workers": workers,
    "learning": learning,
    "loop": against_loop,
    "scaling-separate": partial(scaling, shared=False),
    "scaling-shared": partial(scaling, shared=True),
    "device": device,
    **{f"train-{'-'.join(names)}": partial(training, *names) for names in TRAININGS},
}
GROUPS |= {
    f"1000-{name}-{weights}": partial(thousand, name, shared=weights == "shared")
    for name in ("dppo", "dsac", "dmpo")
    for weights in ("separate", "shared")
}
GROUPS |= {
    f"full-replay-{weights}": partial(full_replay, shared=weights == "shared")
    for weights in ("separate", "shared")
}
Content = dict[str, Any]


def run_groups(
    names: Sequence[str], rounds: int, started: Callable[[str], None]
) -> Iterator[Content]:
    """Figures of these groups as JSON holds them, so far: with those of one group more each time.

    ``started`` is told what begins. A group that fails has its ``error`` in place of figures.
    """
    groups: Content = {}
    for name in names:
        started(name)
        groups[name] = _in_a_process(name, rounds)
        yield {"machine": machine(), "rounds": rounds, "groups": groups}


def machine() -> Content:
    """What the figures depend on."""
    facts = provenance()
    names = ("started", "platform", "cpu", "cpu_cores", "git_revision", "versions")
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        **{name: facts[name] for name in names},
        "memory_gib": round(installed / 2**30, 1),
        "load_average": os.getloadavg()[0],
        "gpus": gpus,
    }


def _in_a_process(name: str, rounds: int) -> Content:
    """SUMO, threads and memory of one group have nothing to do with those of another."""
    done = subprocess.run(
        [sys.executable, "-m", __name__, name, str(rounds)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"]
        return {"cases": {}, "ratios": {}, "error": said[-1]}
    content: Content = json.loads(done.stdout.splitlines()[-1])
    return content


def _measured(group: Group, rounds: int) -> Content:
    timed, compared = measure(group, rounds)
    usage = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return {
        "cases": {name: one.content() for name, one in timed.items()},
        "ratios": {name: one.content() for name, one in compared.items()},
        # Of Linux, in KiB; of child processes the largest.
        "peak_memory_mib": sum(resource.getrusage(who).ru_maxrss for who in usage) / 1024,
    }


def failures(content: Mapping[str, Any]) -> list[str]:
    """Groups that have failed, and why."""
    return [
        f"{name} ({group['error']})"
        for name, group in content["groups"].items()
        if "error" in group
    ]


def misses(content: Mapping[str, Any]) -> list[str]:
    """Ratios that do not meet their targets."""
    return [
        name
        for group in content["groups"].values()
        for name, ratio in group["ratios"].items()
        if ratio["holds"] is False
    ]


if __name__ == "__main__":
    torch.set_num_threads(1)
    memory.keep_freed()  # as a training does
    print(json.dumps(_measured(GROUPS[sys.argv[1]](), int(sys.argv[2]))))
