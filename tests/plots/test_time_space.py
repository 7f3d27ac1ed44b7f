"""Time-space diagrams: every line is a stretch that a vehicle drove."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from trafficrl.errors import TrafficRLError
from trafficrl.evaluation.trajectory import Trajectory
from trafficrl.plots import find_route, time_space
from trafficrl.plots.routes import follow_one_course, measure_route, most_driven
from trafficrl.plots.time_space import THICK, THIN, segments
from trafficrl.simulation.course import read_courses
from trafficrl.simulation.net_files import build_streets

from .conftest import Drive


def collections(figure: Figure) -> list[LineCollection]:
    """Of the panels, not of the colour bar."""
    found = [one for axes in figure.axes for one in axes.collections if axes.get_title()]
    return [one for one in found if isinstance(one, LineCollection)]


# Lines --------------------------------------------------------------------------------


def test_no_line_crosses_the_end_of_a_lap(laps: Trajectory) -> None:
    ended = np.diff(laps.position, axis=0) < -60.0
    assert ended.sum() >= 12, "everybody ends several laps"
    lines, _, column = segments(laps, laps.position)
    assert len(lines) == np.diff(laps.position, axis=0).size - ended.sum()
    (t0, x0), (t1, x1) = lines[:, 0].T, lines[:, 1].T
    np.testing.assert_allclose(t1 - t0, 0.1)
    rows = np.rint(t0 / 0.1).astype(int)
    np.testing.assert_allclose(x1 - x0, np.diff(laps.distance, axis=0)[rows - 1, column], atol=1e-6)


def test_a_line_has_the_mean_speed_of_its_ends(laps: Trajectory) -> None:
    lines, speed, column = segments(laps, laps.position)
    row = np.rint(lines[:, 0, 0] / 0.1).astype(int) - 1
    expected = (laps.speed[row, column] + laps.speed[row + 1, column]) / 2
    np.testing.assert_array_equal(speed, expected)


def test_a_slot_that_another_vehicle_takes_begins_a_new_line(merge: Trajectory) -> None:
    assert merge.entered[1:].any()
    lines, _, column = segments(merge, merge.position)
    end = np.rint(lines[:, 1, 0] / merge.step_length).astype(int) - 1
    assert not merge.entered[end, column].any()
    assert merge.present[end, column].all() and merge.present[end - 1, column].all()


def test_panels_have_one_scale_of_speeds_and_their_labels(laps: Trajectory, drive: Drive) -> None:
    slow = replace(laps, speed=laps.speed / 2)
    figure = time_space([slow, laps], ["slow", "fast"])
    drawn = collections(figure)
    assert [axes.get_title() for axes in figure.axes[:2]] == ["slow", "fast"]
    assert {one.get_clim() for one in drawn} == {(0.0, laps.speed.max())}
    assert figure.axes[0].get_ylim() == (0.0, 120.0)
    assert figure.axes[0].get_xlim() == (0.0, pytest.approx(90.0))


def test_more_panels_than_a_row_holds_begin_another(laps: Trajectory) -> None:
    figure = time_space([laps] * 4, [*"abcd"])
    shown = [axes for axes in figure.axes if axes.get_title()]
    assert len(shown) == 4
    assert [axes.get_xlabel() for axes in shown] == ["", "time (s)", "time (s)", "time (s)"]


def test_the_fewer_of_learning_and_other_vehicles_are_thicker(
    laps: Trajectory, drive: Drive
) -> None:
    (alike,) = collections(time_space([laps], ["all learn"]))
    assert set(alike.get_linewidths()) == {THIN}
    for scenario, thick, thin, who in (
        ("catchup", 1, 8, "other vehicles"),
        ("ring_mixed", 1, 21, "learning vehicles"),
    ):
        figure = time_space([drive(scenario, "warmup=null", steps=20)], ["mixed"])
        (some,) = collections(figure)
        widths = np.array(some.get_linewidths())
        assert (widths == THICK).sum() == thick * 19 and (widths == THIN).sum() == thin * 19
        assert [text.get_text() for text in figure.legends[0].get_texts()] == [who]


def test_a_collision_is_a_cross_where_it_began(laps: Trajectory) -> None:
    collided = np.zeros_like(laps.collided)
    collided[100:, 2] = True
    figure = time_space([replace(laps, collided=collided)], ["crash"])
    (mark,) = figure.axes[0].get_lines()
    assert mark.get_xydata().tolist() == [[laps.times[100], laps.position[100, 2]]]
    assert not time_space([laps], ["none"]).axes[0].get_lines()


def test_nothing_to_draw_is_said() -> None:
    with pytest.raises(TrafficRLError, match="no trajectory"):
        time_space([], [])


# Routes -------------------------------------------------------------------------------


def test_courses_need_no_route_and_streets_do(
    laps: Trajectory, grid: Trajectory, merge: Trajectory, drive: Drive
) -> None:
    for course in (laps, drive("catchup", steps=30), drive("figure_eight")):
        assert follow_one_course(course) and find_route([course]) is None
    for streets in (grid, merge):
        assert not follow_one_course(streets)
        route = find_route([streets])
        assert route is not None and len(route.edges) > 1
    with pytest.raises(TrafficRLError, match="places=True"):
        follow_one_course(replace(grid, places=None))


def test_places_along_a_route_are_those_of_the_network(grid: Trajectory) -> None:
    """Against lengths of lanes as sumolib reads them; inside junctions lanes differ in length."""
    from trafficrl import load_scenario

    route = find_route([grid])
    assert route is not None
    net_file = build_streets(load_scenario("transfer/grid").network).net_file  # type: ignore[arg-type]
    (course,) = read_courses(net_file, [route.edges], closed=False)
    np.testing.assert_allclose(route.starts, course.edge_starts, atol=5.0)
    position, places = route.positions(grid), grid.places
    assert places is not None
    on_route = np.zeros(position.shape, dtype=bool)
    for edge, start in zip(route.edges, route.starts, strict=True):
        there = np.vectorize(lambda lane, edge=edge: lane.rpartition("_")[0] == edge)(places.lane)
        np.testing.assert_allclose(position[there], start + places.lane_position[there])
        on_route |= there
    rest = np.isfinite(position) & ~on_route
    inside = [lane.startswith(":") for lane in places.lane[rest]]
    assert rest.any() and all(inside)


def test_lines_go_on_through_junctions_of_the_route(grid: Trajectory) -> None:
    route = find_route([grid])
    assert route is not None
    position = route.positions(grid)
    lines, _, _ = segments(grid, position)
    moved = lines[:, 1, 1] - lines[:, 0, 1]
    assert moved.min() > -5.0 and moved.max() < 7.0, "m in 0.1 s, and where lanes differ in length"
    second = route.starts[1]
    crossed = (lines[:, 0, 1] < second) & (lines[:, 1, 1] >= second)
    assert crossed.any()


def test_the_most_driven_edges_are_joined_as_vehicles_drive_them(
    grid: Trajectory, merge: Trajectory
) -> None:
    edges = most_driven([grid])
    assert len(set(edges)) == len(edges) > 1
    measure_route([grid], edges)
    assert most_driven([merge]) == ("motorway", "acceleration", "onward")


def test_a_route_that_nobody_drives_is_refused(grid: Trajectory) -> None:
    one, other = most_driven([grid])[:2]
    for edges, reason in (
        (["nowhere"], "nobody drives on an edge 'nowhere'"),
        ([other, one], f"nobody drives from '{other}' to '{one}'"),
        ([one, one], "none of them twice"),
        ([], "needs edges"),
    ):
        with pytest.raises(TrafficRLError, match=reason) as caught:
            measure_route([grid], edges)
        assert "\n" not in str(caught.value)


def test_a_picture_along_a_route_says_which(grid: Trajectory) -> None:
    one, other = most_driven([grid])[:2]
    figure = time_space([grid], ["idm"], find_route([grid], [one, other]))
    assert figure.axes[0].get_ylabel() == f"along {one} ... {other} (m)"
