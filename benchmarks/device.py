"""Updates and model rollouts of many vehicles on two cores, and on a GPU where there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from trafficrl.benchmarks.measuring import Block, Case, Group, Ratio
from trafficrl.benchmarks.scaling import UNIT, costs

VEHICLES = 256  # with weights of their own
CORES = 2
FASTER = 5.0  # times, on a GPU


def device() -> Group:
    """Cases named after the device; ratios only where there is a GPU."""
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    cases, ratios = [], []
    for where in devices:
        for name, prepare in costs(VEHICLES, shared=False, device=where).items():
            if name == "inference":  # vehicles are driven on the CPU
                continue
            cases.append(Case(f"{name}, {where}", UNIT, _waited_for(prepare, where), clock="wall"))
            if where != "cpu":
                base = f"{name}, cpu"
                ratios.append(Ratio(f"{name}, {where}", f"{name}, {where}", base, FASTER, True))
    return Group(cases, ratios)


def _waited_for(prepare: Callable[[], Any], where: str) -> Callable[[], Any]:
    """Until the device has done what it was told."""

    @contextmanager
    def prepared() -> Iterator[Block]:
        before = torch.get_num_threads()
        torch.set_num_threads(CORES)
        try:
            with prepare() as block:

                def waited() -> Any:
                    done = block()
                    if where != "cpu":
                        torch.cuda.synchronize()
                    return done

                yield waited
        finally:
            torch.set_num_threads(before)

    return prepared
