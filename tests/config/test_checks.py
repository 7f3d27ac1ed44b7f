"""What the sections of a scenario demand of each other."""

from __future__ import annotations

import math

import pytest

from trafficrl.config import ScenarioConfig, load_scenario
from trafficrl.config.networks import FigureEightNetwork
from trafficrl.errors import ScenarioError


@pytest.fixture
def ring(base: str, tmp_path) -> ScenarioConfig:
    path = tmp_path / "small.yaml"
    path.write_text(base, encoding="utf-8")
    return load_scenario(path)


# One second at 1 m/s, behind the 10 m that stay free.
PLATOON = [
    "start={kind: platoon, headway_m: 20, speed_mps: 1}",
    "network={kind: road, length_m: 145}",
    "simulation.max_speed_mps=1",
    "episode.steps=10",
]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["network.length_m=260", "vehicles.0.count=57"],
            "vehicles: 60 vehicles do not fit a ring of 260 m (at most 37)",
        ),
        (
            ["network.length_range_m=[34.9, 260]"],
            "vehicles: 5 vehicles do not fit a ring of 34.9 m (at most 4)",
        ),
        (
            ["network={kind: figure_eight}", "vehicles.0.count=55"],
            "vehicles: 58 vehicles do not fit a figure eight of 402.7 m (at most 57)",
        ),
        (
            ["simulation.min_gap_m=16"],
            "vehicles: 5 vehicles do not fit a ring of 100 m (at most 4)",
        ),
        (
            ["vehicles.0.count=4", *PLATOON],
            "vehicles: a platoon of 7 vehicles is up to 165 m long and does not fit a road "
            "of 145 m",
        ),
        (
            [*PLATOON, "start.first_headway_factor=[1, 3]"],
            "vehicles: a platoon of 5 vehicles is up to 155 m long and does not fit a road "
            "of 145 m",
        ),
        (
            [*PLATOON, "episode.steps=310"],
            "network.length_m: 145 m can end before the episode does (at 1 m/s it takes 146 m)",
        ),
        (
            ["graph.conflict_distance_m=50"],
            "graph.conflict_distance_m: a ring has no crossing",
        ),
        (
            ["start.jitter_m=8"],
            "start.jitter_m: 8 m lets vehicles overlap (at most 7.5)",
        ),
        (
            ["warmup={controller: idm, duration_s: 1, parameters: {nois: 0.2}}"],
            "warmup.parameters: controller 'idm' has no parameter 'nois'",
        ),
        (
            ["vehicles.1.controller=imd"],
            "vehicles.1.controller: unknown controller 'imd'",
        ),
        (
            ["observation.0={feature: relative_speed_error}"],
            "observation.0: 'relative_speed_error' needs a first vehicle",
        ),
        (
            ["start={kind: platoon}"],
            "start.kind: 'platoon' does not go with a ring (should be 'uniform')",
        ),
        (
            ["network={kind: road}"],
            "start.kind: 'uniform' does not go with a road (should be 'platoon')",
        ),
        (
            ["episode.control_interval_s=0.25"],
            "episode.control_interval_s: 0.25 s is not a whole multiple of "
            "simulation.step_s = 0.1 s (nearest: 0.2)",
        ),
        (
            ["episode.control_interval_s=0.05"],
            "episode.control_interval_s: 0.05 s is not a whole multiple of "
            "simulation.step_s = 0.1 s (nearest: 0.1)",
        ),
        (
            ["simulation.step_s=0.0625"],
            "simulation.step_s: 0.0625 s is not a whole number of milliseconds",
        ),
        (
            ["vehicles.0.controller=idm"],
            "vehicles: at least one vehicle should have the controller 'learned'",
        ),
        (
            ["vehicles.1={controller: lead}"],
            "vehicles.1.controller: only the first group can be the 'lead'",
        ),
        (
            ["vehicles=[{controller: lead, count: 2}, {controller: learned}]"],
            "vehicles.0.count: should be 1, as one vehicle is the 'lead'",
        ),
        (
            ["training.algorithm=model_dump"],
            "training.algorithm: no algorithm is called 'model_dump' (known: dppo",
        ),
    ],
)
def test_a_contradiction_names_its_key(
    ring: ScenarioConfig, overrides: list[str], message: str
) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(ring, overrides)
    key, _, words = message.partition(": ")
    lines = str(caught.value).splitlines()
    assert any(key in line and words in line for line in lines), lines


@pytest.mark.parametrize(
    "overrides",
    [
        ["network.length_m=35"],
        ["network.length_range_m=[35, 40]"],
        ["episode.control_interval_s=0.3"],
        ["simulation.step_s=0.025", "episode.control_interval_s=0.1"],
        ["vehicles=[{controller: lead}, {controller: learned}]", *PLATOON],
        ["vehicles.0.count=3", *PLATOON],
        ["vehicles=[{controller: learned}]", *PLATOON],
    ],
)
def test_what_just_fits_is_accepted(ring: ScenarioConfig, overrides: list[str]) -> None:
    load_scenario(ring, overrides)


def test_every_contradiction_is_told(ring: ScenarioConfig) -> None:
    overrides = ["vehicles.0.controller=idm", "vehicles.1.count=90", "training.algorithm=x"]
    with pytest.raises(ScenarioError) as caught:
        load_scenario(ring, overrides)
    assert len(str(caught.value).splitlines()) == 3


def test_the_figure_eight_is_two_three_quarter_circles_and_four_arms(ring: ScenarioConfig) -> None:
    config = load_scenario(ring, ["network={kind: figure_eight, radius_m: 30}"])
    assert isinstance(config.network, FigureEightNetwork)
    circles, arms = 2 * 0.75 * 2 * math.pi * 30, 4 * 30
    assert config.network.shortest_lap == pytest.approx(circles + arms)
