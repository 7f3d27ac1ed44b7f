"""The vehicle graph: which learning agents can talk to each other.

Vehicle states -> edges (by leader-follower order, communication range and
conflict at crossings) -> ``VehicleGraph`` -> k-hop sets and padded neighbour
arrays. Human drivers and scripted leads are no nodes, but they count when
agents are ordered along the road.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import networkx as nx
import numpy as np

from trafficrl.errors import ScenarioError
from trafficrl.types import BoolArray, FloatArray, IntArray, VehicleStates

if TYPE_CHECKING:  # the configuration imports the environments, which import this module
    from trafficrl.config.scenario import GraphConfig

Crossings = tuple[tuple[float, float], ...]
"""Pairs of course positions in metres at which a course crosses itself."""


@dataclass(frozen=True)
class Neighbourhood:
    """Padded neighbours of every agent, the agent itself first.

    ``index`` and ``mask`` are (N, K), or (B, N, K) for several graphs. Padding
    repeats the agent's own index under a False mask.
    """

    index: IntArray
    mask: BoolArray


class VehicleGraph:
    """Undirected graph over the N learning agents of one replica.

    ``names`` are the N agents' names; ``edges`` (E, 2) holds pairs of agent
    indices, in any direction, repeated or not. ``leader`` (M,) gives each
    vehicle's leader, -1 without one, and ``agents`` (N,) the agents' places
    among those M vehicles; they only order neighbours, by index without them.
    """

    def __init__(
        self,
        names: Sequence[str],
        edges: IntArray,
        leader: IntArray | None = None,
        agents: IntArray | None = None,
    ) -> None:
        n = len(names)
        self.names = tuple(names)
        # Copies: a simulation may reuse its arrays, a graph stays as it was built.
        self.agents = np.arange(n) if agents is None else np.array(agents)
        self.leader = np.full(n, -1) if leader is None else np.array(leader)
        if len(self.agents) != n:
            raise ScenarioError(
                f"vehicle graph: {n} names for {len(self.agents)} agents (one name for each)"
            )
        self.adjacency: BoolArray = np.eye(n, dtype=np.bool_)  # (N, N), self-loops included
        self.adjacency[edges[:, 0], edges[:, 1]] = True
        self.adjacency |= self.adjacency.T
        self._ordered: dict[int, tuple[IntArray, BoolArray]] = {}

    @cached_property
    def graph(self) -> nx.Graph:
        """The networkx graph: nodes 0..N-1 with attribute ``name``, frozen."""
        graph = nx.Graph()
        graph.add_nodes_from((i, {"name": name}) for i, name in enumerate(self.names))
        graph.add_edges_from(np.argwhere(np.triu(self.adjacency, 1)).tolist())
        return nx.freeze(graph)

    def same_as(self, other: VehicleGraph) -> bool:
        """Whether both have the same agents, edges and order of vehicles."""
        return (
            self.names == other.names
            and np.array_equal(self.agents, other.agents)
            and np.array_equal(self.leader, other.leader)
            and np.array_equal(self.adjacency, other.adjacency)
        )

    def hops(self, k: int) -> IntArray:
        """Graph distance between agents, (N, N), ``k + 1`` where it exceeds ``k``."""
        if k < 0:
            raise ScenarioError(f"vehicle graph: {k} hops asked for (0 or more)")
        step = self.adjacency.astype(np.float32)  # float products use BLAS, bool ones do not
        reached = np.eye(len(self.names), dtype=np.bool_)
        distance = np.where(reached, 0, k + 1)
        for hop in range(1, k + 1):
            wider = reached.astype(np.float32) @ step > 0
            if np.array_equal(wider, reached):
                break
            distance[wider & ~reached] = hop
            reached = wider
        return distance

    def k_hop_sets(self, k: int) -> list[frozenset[int]]:
        """Each agent's closed k-hop set, that is with the agent itself."""
        return [frozenset(np.flatnonzero(row).tolist()) for row in self.hops(k) <= k]

    def neighbourhood(self, k: int, max_neighbours: int | None = None) -> Neighbourhood:
        """Padded k-hop neighbours, (N, K), K that of the largest neighbourhood.

        The order is the agent itself, then by hops, then by the number of
        leader links in between (ahead before behind), then by index; on a
        ring: self, leader, follower, leader's leader, and so on. It is the
        same relative pattern for every agent of a ring, so that agents can
        share weights. ``max_neighbours`` keeps the first so many, self aside.
        """
        order, within = self._order(k)
        width = int(within.sum(axis=1).max(initial=0))
        if max_neighbours is not None:
            width = min(width, max_neighbours + 1)
        mask = within[:, :width].copy()
        return Neighbourhood(np.where(mask, order[:, :width], _own_index(len(mask))), mask)

    def _order(self, k: int) -> tuple[IntArray, BoolArray]:
        """All agents in each agent's order, and which lie within k hops; both (N, N)."""
        if k not in self._ordered:
            hops = self.hops(k)
            ahead = self._links_ahead()
            behind = ahead.T
            keys = (behind < ahead, np.minimum(ahead, behind), hops)  # the last weighs most
            order: IntArray = np.lexsort(keys, axis=-1)
            self._ordered[k] = (order, np.take_along_axis(hops, order, axis=1) <= k)
        return self._ordered[k]

    def _links_ahead(self) -> IntArray:
        """Leader links from agent i forward to agent j, (N, N), M + 1 if never reached."""
        n, m = len(self.agents), len(self.leader)
        # One place more than there are vehicles and agents stands for "none"; -1 finds it.
        leader = np.append(self.leader, -1)
        agent_at = np.full(m + 1, n)
        agent_at[self.agents] = np.arange(n)
        chain = np.empty((m + 1, n), dtype=np.int64)
        chain[0] = self.agents
        for links in range(1, m + 1):
            chain[links] = leader[chain[links - 1]]
        ahead: IntArray = np.full((n, n + 1), m + 1)
        # On a loop the same agent is met again: the last to be written, the nearest, counts.
        ahead[np.arange(n), agent_at[chain[::-1]]] = np.arange(m, -1, -1)[:, None]
        return ahead[:, :n]


def leader_follower_edges(leader: IntArray) -> IntArray:
    """Link every agent to its leader, (E, 2); ``leader`` (N,) holds agents, -1 for none."""
    agents = np.arange(len(leader))
    linked = (leader >= 0) & (leader != agents)  # a lone car can be its own leader in SUMO
    return np.argwhere(linked[:, None] & (leader[:, None] == agents))


def range_edges(xy: FloatArray, radius: float) -> IntArray:
    """Link agents closer than ``radius`` metres, (E, 2); ``xy`` (N, 2) in metres, NaN: nowhere."""
    with np.errstate(invalid="ignore"):
        apart = np.linalg.norm(xy[:, None] - xy[None, :], axis=-1)
    return np.argwhere(np.triu(apart < radius, 1))


def conflict_edges(
    position: FloatArray, path_length: float, crossings: Crossings, distance: float
) -> IntArray:
    """Link agents that approach the same crossing from different arms, (E, 2).

    ``position`` (N,) and ``crossings`` are metres along the course, which
    closes after ``path_length`` (inf: never). Both agents of a link have at
    most ``distance`` metres to go. An agent is on the arm it reaches first.
    """
    linked = np.zeros((len(position), len(position)), dtype=np.bool_)
    for arms in crossings:
        with np.errstate(invalid="ignore"):  # NaN stays NaN; mod inf sends what is past to inf
            to_a, to_b = (np.mod(arm - position, path_length) for arm in arms)
        on_a = (to_a <= distance) & (to_a < to_b)
        on_b = (to_b <= distance) & (to_b < to_a)
        linked |= on_a[:, None] & on_b
    return np.argwhere(linked)


def is_static(config: GraphConfig) -> bool:
    """Whether the edges follow from the order of the vehicles alone, not from positions."""
    return config.range_m is None and config.conflict_distance_m is None


def build_graph(
    config: GraphConfig,
    states: VehicleStates,
    replica: int,
    agents: IntArray,
    *,
    names: Sequence[str],
    xy: FloatArray | None = None,
    crossings: Crossings = (),
) -> VehicleGraph:
    """The graph of one replica, with every kind of edge that ``config`` names.

    ``agents`` (N,) are the learning agents among the M vehicles, ``names``
    theirs, ``xy`` (M, 2) the vehicles' coordinates in metres. Two agents are
    linked as leader and follower only with no other vehicle between them.
    Raises ``ScenarioError`` where ``range_m`` is set and ``xy`` is missing.
    """
    leader = states.leader[replica]
    edges = [np.empty((0, 2), dtype=np.int64)]
    if config.leader_follower:
        agent_at = np.full(len(leader) + 1, -1)  # the last place is for leader -1, none
        agent_at[agents] = np.arange(len(agents))
        edges.append(leader_follower_edges(agent_at[leader[agents]]))
    if config.range_m is not None:
        if xy is None:
            raise ScenarioError(
                "graph.range_m: the coordinates of the vehicles are missing "
                "(give xy, (M, 2) in metres, or leave range_m out)"
            )
        edges.append(range_edges(xy[agents], config.range_m))
    if config.conflict_distance_m is not None:
        position, path_length = states.position[replica, agents], states.path_length[replica]
        edges.append(conflict_edges(position, path_length, crossings, config.conflict_distance_m))
    return VehicleGraph(names, np.concatenate(edges), leader, agents)


class GraphTracker:
    """Keeps the graph of one replica up to date as the vehicles move."""

    def __init__(
        self,
        config: GraphConfig,
        replica: int,
        agents: IntArray,
        *,
        names: Sequence[str],
        crossings: Crossings = (),
    ) -> None:
        self._static, self._replica = is_static(config), replica
        self._build = partial(
            build_graph, config, replica=replica, agents=agents, names=names, crossings=crossings
        )
        self._graph: VehicleGraph | None = None

    def update(self, states: VehicleStates, xy: FloatArray | None = None) -> VehicleGraph:
        """The graph now: the same object for as long as edges and order stay the same."""
        last, leader = self._graph, states.leader[self._replica]
        if last is not None and self._static and np.array_equal(leader, last.leader):
            return last
        graph = self._build(states, xy=xy)
        self._graph = last if last is not None and last.same_as(graph) else graph
        return self._graph


def padded_neighbourhoods(
    graphs: Sequence[VehicleGraph], k: int, width: int, max_neighbours: int | None = None
) -> Neighbourhood:
    """Neighbourhoods of B graphs of N agents each, stacked to (B, N, width).

    Raises ``ScenarioError`` where an agent has more than ``width`` vehicles in
    its neighbourhood, itself included.
    """
    n = len(graphs[0].names)
    index = np.broadcast_to(_own_index(n), (len(graphs), n, width)).copy()
    mask = np.zeros((len(graphs), n, width), dtype=np.bool_)
    for b, graph in enumerate(graphs):
        near = graph.neighbourhood(k, max_neighbours)
        size = near.mask.shape[1]
        if size > width:
            name = graph.names[int(near.mask.sum(axis=1).argmax())]
            raise ScenarioError(
                f"graph.max_neighbours: {name} has {size - 1} neighbours within {k} hops, but "
                f"there is room for {width - 1} (set max_neighbours to at most {width - 1})"
            )
        index[b, :, :size], mask[b, :, :size] = near.index, near.mask
    return Neighbourhood(index, mask)


def _own_index(n: int) -> IntArray:
    return np.arange(n)[:, None]
