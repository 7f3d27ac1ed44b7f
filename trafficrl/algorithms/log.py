"""Figures of the gradient steps of an update, and what is told of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

Log = dict[str, list[Tensor]]  # of each gradient step: a figure, or one of each agent (N,)


def merged(logs: Sequence[Log]) -> Log:
    """The log of all agents from those of parts of them, whose figures are one an agent.

    Those of a part that has ended before others are NaN.
    """
    if len(logs) == 1:
        return logs[0]
    log: Log = {name: [] for name in logs[0]}
    for name, steps in log.items():
        for step in range(max(len(one[name]) for one in logs)):
            found = [
                one[name][step]
                if step < len(one[name])
                else torch.full_like(one[name][0], math.nan)
                for one in logs
            ]
            steps.append(torch.cat(found))
    return log


def average(log: Log) -> dict[str, float]:
    """Means over the gradient steps of an update; an agent that stopped early counts no more.

    Of norms (N,) of the agents also the largest, of any agent in any step, and
    the median over agents.
    """
    means = {}
    for name, values in log.items():
        steps = torch.stack(values)  # (G,) or (G, N)
        if steps.dim() == 2 and name.endswith("_norm"):
            largest = steps.masked_fill(steps.isnan(), -torch.inf).max()
            means[name] = float(steps.nanmean())
            means[f"{name}_max"] = float(largest.masked_fill(largest < 0.0, torch.nan))
            means[f"{name}_median"] = float(steps.nanmean(0).nanmedian())
        else:
            of_agents = steps.nanmean(1) if steps.dim() == 2 else steps
            means[name] = float(of_agents.nanmean())
    return means
