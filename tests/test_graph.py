"""The vehicle graph against hand-drawn graphs and networkx."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trafficrl.config.scenario import GraphConfig
from trafficrl.errors import ScenarioError
from trafficrl.graph import (
    GraphTracker,
    VehicleGraph,
    build_graph,
    conflict_edges,
    is_static,
    leader_follower_edges,
    padded_neighbourhoods,
    range_edges,
)
from trafficrl.types import FloatArray, IntArray, VehicleStates

NO_EDGES = np.empty((0, 2), dtype=np.int64)


def make_states(
    leader: IntArray, position: FloatArray | None = None, path_length: float = 400.0
) -> VehicleStates:
    """States of B replicas; only the order, positions and path length matter to a graph."""
    leader = np.atleast_2d(leader)
    zeros = np.zeros(leader.shape)
    false = np.zeros(leader.shape, dtype=bool)
    return VehicleStates(
        time=0.0,
        position=zeros if position is None else np.atleast_2d(position),
        distance=zeros,
        speed=zeros,
        acceleration=zeros,
        headway=zeros,
        leader=leader,
        follower=np.full(leader.shape, -1),
        commanded_acceleration=zeros,
        commanded_speed=zeros,
        overridden=false,
        collided=false,
        target_speed=zeros,
        target_acceleration=zeros,
        final_target_speed=zeros,
        path_length=np.full(len(leader), path_length),
    )


def ring_leader(n: int) -> IntArray:
    """Vehicle i drives behind i - 1, as vehicles listed from the front do."""
    return (np.arange(n) - 1) % n


def names(n: int) -> tuple[str, ...]:
    return tuple(f"cav_{i}" for i in range(n))


def order_graph(leader: IntArray, agents: IntArray | None = None) -> VehicleGraph:
    agents = np.arange(len(leader)) if agents is None else agents
    return build_graph(GraphConfig(), make_states(leader), 0, agents, names=names(len(agents)))


def pairs(edges: IntArray) -> set[frozenset[int]]:
    return {frozenset(edge) for edge in edges.tolist()}


def links(graph: VehicleGraph) -> set[frozenset[int]]:
    return {frozenset(edge) for edge in graph.graph.edges}


# --- sets, adjacency and networkx


def test_a_platoon_is_a_line() -> None:
    graph = order_graph(np.array([-1, 0, 1, 2]))
    assert links(graph) == {frozenset(e) for e in [(0, 1), (1, 2), (2, 3)]}
    assert graph.k_hop_sets(0) == [{0}, {1}, {2}, {3}]
    assert graph.k_hop_sets(1) == [{0, 1}, {0, 1, 2}, {1, 2, 3}, {2, 3}]
    assert graph.k_hop_sets(3) == graph.k_hop_sets(99) == [{0, 1, 2, 3}] * 4
    assert [graph.graph.nodes[i]["name"] for i in range(4)] == list(graph.names)


def test_adjacency_of_a_hand_drawn_graph_has_self_loops_and_is_symmetric() -> None:
    graph = VehicleGraph(names(4), np.array([[2, 0], [0, 2], [2, 1]]))
    expected = [[1, 0, 1, 0], [0, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 1]]
    np.testing.assert_array_equal(graph.adjacency, np.array(expected, dtype=bool))
    assert links(graph) == {frozenset({0, 2}), frozenset({1, 2})}
    assert graph.k_hop_sets(5) == [{0, 1, 2}] * 3 + [{3}]


@st.composite
def random_graphs(draw: st.DrawFn) -> VehicleGraph:
    """Any edges over agents that are some of the vehicles of a random leader forest."""
    m = draw(st.integers(1, 12))
    vehicle = st.integers(0, m - 1)
    leader = draw(st.lists(st.integers(-1, m - 1), min_size=m, max_size=m))
    agents = draw(st.lists(vehicle, min_size=1, unique=True))
    agent = st.integers(0, len(agents) - 1)
    edges = draw(st.lists(st.tuples(agent, agent), max_size=25))
    edge_array = np.array(edges, dtype=np.int64).reshape(-1, 2)
    return VehicleGraph(names(len(agents)), edge_array, np.array(leader), np.array(agents))


@settings(max_examples=60, deadline=None)
@given(random_graphs(), st.integers(0, 13))
def test_sets_and_neighbourhoods_agree_with_networkx(graph: VehicleGraph, k: int) -> None:
    assert (graph.adjacency == graph.adjacency.T).all()
    near = graph.neighbourhood(k)
    for i, members in enumerate(graph.k_hop_sets(k)):
        hops = nx.single_source_shortest_path_length(graph.graph, i, cutoff=k)
        assert members == set(hops)
        found = near.index[i][near.mask[i]].tolist()
        assert found[0] == i and sorted(found) == sorted(members), "each member once"
        assert (near.index[i][~near.mask[i]] == i).all(), "an empty slot is the agent itself"
    assert near.mask[:, -1].any(), "the last slot is needed"


def vehicles_ahead(graph: VehicleGraph, agent: int) -> list[int]:
    """The vehicles that are met along the leaders, each once, the agent's own first."""
    met = [int(graph.agents[agent])]
    while (following := int(graph.leader[met[-1]])) >= 0 and following not in met:
        met.append(following)
    return met


@settings(max_examples=60, deadline=None)
@given(random_graphs(), st.integers(0, 13))
def test_a_slot_means_the_same_for_every_agent(graph: VehicleGraph, k: int) -> None:
    """Slots by walking along the leaders; the others by hops without gaps."""
    slots, reach = graph.slots(k), min(k, len(graph.leader) - 1)
    n = len(graph.names)
    assert slots.shape == (n, 2 * reach + n)
    ahead = [vehicles_ahead(graph, i) for i in range(n)]

    def links(i: int, j: int) -> int:
        vehicle = int(graph.agents[j])
        return ahead[i].index(vehicle) if vehicle in ahead[i] else 99

    for i, members in enumerate(graph.k_hop_sets(k)):
        assert slots[i, 0] == i
        expected: set[int] = {i}
        for d in range(1, reach + 1):
            at_front = [j for j in members if links(i, j) == d and links(j, i) >= d]
            at_back = [j for j in members if links(j, i) == d and links(i, j) > d]
            for candidates, taken in ((at_front, slots[i, 2 * d - 1]), (at_back, slots[i, 2 * d])):
                assert taken in candidates if candidates else taken == -1
            expected |= set(slots[i, 2 * d - 1 : 2 * d + 1].tolist()) - {-1}
        others = slots[i, 2 * reach + 1 :]
        count = len(members - expected)
        assert set(others[:count].tolist()) == members - expected and (others[count:] == -1).all()
        hops = nx.single_source_shortest_path_length(graph.graph, i)
        kept = [hops[j] for j in others[:count].tolist()]
        assert kept == sorted(kept), "nearer ones come first"


@settings(max_examples=30, deadline=None)
@given(random_graphs(), st.integers(0, 5), st.integers(1, 4))
def test_max_neighbours_keeps_the_first_slots(graph: VehicleGraph, k: int, limit: int) -> None:
    whole, limited = graph.neighbourhood(k), graph.neighbourhood(k, limit)
    np.testing.assert_array_equal(limited.index, whole.index[:, : limit + 1])
    np.testing.assert_array_equal(limited.mask, whole.mask[:, : limit + 1])


# --- the order inside a neighbourhood


def test_the_order_alternates_ahead_and_behind() -> None:
    near = order_graph(ring_leader(22)).neighbourhood(2)
    assert near.index[5].tolist() == [5, 4, 6, 3, 7]
    assert near.index[0].tolist() == [0, 21, 1, 20, 2]
    assert near.mask.all()


@pytest.mark.parametrize("n", [3, 4, 5, 22])
@pytest.mark.parametrize("limit", [None, 3])
def test_every_agent_of_a_ring_has_the_same_relative_pattern(n: int, limit: int | None) -> None:
    for k in (1, 3, n):
        near = order_graph(ring_leader(n)).neighbourhood(k, limit)
        relative = (near.index - np.arange(n)[:, None]) % n
        assert (relative == relative[0]).all() and near.mask.all()


def test_the_pattern_follows_the_order_on_the_road_and_not_the_index() -> None:
    on_road = np.array([3, 0, 4, 1, 2])  # from the front to the back, round a ring
    leader = np.empty(5, dtype=np.int64)
    leader[on_road] = np.roll(on_road, 1)
    near = order_graph(leader).neighbourhood(2)
    assert near.index[4].tolist() == [4, 0, 1, 3, 2]


def test_range_neighbours_of_one_hop_are_ordered_along_the_road() -> None:
    n = 12
    angle = -2 * np.pi * np.arange(n) / n
    xy = 20.0 * np.column_stack((np.cos(angle), np.sin(angle)))
    config = GraphConfig(range_m=21.0)  # two vehicles either way: 10.4 m and 20 m
    graph = build_graph(config, make_states(ring_leader(n)), 0, np.arange(n), names=names(n), xy=xy)
    near = graph.neighbourhood(1)
    relative = (near.index - np.arange(n)[:, None] + n // 2) % n - n // 2
    assert relative.tolist() == [[0, -1, 1, -2, 2]] * n


def test_the_order_holds_on_each_of_two_loops_side_by_side() -> None:
    leader = np.array([2, 0, 1, 6, 3, 4, 5])  # loops of three and of four vehicles
    near = order_graph(leader).neighbourhood(2)
    assert near.index.tolist()[:3] == [[0, 2, 1, 0], [1, 0, 2, 1], [2, 1, 0, 2]]
    assert not near.mask[:3, 3].any() and near.mask[:3, :3].all() and near.mask[3:].all()
    assert near.index.tolist()[3:] == [[3, 6, 4, 5], [4, 3, 5, 6], [5, 4, 6, 3], [6, 5, 3, 4]]


def test_leader_and_follower_come_before_other_vehicles_of_the_same_hop() -> None:
    leader = np.array([-1, -1, 3, -1, 2])  # 4 -> 2 -> 3, others on roads of their own
    edges = np.array([[2, 0], [2, 1], [2, 4], [2, 3]])
    graph = VehicleGraph(names(5), edges, leader, np.arange(5))
    near = graph.neighbourhood(1)
    assert near.index[2].tolist() == [2, 3, 4, 0, 1] and near.mask[2].all()
    # The first vehicles of their roads have nobody ahead, and 2 is no follower of 0.
    assert near.index[3].tolist() == [3, 3, 2, 3, 3]
    assert near.mask[3].tolist() == [True, False, True, False, False]
    assert near.index[0].tolist() == [0, 0, 0, 2, 0]
    assert near.mask[0].tolist() == [True, False, False, True, False]
    assert graph.neighbourhood(1, max_neighbours=2).index[2].tolist() == [2, 3, 4]


def test_the_first_and_last_of_a_platoon_have_an_empty_slot() -> None:
    near = order_graph(np.array([-1, 0, 1])).neighbourhood(1)
    assert near.index.tolist() == [[0, 0, 1], [1, 0, 2], [2, 1, 2]]
    assert near.mask.tolist() == [[True, False, True], [True] * 3, [True, True, False]]


def test_slots_in_a_platoon_are_those_inside_it() -> None:
    near = order_graph(np.array([-1, 0, 1, 2])).neighbourhood(2)
    taken = np.where(near.mask, near.index, -1)
    # self, 1 ahead, 1 behind, 2 ahead, 2 behind
    assert taken.tolist() == [
        [0, -1, 1, -1, 2],
        [1, 0, 2, -1, 3],
        [2, 1, 3, 0, -1],
        [3, 2, -1, 1, -1],
    ]


def test_of_two_followers_one_takes_the_slot_and_the_other_comes_after() -> None:
    near = order_graph(np.array([-1, 0, 0])).neighbourhood(1)  # 1 and 2 both behind 0
    taken = np.where(near.mask, near.index, -1)
    assert taken.tolist() == [[0, -1, 1, 2], [1, 0, -1, -1], [2, 0, -1, -1]]


def test_a_limit_counts_empty_slots() -> None:
    near = order_graph(np.array([-1, 0, 1])).neighbourhood(1, max_neighbours=1)
    assert near.index.tolist() == [[0, 0], [1, 0], [2, 1]]
    assert near.mask.tolist() == [[True, False], [True, True], [True, True]]


@pytest.mark.parametrize(
    ("n", "k", "pattern"),
    [
        (2, 1, [0, -1]),
        (3, 1, [0, -1, 1]),
        (4, 2, [0, -1, 1, -2]),  # 2 ahead is 2 behind
        (5, 4, [0, -1, 1, -2, 2]),
    ],
)
def test_on_a_short_loop_everyone_is_met_once(n: int, k: int, pattern: list[int]) -> None:
    near = order_graph(ring_leader(n)).neighbourhood(k)
    assert near.mask.all()
    assert near.index.tolist() == [[(i + step) % n for step in pattern] for i in range(n)]


# --- edge cases


@pytest.mark.parametrize("leader", [[-1], [0]])
def test_a_lone_vehicle_has_no_neighbours_even_as_its_own_leader(leader: list[int]) -> None:
    graph = order_graph(np.array(leader))
    assert graph.graph.number_of_edges() == 0
    for k in (0, 1, 3):
        assert graph.neighbourhood(k, 2).index.tolist() == [[0]]
        assert graph.k_hop_sets(k) == [{0}]


def test_on_a_ring_of_two_leader_and_follower_are_one_neighbour() -> None:
    near = order_graph(np.array([1, 0])).neighbourhood(3)
    assert near.index.tolist() == [[0, 1], [1, 0]] and near.mask.all()


def test_without_leaders_everyone_is_alone() -> None:
    graph = order_graph(np.full(4, -1))
    assert graph.k_hop_sets(3) == [{0}, {1}, {2}, {3}]
    assert graph.neighbourhood(3).index.tolist() == [[0], [1], [2], [3]]


def test_zero_hops_are_the_agent_itself() -> None:
    near = order_graph(ring_leader(5)).neighbourhood(0)
    assert near.index.tolist() == [[i] for i in range(5)] and near.mask.all()


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(ScenarioError, match="-1 hops"):
        order_graph(ring_leader(3)).k_hop_sets(-1)
    with pytest.raises(ScenarioError, match="2 names for 3 agents"):
        VehicleGraph(names(2), NO_EDGES, ring_leader(3), np.arange(3))


def test_a_graph_handed_out_cannot_be_changed() -> None:
    graph = order_graph(ring_leader(3))
    with pytest.raises(nx.NetworkXError, match=r"[Ff]rozen"):
        graph.graph.remove_edge(0, 1)


# --- edges


def test_human_drivers_between_agents_break_links_but_not_the_order() -> None:
    # A platoon of six: agents are vehicles 1, 2, 4 and 5, of which 3 cuts one link.
    agents = np.array([5, 1, 2, 4])
    leader = np.array([-1, 0, 1, 2, 3, 4])
    graph = order_graph(leader, agents)
    assert links(graph) == {frozenset({1, 2}), frozenset({3, 0})}
    wide = VehicleGraph(names(4), np.array([[2, 0], [2, 1], [2, 3]]), leader, agents)
    near = wide.neighbourhood(1)
    # Vehicle 1 is ahead of vehicle 2; 3, behind it, is no agent; 4 and 5 come after by distance.
    assert near.index[2].tolist() == [2, 1, 2, 3, 0]
    assert near.mask[2].tolist() == [True, True, False, True, True]


def test_range_edges_are_straight_lines_and_skip_vehicles_that_are_nowhere() -> None:
    xy = np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 10.0], [np.nan, np.nan], [np.inf, 0.0]])
    assert pairs(range_edges(xy, 5.01)) == {frozenset({0, 1})}
    assert pairs(range_edges(xy, 5.0)) == set(), "closer than the radius, not at it"
    assert pairs(range_edges(xy, 10.5)) == {frozenset(e) for e in [(0, 1), (1, 2), (0, 2)]}


def test_leader_follower_edges_ignore_missing_leaders() -> None:
    assert pairs(leader_follower_edges(np.array([-1, 0, 0, 3]))) == {
        frozenset({0, 1}),
        frozenset({0, 2}),
    }


# A figure eight of 400 m whose arms cross at 10 m and at 210 m of the course.
CROSSINGS = ((10.0, 210.0),)


def test_conflicts_at_the_crossing_of_a_figure_eight() -> None:
    position = np.array(
        [
            390.0,  # 0: 20 m before the first arm, across the start of the course
            5.0,  # 1: 5 m before the first arm
            180.0,  # 2: 30 m before the second arm, exactly the limit
            179.0,  # 3: too far from the second arm
            215.0,  # 4: past the second arm
            210.0,  # 5: on the point of the second arm
            np.nan,  # 6: nowhere
        ]
    )
    edges = conflict_edges(position, 400.0, CROSSINGS, 30.0)
    assert pairs(edges) == {frozenset(e) for e in [(0, 2), (0, 5), (1, 2), (1, 5)]}


def test_on_an_open_course_a_crossing_behind_is_no_conflict() -> None:
    position = np.array([390.0, 5.0, 200.0])
    assert pairs(conflict_edges(position, np.inf, CROSSINGS, 30.0)) == {frozenset({1, 2})}


def test_vehicles_on_one_arm_are_no_conflict_however_far_they_look() -> None:
    for position in ([390.0, 5.0], [190.0, 205.0]):  # the other arm follows 200 m later
        edges = conflict_edges(np.array(position), 400.0, CROSSINGS, 300.0)
        assert pairs(edges) == set()


def test_kinds_of_edges_add_up_per_replica() -> None:
    leader = np.array([[-1, 0, -1, -1], [-1, -1, -1, -1]])
    position = np.array([[0.0, 0.0, 0.0, 205.0], [100.0] * 4])
    xy = np.array([[0.0, 0.0], [50.0, 0.0], [51.0, 0.0], [500.0, 0.0]])
    config = GraphConfig(range_m=2.0, conflict_distance_m=20.0)

    def replica_graph(replica: int) -> VehicleGraph:
        return build_graph(
            config,
            make_states(leader, position),
            replica,
            np.arange(4),
            names=names(4),
            xy=xy,
            crossings=CROSSINGS,
        )

    by_order, by_range = frozenset({0, 1}), frozenset({1, 2})
    by_conflict = {frozenset({i, 3}) for i in range(3)}
    assert links(replica_graph(0)) == {by_order, by_range} | by_conflict
    assert links(replica_graph(1)) == {by_range}


def test_coordinates_are_those_of_the_agents_among_all_vehicles() -> None:
    xy = np.array([[0.0, 0.0], [100.0, 0.0], [1.0, 0.0], [101.0, 0.0]])
    config = GraphConfig(leader_follower=False, range_m=5.0)
    states = make_states(np.full(4, -1))
    graph = build_graph(config, states, 0, np.array([3, 0, 1]), names=names(3), xy=xy)
    assert links(graph) == {frozenset({0, 2})}


def test_range_without_coordinates_is_refused() -> None:
    states = make_states(ring_leader(3))
    with pytest.raises(ScenarioError, match=r"graph\.range_m.*xy"):
        build_graph(GraphConfig(range_m=5.0), states, 0, np.arange(3), names=names(3))


# --- keeping up to date


def test_the_tracker_rebuilds_only_when_the_order_changes() -> None:
    tracker = GraphTracker(GraphConfig(), 0, np.arange(3), names=names(3))
    states = make_states(np.array([-1, 0, 1]))
    first = tracker.update(states)
    states.position = states.position + 7.0
    assert tracker.update(states) is first
    states.leader[:] = [1, -1, 0]  # in place, as a simulation may
    second = tracker.update(states)
    assert second is not first
    assert links(second) == {frozenset({0, 1}), frozenset({0, 2})}
    assert links(first) == {frozenset({0, 1}), frozenset({1, 2})}


def test_the_tracker_follows_positions_where_edges_depend_on_them() -> None:
    config = GraphConfig(leader_follower=False, range_m=10.0)
    tracker = GraphTracker(config, 0, np.arange(2), names=names(2))
    states = make_states(np.array([-1, 0]))
    near = tracker.update(states, np.array([[0.0, 0.0], [9.0, 0.0]]))
    assert tracker.update(states, np.array([[0.0, 0.0], [8.0, 0.0]])) is near
    assert links(near) == {frozenset({0, 1})}
    assert links(tracker.update(states, np.array([[0.0, 0.0], [12.0, 0.0]]))) == set()


def test_only_leader_follower_edges_are_static() -> None:
    assert is_static(GraphConfig())
    assert not is_static(GraphConfig(range_m=5.0))
    assert not is_static(GraphConfig(conflict_distance_m=5.0))


# --- several replicas


def test_stacked_neighbourhoods_are_each_replicas_own() -> None:
    graphs = [order_graph(np.array([-1, 0, 1])), order_graph(ring_leader(3))]
    near = padded_neighbourhoods(graphs, k=1)
    assert near.index.shape == near.mask.shape == (2, 3, 5)
    assert near.index.dtype == np.int64 and near.mask.dtype == np.bool_
    assert near.index[0].tolist() == [[0, 0, 1, 0, 0], [1, 0, 2, 1, 1], [2, 1, 2, 2, 2]]
    assert near.mask.sum(axis=-1).tolist() == [[2, 3, 2], [3, 3, 3]]
    for b, graph in enumerate(graphs):
        own = graph.neighbourhood(1)
        np.testing.assert_array_equal(near.index[b, :, : own.index.shape[1]], own.index)
    assert padded_neighbourhoods(graphs, k=1, max_neighbours=2).index.shape == (2, 3, 3)


def test_a_neighbourhood_of_another_width_has_the_first_slots_or_nobody_more() -> None:
    near = order_graph(np.array([-1, 0, 1])).neighbourhood(1)  # own, ahead, behind
    assert near.of_width(2).index.tolist() == [[0, 0], [1, 0], [2, 1]]
    assert near.of_width(2).mask.tolist() == [[True, False], [True, True], [True, True]]
    wide = near.of_width(5)
    assert wide.index.tolist() == [[0, 0, 1, 0, 0], [1, 0, 2, 1, 1], [2, 1, 2, 2, 2]]
    np.testing.assert_array_equal(wide.mask[:, :3], near.mask)
    assert not wide.mask[:, 3:].any()
    several = padded_neighbourhoods([order_graph(ring_leader(3))] * 2, k=1)
    assert several.of_width(7).index.shape == (2, 3, 7)


@settings(max_examples=60, deadline=None)
@given(random_graphs(), st.integers(0, 13), st.none() | st.integers(1, 4))
def test_padding_leaves_room_for_every_neighbour_there_may_be(
    graph: VehicleGraph, k: int, limit: int | None
) -> None:
    own, padded = graph.neighbourhood(k, limit), padded_neighbourhoods([graph], k, limit)
    width = own.index.shape[1]
    np.testing.assert_array_equal(padded.index[0, :, :width], own.index)
    np.testing.assert_array_equal(padded.mask[0, :, :width], own.mask)
    assert not padded.mask[0, :, width:].any()
    alone = VehicleGraph(graph.names, NO_EDGES, graph.leader, graph.agents)
    assert padded_neighbourhoods([alone], k, limit).index.shape == padded.index.shape
