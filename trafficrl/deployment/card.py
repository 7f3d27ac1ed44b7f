"""What a policy says of itself: all that who drives with it needs to know."""

from __future__ import annotations

import inspect
import json
from typing import Any, Literal

from pydantic import Field, ValidationError

from trafficrl.config import ScenarioConfig
from trafficrl.config.algorithms import AlgorithmSettings, LearnerSettings
from trafficrl.config.base import Section
from trafficrl.config.scenario import (
    AccelerationAction,
    ActionConfig,
    FeatureConfig,
    GraphConfig,
    SimulationConfig,
)
from trafficrl.errors import CheckpointError
from trafficrl.terms import FEATURES

ACCELERATION, CHOICE = "m/s2", "choice"
SLOTS = ("the vehicle itself", "its leader", "its follower")


class Feature(FeatureConfig):
    """A feature with its meaning; it is observed as ``clip((raw - offset) / scale)``."""

    unit: str = Field(description="of the raw value; 1: it has none")
    meaning: str


class PolicyCard(Section):
    """A policy's inputs, outputs and origin, in SI units. Files hold it as JSON."""

    format: Literal["trafficrl policy"] = "trafficrl policy"
    format_version: Literal[1] = 1
    scenario: str = Field(description="what it was trained on")
    algorithm: str
    checkpoint: str
    policies: int = Field(ge=1, description="1: one that all vehicles share, however many")
    observation: list[Feature] = Field(min_length=1, description="of each vehicle, in this order")
    action: ActionConfig
    action_unit: str
    action_meaning: str
    control_interval_s: float = Field(gt=0, description="an action is held this long, s")
    graph: GraphConfig = Field(description="which vehicles hear each other")
    hops: Literal[1] = Field(1, description="links over which a vehicle hears others")
    neighbours: list[str] = Field(description="who is in each place of a neighbourhood (K)")
    memory_width: int = Field(ge=0, description="numbers that a vehicle keeps, 0 when it is new")
    trained_in: SimulationConfig
    learner: dict[str, Any] = Field(description="settings of the algorithm")
    versions: dict[str, str]
    git_revision: str

    @property
    def width(self) -> int:
        """K, places of a neighbourhood, the vehicle itself first."""
        return len(self.neighbours)

    def learner_settings(self) -> LearnerSettings | Any:
        """Settings of the algorithm, checked."""
        settings = AlgorithmSettings.model_validate({self.algorithm: self.learner})
        return getattr(settings, self.algorithm)

    def dump(self) -> str:
        """As JSON, on lines."""
        return json.dumps(self.model_dump(mode="json"), indent=2)


def make_card(
    trained: ScenarioConfig,
    checkpoint: str,
    run: dict[str, Any],
    count: int,
    width: int,
    memory: int,
) -> PolicyCard:
    """The card of a run; ``run`` is what its run.json says."""
    algorithm = trained.training.algorithm
    unit, meaning = _action(trained.action)
    others = [f"another neighbour, {place}" for place in range(1, 1 + width - len(SLOTS))]
    return PolicyCard(
        scenario=trained.name,
        algorithm=algorithm,
        checkpoint=checkpoint,
        policies=count,
        observation=[_feature(item) for item in trained.observation],
        action=trained.action,
        action_unit=unit,
        action_meaning=meaning,
        control_interval_s=trained.episode.control_interval_s,
        graph=trained.graph,
        neighbours=[*SLOTS, *others][:width],
        memory_width=memory,
        trained_in=trained.simulation,
        learner=getattr(trained.algorithms, algorithm).model_dump(mode="json"),
        versions={str(name): str(value) for name, value in dict(run.get("versions", {})).items()},
        git_revision=str(run.get("git_revision") or "unknown"),
    )


def read_card(text: str, where: object) -> PolicyCard:
    """The card in a file; ``CheckpointError`` where it is none."""
    try:
        card = PolicyCard.model_validate_json(text)
        card.learner_settings()
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the card"
        raise CheckpointError(
            f"{where}: not a policy of this version of trafficrl ({place}: {first['msg']})"
        ) from None
    return card


def _feature(item: FeatureConfig) -> Feature:
    meaning = " ".join((inspect.getdoc(FEATURES[item.feature]) or "").split())
    return Feature(**item.model_dump(), unit=FEATURES.unit(item.feature), meaning=meaning)


def _action(action: ActionConfig) -> tuple[str, str]:
    """The unit and the meaning of an action."""
    if isinstance(action, AccelerationAction):
        meaning = (
            f"acceleration for the coming control interval, clipped to {action.min_mps2:g} to "
            f"{action.max_mps2:g} m/s2"
        )
        return ACCELERATION, meaning
    meaning = (
        "index of a pair of gains (alpha, beta) in 1/s; in every step of the control interval the "
        "acceleration is alpha (V(h) - v) + beta (v_leader - v), clipped to "
        f"+-{action.max_acceleration_mps2:g} m/s2, of the headway h to the leader's rear; V is 0 "
        f"m/s up to {action.stop_headway_m:g} m and {action.max_speed_mps:g} m/s from "
        f"{action.go_headway_m:g} m, and half of it times 1 - cos(pi (h - stop) / (go - stop)) "
        "between; without a leader h is infinite and beta's part 0"
    )
    return CHOICE, meaning
