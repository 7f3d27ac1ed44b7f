"""Turns the vehicle graphs of an environment into the index tensors of the networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from trafficrl.algorithms.rollout import Links
from trafficrl.envs.array_env import ArrayEnv
from trafficrl.graph import Neighbourhood, VehicleGraph, is_static, padded_neighbourhoods

POLICY_HOPS = 1


class LinkTracker:
    """The links of all replicas as they are now.

    Where the order of the vehicles fixes the graph they are (N, K), once for
    all replicas; else (B, N, K) with room for every neighbour there may be. An
    agent that is not there hears nobody, not even itself. A ``policy_width`` makes
    the policies' K that of another graph, as slots mean the same in all: the first
    so many, and nobody in those that this one lacks.
    """

    def __init__(self, env: ArrayEnv, value_hops: int, *, policy_width: int | None = None) -> None:
        self.env = env
        self.value_hops = value_hops
        self.policy_width = policy_width
        self.changes = not is_static(env.config.graph) or not env.config.network.fixed_order
        self._graphs: list[VehicleGraph] = []
        self._links: Links | None = None

    def now(self) -> Links:
        """The links in the present states; the same object while nothing has changed."""
        if self._links is not None and not self.changes:
            return self._links
        graphs = self.env.vehicle_graphs()
        same = len(graphs) == len(self._graphs) and all(
            new is old for new, old in zip(graphs, self._graphs, strict=True)
        )
        if self._links is None or not same:
            self._graphs, self._links = graphs, self._build(graphs)
        return self._links

    def widths(self) -> tuple[int, int]:
        """K of the policy's and of the critic's neighbourhood."""
        links = self.now()
        return links.policy[0].shape[-1], links.value[0].shape[-1]

    def _build(self, graphs: list[VehicleGraph]) -> Links:
        near = self.env.config.graph.max_neighbours
        if not self.changes:
            policy = graphs[0].neighbourhood(POLICY_HOPS, near)
            value = graphs[0].neighbourhood(self.value_hops)
        else:
            policy = padded_neighbourhoods(graphs, POLICY_HOPS, near)
            value = padded_neighbourhoods(graphs, self.value_hops)
        if self.policy_width is not None:
            policy = policy.of_width(self.policy_width)
        kind = small_integers(self.env.n_agents) if self.changes else np.int64
        return Links(_tensors(policy, kind), _tensors(value, kind))


def count_messages(links: Links, speaks: torch.Tensor) -> NDArray[np.float64]:
    """Messages (B,) of a step in which all hear those of their neighbours that speak (B, N)."""
    index, mask = (one.expand(len(speaks), *one.shape[-2:]) for one in links.policy)
    agents = index.shape[1]
    heard = speaks[:, None].expand(-1, agents, -1).gather(2, index.long()) * mask
    # The first of a neighbourhood is the agent itself.
    return heard[..., 1:].sum((1, 2)).double().numpy()


def small_integers(agents: int) -> type[np.signedinteger[Any]]:
    """What the numbers of so many agents fit: links that change are kept for every step."""
    return np.int16 if agents <= np.iinfo(np.int16).max else np.int32


def _tensors(
    neighbourhood: Neighbourhood, kind: type[np.signedinteger[Any]]
) -> tuple[torch.Tensor, torch.Tensor]:
    index = neighbourhood.index.astype(kind, copy=False)
    return torch.from_numpy(index), torch.from_numpy(neighbourhood.mask)
