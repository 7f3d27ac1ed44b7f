"""A controller keeps what is its own in another scenario, or is refused before anything runs."""

from __future__ import annotations

import pytest

from trafficrl import load_scenario
from trafficrl.config import ScenarioConfig
from trafficrl.errors import ScenarioError
from trafficrl.evaluation.carry import carry, scenario_to_drive
from trafficrl.resources import scenario_names
from trafficrl.terms import FEATURES

ALONE = "observation=[{feature: speed, scale: 10.0}, {feature: headway, scale: 20.0}]"
PLACED = "observation=[{feature: speed, scale: 10.0}, {feature: position_over_length}]"


@pytest.mark.parametrize("name", scenario_names())
def test_nothing_changes_on_the_own_scenario(name: str) -> None:
    config = load_scenario(name)
    assert carry(config, config) == config


def test_what_is_the_controllers_comes_along_and_all_else_is_the_worlds() -> None:
    trained = load_scenario("ring", ["graph.max_neighbours=1"])
    other = load_scenario("figure_eight", ["simulation.speed_mode=25", "episode.steps=70"])
    driven = carry(trained, other)
    assert driven.observation == trained.observation
    assert (driven.action, driven.graph) == (trained.action, trained.graph)
    assert driven.episode.control_interval_s == 0.5
    own = {"observation", "action", "graph", "episode"}
    for name in set(ScenarioConfig.model_fields) - own:
        assert getattr(driven, name) == getattr(other, name)
    assert driven.episode.steps == 70


def test_the_control_interval_is_the_controllers() -> None:
    trained = load_scenario("ring", ["episode.control_interval_s=0.2"])
    assert carry(trained, load_scenario("figure_eight")).episode.control_interval_s == 0.2
    coarse = load_scenario(
        "figure_eight", ["simulation.step_s=0.5", "episode.control_interval_s=0.5"]
    )
    with pytest.raises(
        ScenarioError, match=r"0\.2 s is not a whole multiple of .*step_s"
    ) as caught:
        carry(trained, coarse)
    assert "\n" not in str(caught.value)


def test_links_of_a_crossing_are_none_where_there_is_no_crossing() -> None:
    trained = load_scenario("figure_eight", [ALONE, "graph.conflict_distance_m=60"])
    assert carry(trained, load_scenario("ring")).graph.conflict_distance_m is None
    assert carry(trained, load_scenario("figure_eight_free")).graph == trained.graph


@pytest.mark.parametrize(
    ("trained", "changes", "other", "refused", "travels"),
    [
        ("ring", [PLACED], "figure_eight", ["position_over_length"], ["speed", "headway"]),
        (
            "catchup",
            [],
            "ring",
            ["speed_error", "relative_speed_error"],
            ["relative_speed", "optimal_velocity_error"],
        ),
    ],
)
def test_features_that_do_not_travel_are_named_beside_those_that_do(
    trained: str, changes: list[str], other: str, refused: list[str], travels: list[str]
) -> None:
    source, target = load_scenario(trained, changes), load_scenario(other)
    with pytest.raises(ScenarioError) as caught:
        carry(source, target)
    message = str(caught.value)
    assert message.startswith(f"'{other}' cannot be driven by what was trained on '{trained}': ")
    assert "\n" not in message
    reasons, _, rest = message.partition(" (features that travel there: ")
    own = {item.feature for item in source.observation}
    for name in FEATURES:
        assert (f"'{name}'" in reasons) == (name in refused and name in own)
        if name in refused:
            assert name not in rest.rstrip(")").split(", ")
    for name in travels:
        assert name in rest.rstrip(")").split(", ")


@pytest.mark.parametrize("change", ["network.length_m=400", "network.length_range_m=[220, 270]"])
def test_a_place_on_the_road_does_not_travel_to_another_length(change: str) -> None:
    trained = load_scenario("ring", [PLACED])
    with pytest.raises(ScenarioError, match="'position_over_length' depends on the network"):
        carry(trained, load_scenario("ring", [change]))
    faster = load_scenario("ring", ["network.speed_limit_mps=20", "vehicles.0.count=15"])
    assert carry(trained, faster).observation == trained.observation


def test_a_lead_may_lead_elsewhere() -> None:
    trained = load_scenario("catchup")
    assert carry(trained, load_scenario("slowdown")).observation == trained.observation


# --set ----------------------------------------------------------------------------------


def test_overrides_are_of_what_is_driven_in() -> None:
    trained = load_scenario("ring")
    driven = scenario_to_drive(trained, "figure_eight", ["network.radius_m=40"])
    assert driven.network.radius_m == 40.0
    assert driven.observation == trained.observation
    own = scenario_to_drive(trained, trained, ["network.length_m=300"])
    assert own == load_scenario("ring", ["network.length_m=300"])


@pytest.mark.parametrize(
    "override",
    [
        "observation.0.scale=11",
        "observation=[{feature: speed}]",
        "action.max_mps2=2.0",
        "graph.max_neighbours=1",
        "episode.control_interval_s=0.1",
    ],
)
def test_overrides_of_what_is_the_controllers_are_refused(override: str) -> None:
    key = override.partition("=")[0]
    with pytest.raises(ScenarioError, match=f"^--set {key}: is the controller's") as caught:
        scenario_to_drive(load_scenario("ring"), "figure_eight", [override])
    assert "\n" not in str(caught.value)


# The scenario that is made for it -------------------------------------------------------


@pytest.mark.parametrize("other", scenario_names())
def test_a_controller_of_ring_local_drives_anywhere(other: str) -> None:
    trained, world = load_scenario("ring_local"), load_scenario(other)
    assert carry(trained, world).observation == trained.observation
    assert trained.algorithms.dmpo.share_parameters


def test_ring_local_observes_a_free_road_as_a_standing_start() -> None:
    """No input leaves the range of the training: each is clipped, and a standing vehicle
    with the room before it that jitter may give reads as one with all the room there is.
    """
    trained = load_scenario("ring_local")
    assert all(item.clip is not None for item in trained.observation)
    error = next(item for item in trained.observation if item.feature == "gap_speed_error")
    assert error.clip is not None
    room = 220 / 22 - 5 + 2 * trained.start.jitter_m  # type: ignore[union-attr]
    allowed = (room - error.parameters["min_gap_m"]) / error.parameters["time_gap_s"]
    assert allowed / error.scale > error.clip[1]
