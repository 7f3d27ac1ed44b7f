"""Gradient steps on more samples than memory has room for at once, in parts that add up.

Agents with weights of their own need none of this, as they can learn one after the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from trafficrl.algorithms.rollout import at_steps
from trafficrl.nn.optim import StackedAdam

Batch = dict[str, Any]  # tensors (N, S, ...), but for those of SAMPLE_FIRST
Figures = dict[str, Tensor]  # means over samples
SAMPLE_FIRST = ("obs", "next_obs", "alive")
# Samples, summed over agents, that networks compute with gradients at the same time: the layers of
# 2^18 take gigabytes.
MOST_AT_ONCE = 2**16


def pieces(samples: int, agents: int) -> int:
    """In how many parts so many ``samples`` of each of the ``agents`` can be computed."""
    return -(-samples * agents // MOST_AT_ONCE)


def add_gradient(batch: Batch, figures: Callable[[Batch], Figures], optim: StackedAdam) -> Figures:
    """The ``figures`` of a batch; the gradient of its "loss" (sets,) is added to that of ``optim``.

    A batch that has its "obs", not yet what networks see of them, may be of any size. Of one
    in one piece the figures and the gradient have the bits that they have without this.
    """
    total: Figures = {}
    learning = [parameter for parameter in optim.parameters if parameter.requires_grad]
    for part, share in _parts(batch):
        found = figures(part)
        # Of no other weights: what SAC's policies learn from goes through critics as well.
        (share * found["loss"].sum()).backward(inputs=learning)  # type: ignore[no-untyped-call]
        for name, value in found.items():
            own = share * value.detach()
            total[name] = total[name] + own if name in total else own
    return total


def _parts(batch: Batch) -> list[tuple[Batch, float]]:
    """Some of the samples each, and their share of all."""
    if "obs" not in batch:
        return [(batch, 1.0)]
    obs = batch["obs"]
    samples, agents = obs.shape[:2]
    count = pieces(samples, agents)
    if count == 1:
        return [(batch, 1.0)]
    size = -(-samples // count)
    cuts = [slice(start, min(start + size, samples)) for start in range(0, samples, size)]
    return [(_taken(batch, cut), (cut.stop - cut.start) / samples) for cut in cuts]


def _taken(batch: Batch, samples: slice) -> Batch:
    part = {}
    for name, value in batch.items():
        if name.endswith("links"):
            part[name] = at_steps(value, samples)
        else:
            part[name] = value[samples] if name in SAMPLE_FIRST else value[:, samples]
    return part
