"""Which of a run's policies each vehicle of another scenario gets.

N policies, M vehicles, both in order from the front to the back; human drivers
and scripted leads count in neither. All return the policy of each vehicle, (M,).
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from trafficrl.types import IntArray

Assignment = Literal["shared", "slot", "position"]


def by_slot(policies: int, vehicles: int) -> IntArray:
    """Vehicle i gets policy i mod N."""
    return np.arange(vehicles) % policies


def by_position(policies: int, vehicles: int) -> IntArray:
    """The policy at the nearest relative position: i (N - 1) / (M - 1), rounded."""
    place = np.arange(vehicles) * (policies - 1) / max(1, vehicles - 1)
    return np.rint(place).astype(np.int64)


def by_leaders(policies: int, leader: IntArray, agents: IntArray) -> IntArray:
    """As many policies from the front as there are learned vehicles ahead, the last at most.

    ``leader`` gives each vehicle's leader, -1 without one, and ``agents`` (M,) the
    learned ones among them. It is for roads where vehicles come, go and change their order.
    """
    chain = np.append(leader, -1)  # -1, nobody, leads to itself
    learned = np.zeros(len(chain), dtype=np.int64)
    learned[agents] = 1
    ahead, at = np.zeros(len(agents), dtype=np.int64), agents
    for _ in range(len(leader)):
        at = chain[at]
        ahead += learned[at]
    return np.minimum(ahead, policies - 1)
