"""Takes a controller to a scenario that it was not trained on.

What belongs to the controller comes from its training: observation, action,
graph, control interval. What belongs to the world comes from the scenario to
drive in: network, vehicles, simulation, start, warm-up, episode, reward.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from trafficrl.config import ScenarioConfig, load_scenario
from trafficrl.config.checks import CheckError, check_scenario, has_crossing, has_lead
from trafficrl.config.scenario import FeatureConfig
from trafficrl.errors import ScenarioError
from trafficrl.terms import FEATURES, NEEDS_LEAD, OWN_NETWORK


class CarryError(ScenarioError):
    """A controller cannot be taken there; ``reason`` says why, in short."""

    def __init__(self, trained: ScenarioConfig, other: ScenarioConfig, reason: str, hint: str = ""):
        self.reason = reason
        super().__init__(
            f"'{other.name}' cannot be driven by what was trained on '{trained.name}': "
            f"{reason}{hint}"
        )


# What of a scenario has no part in an evaluation, or belongs to the controller.
NOT_OF_THE_TASK: dict[str, Any] = {
    **dict.fromkeys(("name", "description", "training", "algorithms"), True),
    **dict.fromkeys(("observation", "action", "graph"), True),
    "episode": {"control_interval_s"},
}
CARRIED = ("observation", "action", "graph", "episode.control_interval_s")


def carry(trained: ScenarioConfig, other: ScenarioConfig) -> ScenarioConfig:
    """``other`` as controllers that were trained on ``trained`` drive in it.

    Raises ``CarryError`` on one line where they cannot, with the features
    that cannot be observed there and those that can.
    """
    there = {"same_road": _road(trained) == _road(other), "lead": has_lead(other)}
    left = left_behind(trained.observation, **there)
    if left:
        hint = f" (features that travel there: {', '.join(that_travel(**there))})"
        raise CarryError(trained, other, "; ".join(left), hint)
    graph = trained.graph
    if not has_crossing(other.network):  # where no edge can come of it
        graph = graph.model_copy(update={"conflict_distance_m": None})
    interval = {"control_interval_s": trained.episode.control_interval_s}
    driven = other.model_copy(
        update={
            "observation": trained.observation,
            "action": trained.action,
            "graph": graph,
            "episode": other.episode.model_copy(update=interval),
        }
    )
    try:
        check_scenario(driven)
    except CheckError as error:
        raise CarryError(trained, other, str(error)) from None
    return driven


def task(config: ScenarioConfig) -> dict[str, Any]:
    """What a controller has to do: all of the scenario that an evaluation depends on but it."""
    return config.model_dump(exclude=NOT_OF_THE_TASK)


def scenario_to_drive(
    trained: ScenarioConfig,
    scenario: str | os.PathLike[str] | ScenarioConfig,
    overrides: Sequence[str] = (),
) -> ScenarioConfig:
    """``scenario`` with ``overrides``, which are those of the world alone, carried to."""
    check_overrides(trained, overrides)
    return carry(trained, load_scenario(scenario, overrides))


def check_overrides(trained: ScenarioConfig, overrides: Sequence[str]) -> None:
    """Raise ``ScenarioError`` where one is of what belongs to the controller."""
    for override in overrides:
        key = override.partition("=")[0].strip()
        if any(key == own or key.startswith(f"{own}.") for own in CARRIED):
            raise ScenarioError(
                f"--set {key}: is the controller's, and comes from its training on "
                f"'{trained.name}' (as do {', '.join(own for own in CARRIED)})"
            )


def differences(trained: ScenarioConfig, other: ScenarioConfig) -> list[str]:
    """What ``carry`` would change in ``other``; raises as it does."""
    driven = carry(trained, other)
    return [
        name
        for name, own, its in (
            ("observation", driven.observation, other.observation),
            ("action", driven.action, other.action),
            ("graph", driven.graph, other.graph),
            ("control interval", driven.episode, other.episode),
        )
        if own != its
    ]


def left_behind(observation: Sequence[FeatureConfig], *, same_road: bool, lead: bool) -> list[str]:
    """Each of the features that cannot be observed on another road, with the reason.

    ``same_road`` says that it is the one of the training, ``lead`` that a scripted lead is there.
    """
    found = {item.feature: _why_not(item.feature, same_road, lead) for item in observation}
    return [f"'{name}' {reason}" for name, reason in found.items() if reason is not None]


def that_travel(*, same_road: bool, lead: bool) -> list[str]:
    """All features that can be observed there."""
    return [name for name in FEATURES if _why_not(name, same_road, lead) is None]


def _why_not(feature: str, same_road: bool, lead: bool) -> str | None:
    if FEATURES.has_trait(feature, OWN_NETWORK) and not same_road:
        return "depends on the network that it was trained on"
    if FEATURES.has_trait(feature, NEEDS_LEAD) and not lead:
        return "compares with a scripted lead, which is not there"
    return None


def _road(config: ScenarioConfig) -> dict[str, object]:
    """Where the road goes."""
    return config.network.model_dump(exclude={"speed_limit_mps"})
