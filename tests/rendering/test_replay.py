"""What is shown is what was evaluated, and what the picture should have is in it."""

from __future__ import annotations

import pytest

from trafficrl.errors import TrafficRLError
from trafficrl.rendering import Scene
from trafficrl.rendering.colours import DISTINCT
from trafficrl.simulation.view import LINK, MISSING

from .conftest import SIZE, Show, needs_screen

pytestmark = needs_screen


@pytest.mark.parametrize(
    ("driver", "scenario", "overrides"),
    [
        ("idm:noise=0.2", "ring", []),
        ("sumo:IDM", "ring", ["simulation.speed_mode=31"]),
        ("idm", "ring_mixed", ["warmup.duration_s=2"]),
        ("constant:3", "catchup", []),
        ("idm", "figure_eight", []),
        ("idm", "transfer/grid", []),
        ("idm", "transfer/merge", ["episode.steps=120"]),  # until somebody has departed
    ],
)
def test_a_replay_is_the_evaluated_episode_to_the_last_bit(
    show: Show, driver: str, scenario: str, overrides: list[str]
) -> None:
    short = ["episode.steps=24", *([] if "warmup.duration_s=2" in overrides else ["warmup=null"])]
    shown = show(driver, scenario, *overrides, short=short)
    assert shown.differs_at is None
    assert len(shown.pictures) == len(shown.trajectory.times) // 8


def test_another_episode_is_noticed(show: Show) -> None:
    shown = show("idm:noise=0.2", "ring", seed=0, replayed_seed=1)
    assert shown.differs_at == 0


def test_pictures_have_the_size_that_was_asked_for_and_are_of_the_steps_shown(show: Show) -> None:
    shown = show("idm", "ring", start=0.5, seconds=1.0, every=2)
    assert len(shown.pictures) == 5
    assert {picture.shape[:2][::-1] for picture in shown.pictures} == {SIZE}


def test_links_are_drawn_where_the_graph_is_asked_for(show: Show) -> None:
    assert show("idm", "ring", graph=True).has(LINK)
    assert not show("idm", "ring").has(LINK)


def test_every_policy_has_its_colour_and_the_scripted_lead_has_none(show: Show) -> None:
    shown = show("constant:3", "catchup", colour="policy", follow="all")
    assert all(shown.has(colour) for colour in DISTINCT)
    assert shown.has(MISSING)


def test_the_first_picture_is_coloured_too(show: Show) -> None:
    shown = show("constant:3", "catchup", colour="policy", follow="all")
    assert all(shown.has(colour, picture=0) for colour in DISTINCT)


def test_the_camera_stays_on_who_is_followed(show: Show) -> None:
    """It drives 200 m, twice what is in view."""
    shown = show("idm", "catchup", "episode.steps=200", follow="cav_3", colour="policy", every=199)
    columns = [shown.where(DISTINCT[3], picture)[:, 1].mean() for picture in (0, -1)]
    assert shown.trajectory.distance[-1, 4] > 200.0
    assert columns[1] == pytest.approx(columns[0], abs=100)


@pytest.mark.parametrize(
    ("scene", "message"),
    [
        (Scene(start=99.0), "--start 99: the episode is over after 2.4 s"),
        (Scene(follow="cav_99"), "--follow cav_99: no such vehicle"),
    ],
)
def test_what_is_not_there_is_said(show: Show, scene: Scene, message: str) -> None:
    with pytest.raises(TrafficRLError, match=message):
        show("idm", "ring", start=scene.start, follow=scene.follow)
