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

    ``index`` and ``mask`` are (N, K), or (B, N, K) for several graphs. A slot
    that nobody takes, which may stand before one that is taken, repeats the
    agent's own index under a False mask.
    """

    index: IntArray
    mask: BoolArray

    def of_width(self, k: int) -> Neighbourhood:
        """The first ``k`` slots; those that there are not are nobody's."""
        missing = max(0, k - self.index.shape[-1])
        slots = np.where(self.mask, self.index, -1)[..., :k]
        return _neighbourhood(
            np.concatenate([slots, np.full((*slots.shape[:-1], missing), -1)], axis=-1)
        )


class VehicleGraph:
    """Undirected graph over the N learning agents of one replica.

    ``names`` are the N agents' names; ``edges`` (E, 2) holds pairs of agent
    indices, in any direction, repeated or not. ``leader`` (M,) gives each
    vehicle's leader, -1 without one, and ``agents`` (N,) the agents' places
    among those M vehicles; they only order neighbours, by index without them.
    Agents that are not ``present`` (N,) are no nodes and in nobody's k-hop set,
    not even their own.
    """

    def __init__(
        self,
        names: Sequence[str],
        edges: IntArray,
        leader: IntArray | None = None,
        agents: IntArray | None = None,
        present: BoolArray | None = None,
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
        self.present = np.ones(n, dtype=np.bool_) if present is None else np.array(present)
        self.adjacency: BoolArray = np.diag(self.present)  # (N, N), self-loops included
        self.adjacency[edges[:, 0], edges[:, 1]] = True
        self.adjacency |= self.adjacency.T
        self.adjacency &= self.present & self.present[:, None]
        self._slots: dict[int, IntArray] = {}

    @cached_property
    def graph(self) -> nx.Graph:
        """The networkx graph: nodes 0..N-1 that are present, with attribute ``name``, frozen."""
        graph = nx.Graph()
        graph.add_nodes_from(
            (i, {"name": self.names[i]}) for i in np.flatnonzero(self.present).tolist()
        )
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
        """Graph distance between agents, (N, N), ``k + 1`` where it exceeds ``k``.

        It does from and to an agent that is not present, even to itself.
        """
        if k < 0:
            raise ScenarioError(f"vehicle graph: {k} hops asked for (0 or more)")
        step = self.adjacency.astype(np.float32)  # float products use BLAS, bool ones do not
        reached: BoolArray = np.diag(self.present)
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
        """Padded k-hop neighbours, (N, K), K up to the last slot that an agent needs.

        A slot means the same for every agent, so that agents can share weights:
        the agent itself, 1 leader link ahead, 1 behind, 2 ahead, 2 behind, and
        so on to k. It stays empty where nobody there belongs to the k-hop set,
        as at the ends of a platoon. Who is met both ahead and behind on a short
        loop takes the nearer place, ahead rather than behind. All others follow
        without gaps, by hops, then leader links (ahead first), then index.
        ``max_neighbours`` keeps the first so many slots after the agent's own;
        empty ones count.
        """
        slots = self.slots(k)
        needed = np.flatnonzero((slots >= 0).any(axis=0)).max(initial=-1) + 1
        return _neighbourhood(slots[:, : _width(needed, max_neighbours)])

    def slots(self, k: int) -> IntArray:
        """The agent in each slot of ``neighbourhood``, -1 for nobody: (N, 2 min(k, M-1) + N).

        There is room for whatever the edges may be.
        """
        if k not in self._slots:
            self._slots[k] = self._find_slots(k)
        return self._slots[k]

    def _find_slots(self, k: int) -> IntArray:
        n, own = len(self.names), _own_index(len(self.names))
        hops, ahead = self.hops(k), self._links_ahead()
        within = hops <= k
        behind = ahead.T
        links = np.minimum(ahead, behind)
        order = np.lexsort((behind < ahead, links, hops), axis=-1)  # the last weighs most
        reach = min(k, len(self.leader) - 1)
        nowhere = 2 * reach + n  # one slot more than there is room
        slots = np.full((n, nowhere + 1), -1)
        on_chain = within & (links <= reach)
        slot = np.where(on_chain, 2 * links - ((ahead <= behind) & (links > 0)), nowhere)
        # A vehicle may have two followers: the last to be written, the first in order, counts.
        slots[own, np.take_along_axis(slot, order[:, ::-1], axis=1)] = order[:, ::-1]
        placed = on_chain & (np.take_along_axis(slots, slot, axis=1) == np.arange(n))
        left = np.take_along_axis(within & ~placed, order, axis=1)
        slots[own, np.where(left, 2 * reach + left.cumsum(axis=1), nowhere)] = order
        return slots[:, :nowhere]

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
    present = states.present[replica, agents]
    return VehicleGraph(names, np.concatenate(edges), leader, agents, present)


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
        last = self._graph
        if last is not None and self._static and self._unchanged(states, last):
            return last
        graph = self._build(states, xy=xy)
        self._graph = last if last is not None and last.same_as(graph) else graph
        return self._graph

    def _unchanged(self, states: VehicleStates, last: VehicleGraph) -> bool:
        """Whether the same agents are there, in the same order."""
        present = states.present[self._replica, last.agents]
        return np.array_equal(states.leader[self._replica], last.leader) and np.array_equal(
            present, last.present
        )


def padded_neighbourhoods(
    graphs: Sequence[VehicleGraph], k: int, max_neighbours: int | None = None
) -> Neighbourhood:
    """Neighbourhoods of B graphs of N agents each, (B, N, K), K the same whatever the edges."""
    slots = np.stack([graph.slots(k) for graph in graphs])
    return _neighbourhood(slots[..., : _width(slots.shape[-1], max_neighbours)])


def _neighbourhood(slots: IntArray) -> Neighbourhood:
    mask = slots >= 0
    return Neighbourhood(np.where(mask, slots, _own_index(slots.shape[-2])), mask)


def _width(needed: int, max_neighbours: int | None) -> int:
    return needed if max_neighbours is None else min(needed, max_neighbours + 1)


def _own_index(n: int) -> IntArray:
    return np.arange(n)[:, None]
