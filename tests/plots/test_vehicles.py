"""Series of vehicles: each line is what one of them did."""

from __future__ import annotations

import numpy as np
import pytest

from trafficrl.errors import TrafficRLError
from trafficrl.evaluation.trajectory import Trajectory
from trafficrl.plots import vehicle_series

from .conftest import Drive


def test_each_panel_has_a_line_for_each_vehicle(laps: Trajectory) -> None:
    figure = vehicle_series(laps)
    for axes, values in zip(
        figure.axes, (laps.speed, laps.headway, laps.acceleration), strict=True
    ):
        drawn = np.column_stack([line.get_ydata() for line in axes.get_lines()])
        np.testing.assert_array_equal(drawn, values)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == list(laps.vehicles)


def test_a_lead_has_no_headway_and_another_look_than_learners(drive: Drive) -> None:
    platoon = drive("catchup", steps=20)
    figure = vehicle_series(platoon)
    lead, *learners = figure.axes[1].get_lines()
    assert np.isnan(lead.get_ydata()).all()
    assert lead.get_linestyle() == "--" and {one.get_linestyle() for one in learners} == {"-"}
    assert len({one.get_color() for one in (lead, *learners)}) == 9
    (entry,) = figure.legends[0].get_texts()
    assert entry.get_text() == "veh_0"
    ends = [label.get_text() for label in figure.axes[-1].get_yticklabels()]
    assert ends == ["cav_0", "cav_7"], "eight are a scale, not eight entries"


def test_many_humans_are_one_entry(drive: Drive) -> None:
    mixed = drive("ring_mixed", "warmup=null", steps=20)
    names = [text.get_text() for text in vehicle_series(mixed).legends[0].get_texts()]
    assert names == ["21 other vehicles", "cav_0"]


def test_vehicles_can_be_chosen_and_unknown_ones_are_refused(laps: Trajectory) -> None:
    figure = vehicle_series(laps, ["cav_4", "cav_1"])
    assert len(figure.axes[0].get_lines()) == 2
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["cav_4", "cav_1"]
    with pytest.raises(TrafficRLError, match=r"'cav_9' \(there are: cav_0, .*cav_5\)"):
        vehicle_series(laps, ["cav_9"])


def test_a_slot_that_another_vehicle_takes_begins_a_new_line(merge: Trajectory) -> None:
    drawn = np.column_stack(
        [line.get_ydata() for line in vehicle_series(merge).axes[0].get_lines()]
    )
    used = merge.present.any(axis=0)
    there = merge.present & ~merge.entered
    np.testing.assert_array_equal(np.isfinite(drawn), there[:, used])


def test_rounding_errors_fill_no_panel(drive: Drive) -> None:
    figure = vehicle_series(drive("ring_free", name="constant:0", steps=20))
    low, high = figure.axes[2].get_ylim()
    assert high - low >= 0.1
