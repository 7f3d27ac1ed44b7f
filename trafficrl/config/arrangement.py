"""How the groups of a scenario's vehicles lie along the road."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from trafficrl.types import LEAD, IntArray

if TYPE_CHECKING:
    from trafficrl.config.scenario import ScenarioConfig


def group_of_place(config: ScenarioConfig) -> IntArray:
    """Index (M,) into ``config.vehicles`` of the group at each place, from the front to the back.

    Whatever the arrangement, a scripted lead stays first.
    """
    counts = [group.count for group in config.vehicles]
    in_order = np.repeat(np.arange(len(counts)), counts)
    leads = [group.controller == LEAD for group in config.vehicles]
    fixed = np.array(leads)[in_order]
    first, rest = in_order[fixed], in_order[~fixed]
    if config.arrangement == "shuffled":
        rest = np.random.default_rng(config.shuffle_seed).permutation(rest)
    elif config.arrangement == "spread":
        rest = _spread(rest)
    return np.concatenate([first, rest])


def _spread(groups: IntArray) -> IntArray:
    """The same numbers, each in places as evenly apart as can be.

    Vehicle k of a group of n belongs at the share (k + 1/2) / n of the road; at equal shares
    the earlier group goes first. Of two groups, gaps differ by one place at most.
    """
    share = np.empty(len(groups))
    for group in np.unique(groups):
        members = groups == group
        count = members.sum()
        share[members] = (np.arange(count) + 0.5) / count
    return groups[np.lexsort((groups, share))]
