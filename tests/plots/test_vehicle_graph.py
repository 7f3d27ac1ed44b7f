"""The vehicle graph: what is drawn is what the graph says."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch

from trafficrl import load_scenario
from trafficrl.errors import TrafficRLError
from trafficrl.evaluation.drivers import make_driver
from trafficrl.evaluation.evaluate import run_episodes
from trafficrl.evaluation.snapshot import Snapshot, take_snapshot
from trafficrl.evaluation.trajectory import Trajectory
from trafficrl.plots import vehicle_graph


def snapshot(scenario: str, *overrides: str, time: float = 5.0, episode: int = 0) -> Snapshot:
    config = load_scenario(scenario, overrides)
    return take_snapshot(make_driver("idm")[0], config, time=time, episode=episode)


@pytest.fixture(scope="module")
def ring() -> Snapshot:
    return snapshot("ring")


@pytest.fixture(scope="module")
def eight() -> Snapshot:
    """With links between the arms of the crossing."""
    return snapshot("figure_eight", "graph.conflict_distance_m=60")


def dots(axes: Axes) -> dict[str, np.ndarray]:
    """Coordinates by what the legend says of them, without the count."""
    return {
        str(one.get_label()).partition(" (")[0]: np.asarray(one.get_offsets())
        for one in axes.collections
        if not isinstance(one, PolyCollection)
    }


def links(figure: Figure) -> list[FancyArrowPatch]:
    return [one for one in figure.axes[0].patches if isinstance(one, FancyArrowPatch)]


@pytest.mark.parametrize("hops", [0, 1, 3])
@pytest.mark.parametrize("place", [3, 7])
@pytest.mark.parametrize("name", ["ring", "eight"])
def test_the_set_that_the_graph_names_is_filled_by_hops(
    request: pytest.FixtureRequest, name: str, place: int, hops: int
) -> None:
    shot: Snapshot = request.getfixturevalue(name)
    graph, xy = shot.graph, shot.xy[shot.graph.agents]
    figure = vehicle_graph(shot, f"cav_{place}", hops)
    drawn = dots(figure.axes[0])
    np.testing.assert_array_equal(drawn[f"cav_{place}"], xy[[place]])
    inside = np.concatenate([at for label, at in drawn.items() if not label.startswith("further")])
    members = sorted(graph.k_hop_sets(hops)[place])
    np.testing.assert_array_equal(np.sort(inside, axis=0), np.sort(xy[members], axis=0))
    if hops:
        ring_of_one = sorted(graph.k_hop_sets(1)[place] - {place})
        np.testing.assert_array_equal(
            np.sort(drawn["1 hop"], axis=0), np.sort(xy[ring_of_one], axis=0)
        )
    assert len(links(figure)) == graph.graph.number_of_edges()
    dark = [one for one in links(figure) if one.get_linewidth() > 1]
    assert len(dark) == sum({a, b} <= set(members) for a, b in graph.graph.edges)


def test_vehicles_are_on_the_road(eight: Snapshot) -> None:
    """Nobody is further from the middle of a lane than half its width."""
    points = np.concatenate(
        [
            np.linspace(a, b, 50)
            for lane in eight.lanes
            for a, b in zip(lane.points[:-1], lane.points[1:], strict=True)
        ]
    )
    apart = np.linalg.norm(eight.xy[:, None] - points[None], axis=-1).min(axis=1)
    assert apart.max() < 1.6
    (road,) = [
        one for one in vehicle_graph(eight).axes[0].collections if isinstance(one, PolyCollection)
    ]
    assert len(road.get_paths()) == len(eight.lanes)


def test_humans_are_drawn_but_are_nobody_to_talk_to() -> None:
    shot = snapshot("ring_mixed", "warmup=null", time=1.0)
    figure = vehicle_graph(shot)
    drawn = dots(figure.axes[0])
    assert len(drawn["other vehicles"]) == 21 and len(drawn["cav_0"]) == 1
    assert not links(figure)


def test_of_a_long_road_the_stretch_with_vehicles_is_shown() -> None:
    shot = snapshot("catchup", time=1.0)
    left, right = vehicle_graph(shot, "cav_3").axes[0].get_xlim()
    assert right - left < 300.0 < np.ptp(shot.lanes[0].points[:, 0])
    assert left < shot.xy[:, 0].min() and shot.xy[:, 0].max() < right


def test_the_moment_is_that_of_the_evaluated_episode() -> None:
    config = load_scenario("ring", ["episode.steps=60"])
    found: list[Trajectory] = []
    driver = make_driver("idm:noise=0.2")[0]
    run_episodes(driver, config, episodes=2, places=True, on_episode=found.append)
    for time, row in ((0.5, 4), (2.7, 29), (6.0, 59)):
        shot = take_snapshot(driver, config, time=time, episode=1)
        places = found[1].places
        assert places is not None and shot.time == pytest.approx(0.1 * (row + 1))
        np.testing.assert_array_equal(shot.xy, np.column_stack([places.x[row], places.y[row]]))


def test_mistakes_are_named(ring: Snapshot) -> None:
    with pytest.raises(TrafficRLError, match=r"'veh_1' is there after 5 s \(there are: cav_0, "):
        vehicle_graph(ring, "veh_1")
    with pytest.raises(TrafficRLError, match="ring: the episode ends after 2 s, before 5 s"):
        snapshot("ring", "episode.steps=20")


def test_vehicles_that_are_not_there_are_not_drawn() -> None:
    shot = snapshot("transfer/merge", time=20.0)
    here = np.isfinite(shot.xy[:, 0])
    assert 0 < here.sum() < len(here)
    drawn = dots(vehicle_graph(shot).axes[0])
    assert sum(map(len, drawn.values())) == here.sum()
