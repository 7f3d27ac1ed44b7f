"""Where cars can circulate for ever: the largest part of a network that leads back to itself."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import networkx as nx
import numpy as np
import sumolib.net

from trafficrl.errors import ScenarioError
from trafficrl.types import VEHICLE_LENGTH, FloatArray, IntArray

CAR = "passenger"  # SUMO's vehicle class
_TURNS_ROUND = frozenset("tT")  # SUMO's names of such a direction
Lane = tuple[str, int]  # edge and index


@dataclass(frozen=True)
class Streets:
    """Edges of one strongly connected component, and how cars get from one to the next."""

    name: str  # of the network, for messages
    lengths: dict[str, float]  # m, of each edge
    onward: dict[str, tuple[str, ...]]  # where an edge leads; turning round only at dead ends
    lanes: dict[Lane, tuple[str, ...]]  # where each lane leads that goes on in here

    @cached_property
    def has_lanes(self) -> bool:
        """Whether there is an edge with a choice of lanes."""
        return len(self.lanes) > len(self.onward)

    def walk(self, edge: str, length: float, rng: np.random.Generator) -> list[str]:
        """Edges from the one after ``edge`` on, drawn at each junction, at least ``length`` m."""
        edges, ahead = [], 0.0
        while ahead < length:
            edge = self.onward[edge][rng.integers(len(self.onward[edge]))]
            edges.append(edge)
            ahead += self.lengths[edge]
        return edges

    def room(self, gap: float) -> IntArray:
        """How many vehicles each of ``lanes`` takes with ``gap`` m in front of each."""
        return np.floor(self._lane_lengths() / (VEHICLE_LENGTH + gap) + 1e-9).astype(np.int64)

    def spread(
        self, vehicles: int, gap: float, rng: np.random.Generator
    ) -> tuple[list[Lane], FloatArray]:
        """A lane and a place of the front bumper on it, m, for each vehicle.

        In proportion to the lanes' lengths, at random places with at least ``gap`` m
        in front of each; there should be ``room`` for all.
        """
        room, lengths, spacing = self.room(gap), self._lane_lengths(), VEHICLE_LENGTH + gap
        # Systematic sampling: equal steps along all lanes laid end to end.
        steps = (np.arange(vehicles) + rng.random()) / vehicles * lengths.sum()
        lane_of = np.minimum(np.searchsorted(np.cumsum(lengths), steps), len(lengths) - 1)
        counts = np.bincount(lane_of, minlength=len(lengths))
        excess = int(np.maximum(counts - room, 0).sum())
        counts = np.minimum(counts, room)
        for _ in range(excess):
            counts[np.argmax(np.where(counts < room, lengths / (counts + 1), 0.0))] += 1
        places = [
            np.sort(rng.uniform(0.0, max(0.0, length - count * spacing), count))
            + spacing * np.arange(count)
            for length, count in zip(lengths, counts, strict=True)
        ]
        lanes = [lane for lane, count in zip(self.lanes, counts, strict=True) for _ in range(count)]
        return lanes, VEHICLE_LENGTH + np.concatenate(places)

    def _lane_lengths(self) -> FloatArray:
        return np.array([self.lengths[edge] for edge, _ in self.lanes])


def read_streets(net_file: Path, name: str) -> Streets:
    """The streets of the network ``name`` on which cars can circulate.

    The component with the greatest length, over the edges and connections that
    cars may use. Raises ``ScenarioError`` where there is none.
    """
    try:
        net = sumolib.net.readNet(str(net_file))
    except Exception as error:  # well-formed XML that is no network fails in any way there
        missing = isinstance(error, KeyError)
        reason = f"{error} is missing" if missing else f"{error}".partition("\n")[0]
        raise ScenarioError(f"{name}: not a SUMO network that can be read ({reason})") from None
    edges = [edge for edge in net.getEdges(withInternal=False) if edge.allows(CAR)]
    if not edges:
        raise ScenarioError(f"{name}: no lane that passenger cars may use")
    for edge in edges:
        if not 0 < edge.getLength() < math.inf:
            raise ScenarioError(f"{name}: edge '{edge.getID()}' is {edge.getLength():g} m long")
    graph = nx.DiGraph()
    graph.add_nodes_from(edge.getID() for edge in edges)
    graph.add_edges_from((one, other) for edge in edges for one, other, _, _ in _links(edge))
    lengths = {edge.getID(): float(edge.getLength()) for edge in edges}
    # No edge leads to itself: SUMO's networks have none that begins where it ends.
    loops = [part for part in nx.strongly_connected_components(graph) if len(part) > 1]
    if not loops:
        raise ScenarioError(
            f"{name}: no loop for cars to circulate on (vehicles need routes: "
            "--routes FILE, or network.route_files in the scenario)"
        )
    # By name where two are equally long, so that the choice repeats.
    chosen = max(loops, key=lambda part: (sum(lengths[edge] for edge in part), min(part)))
    return _among(name, [edge for edge in edges if edge.getID() in chosen])


def _among(name: str, edges: list[sumolib.net.edge.Edge]) -> Streets:
    """``edges`` and the links among them."""
    inside = {edge.getID() for edge in edges}
    onward: dict[str, tuple[str, ...]] = {}
    lanes: dict[Lane, tuple[str, ...]] = {}
    for edge in edges:
        links = [link for link in _links(edge) if link[1] in inside]
        ahead = [link for link in links if not link[3]] or links
        own_id = edge.getID()
        onward[own_id] = tuple(dict.fromkeys(to for _, to, _, _ in ahead))
        for lane in dict.fromkeys(lane for _, _, lane, _ in ahead):
            lanes[own_id, lane] = tuple(to for _, to, own, _ in ahead if own == lane)
    lengths = {edge.getID(): float(edge.getLength()) for edge in edges}
    return Streets(name, lengths, onward, lanes)


def _links(edge: sumolib.net.edge.Edge) -> Iterator[tuple[str, str, int, bool]]:
    """From and to which edge, from which lane, and whether it turns round: what cars may use."""
    for target, connections in edge.getOutgoing().items():
        for link in connections:
            allowed = (link.getFromLane(), link.getToLane(), link)
            if all(one.allows(CAR) for one in allowed):
                turns = link.getDirection() in _TURNS_ROUND
                yield edge.getID(), target.getID(), link.getFromLane().getIndex(), turns
