"""The scenario: every setting of a task, its simulation and its training.

One pydantic model per section of the YAML file. Keys carry their unit as a
suffix; unknown keys are refused. ``trafficrl scenarios schema`` prints the
JSON schema of ``ScenarioConfig``.
"""

from __future__ import annotations

from typing import Annotated, Literal

from annotated_types import Len
from pydantic import Field, model_validator

from trafficrl.config.algorithms import AlgorithmSettings
from trafficrl.config.base import Interval, PositiveInterval, Section
from trafficrl.config.networks import NetworkConfig
from trafficrl.terms import FEATURES, REWARD_TERMS
from trafficrl.types import LEARNED, FloatArray


class VehicleGroup(Section):
    """``count`` vehicles with one kind of controller."""

    controller: str = Field(
        description="'learned', or a classical controller by name: 'idm', 'lead', ..."
    )
    count: int = Field(1, ge=1, le=100_000, description="vehicles in the group")
    parameters: dict[str, float] = Field(
        default_factory=dict, description="constants of the classical controller"
    )


class SimulationConfig(Section):
    """How SUMO is run."""

    backend: Literal["libsumo", "traci"] = Field(
        "libsumo", description="libsumo (in process, fast) or traci (a SUMO of its own)"
    )
    step_s: float = Field(0.1, gt=0, le=1, description="simulation step, s")
    step_method: Literal["euler", "ballistic"] = Field(
        "euler", description="SUMO's integration of positions"
    )
    speed_mode: int = Field(
        ge=0,
        le=127,
        description="SUMO's checks on commanded speeds: bit 0 safe speed, 1 and 2 "
        "acceleration bounds, 3 right of way, 4 red lights, 5 right of way inside junctions",
    )
    lane_change_mode: int = Field(
        0, ge=0, le=4095, description="SUMO's lane change bit set; 0: vehicles stay in their lane"
    )
    max_speed_mps: float = Field(
        50.0, ge=0.001, description="commanded speeds are clipped to it, m/s"
    )
    min_gap_m: float = Field(2.0, ge=0, description="SUMO's own standstill gap, m")
    time_headway_s: float = Field(1.0, ge=0.001, description="SUMO's own time headway (tau), s")
    acceleration_mps2: float = Field(
        50.0,
        ge=0.001,
        description="acceleration that SUMO credits vehicles with, m/s2: others at a junction "
        "expect it of them, and with the safe-speed check (bit 0) they get no more",
    )


class EpisodeConfig(Section):
    steps: int = Field(ge=1, description="horizon of an episode, simulation steps")
    control_interval_s: float = Field(
        0.1, gt=0, description="an action is held this long, s; a multiple of simulation.step_s"
    )
    collision_headway_m: float = Field(
        0.0, ge=0, description="a headway below this counts as a collision, m"
    )
    on_collision: Literal["terminate", "freeze", "continue"] = Field(
        "terminate",
        description="end the episode, hold its state to the horizon, or only count the collision",
    )


class UniformStart(Section):
    """Vehicles evenly spread over a closed path."""

    kind: Literal["uniform"]
    speed_mps: float = Field(0.0, ge=0, description="initial speed, m/s")
    jitter_m: float = Field(
        0.0, ge=0, description="each vehicle is moved by up to this much either way, m"
    )
    rotate: bool = Field(False, description="turn the whole formation by a random part of the path")


class PlatoonStart(Section):
    """A platoon on an open road behind the first vehicle."""

    kind: Literal["platoon"]
    headway_m: float = Field(20.0, gt=0, description="initial headway, m")
    first_headway_factor: PositiveInterval = Field(
        [1.0, 1.0], description="first follower's headway over headway_m, drawn from this interval"
    )
    speed_mps: float = Field(15.0, ge=0, description="initial speed of all vehicles, m/s")
    speed_factor: PositiveInterval = Field(
        [1.0, 1.0], description="initial speed over speed_mps, drawn once for all vehicles"
    )


class SpreadStart(Section):
    """Vehicles at random places of all streets, in proportion to their lengths."""

    kind: Literal["spread"]
    speed_mps: float = Field(0.0, ge=0, description="initial speed, m/s")


class RoutesStart(Section):
    """The network's route files say when and where vehicles depart."""

    kind: Literal["routes"]


StartConfig = Annotated[
    UniformStart | PlatoonStart | SpreadStart | RoutesStart, Field(discriminator="kind")
]


class WarmupConfig(Section):
    """Drive every vehicle by a classical controller before the episode begins."""

    controller: str = Field(description="name of a classical controller")
    duration_s: float = Field(ge=0, description="how long, s")
    parameters: dict[str, float] = Field(default_factory=dict)


class AccelerationAction(Section):
    """One number: the acceleration in m/s2."""

    kind: Literal["acceleration"]
    min_mps2: float = Field(-1.0, lt=0, description="hardest braking, m/s2")
    max_mps2: float = Field(1.0, gt=0, description="strongest acceleration, m/s2")


class OvmGainsAction(Section):
    """Choose one of several (alpha, beta) gain pairs of the optimal velocity model."""

    kind: Literal["ovm_gains"]
    gains: list[Annotated[list[float], Len(2, 2)]] = Field(
        min_length=2, description="the pairs (alpha, beta), 1/s"
    )
    max_acceleration_mps2: float = Field(2.5, gt=0, description="bound on |u|, m/s2")
    max_speed_mps: float = Field(30.0, gt=0, description="upper bound of the speed, m/s")
    stop_headway_m: float = Field(5.0, ge=0, description="V(h) is 0 up to this headway, m")
    go_headway_m: float = Field(35.0, gt=0, description="V(h) is max_speed from this headway, m")

    @model_validator(mode="after")
    def _rising(self) -> OvmGainsAction:
        if self.go_headway_m <= self.stop_headway_m:
            raise ValueError("go_headway_m should be above stop_headway_m")
        return self


ActionConfig = Annotated[AccelerationAction | OvmGainsAction, Field(discriminator="kind")]


class FeatureConfig(Section):
    """One observation feature: ``clip((raw - offset) / scale)``."""

    feature: str = Field(description="name of a feature, see docs/scenarios.md")
    offset: float = 0.0
    scale: float = Field(1.0, gt=0)
    difference_scale: float | None = Field(
        None,
        gt=0,
        description="networks see a neighbour's value less the own one, over this; null: scale",
    )
    clip: Interval | None = None
    parameters: dict[str, float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known(self) -> FeatureConfig:
        FEATURES.check(self.feature, self.parameters)
        return self

    def normalised(self, raw: FloatArray) -> FloatArray:
        """What is observed of raw values in SI units."""
        value = (raw - self.offset) / self.scale
        return value if self.clip is None else value.clip(self.clip[0], self.clip[1])


class RewardTermConfig(Section):
    """One reward term: ``weight`` times the named function of state and action."""

    term: str = Field(description="name of a term, see docs/scenarios.md")
    weight: float
    training_only: bool = Field(False, description="left out of every evaluated return")
    parameters: dict[str, float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _known(self) -> RewardTermConfig:
        REWARD_TERMS.check(self.term, self.parameters)
        return self


class RewardConfig(Section):
    average_over_agents: bool = Field(
        False, description="divide every term by the number of learning vehicles"
    )
    terms: list[RewardTermConfig] = Field(min_length=1)

    @model_validator(mode="after")
    def _once(self) -> RewardConfig:
        names = [term.term for term in self.terms]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(
                    f"term '{name}' should be listed once, with the sum of its weights"
                )
        return self


class GraphConfig(Section):
    """Who can talk to whom; the kinds of edges add up."""

    leader_follower: bool = Field(True, description="link each vehicle to its leader")
    range_m: float | None = Field(
        None, gt=0, description="link vehicles closer than this in a straight line, m"
    )
    conflict_distance_m: float | None = Field(
        None,
        gt=0,
        description="link vehicles within this distance of a crossing that they "
        "approach from different arms, m",
    )
    max_neighbours: int | None = Field(
        None, ge=1, description="keep the nearest so many of a policy's neighbours"
    )


class TrainingConfig(Section):
    algorithm: str = Field("dppo", description="which section of 'algorithms' to train with")
    total_steps: int = Field(ge=1, description="simulation steps over all replicas")
    seed: int = Field(0, ge=0)
    replicas: int = Field(1, ge=1, le=64, description="copies side by side in one simulation")
    simulations: int = Field(
        1,
        ge=1,
        le=256,
        description="SUMO processes that collect beside each other, each its replicas",
    )
    worker_timeout_s: float = Field(
        600.0, gt=0, description="a simulation that does not answer for so long is replaced"
    )
    validate_every_steps: int = Field(
        20_000, ge=1, description="validate the deterministic policy this often, simulation steps"
    )
    validate_episodes: int = Field(4, ge=1, description="episodes of one validation")
    crossing_collisions: bool = Field(
        True,
        description="false: contacts at crossings count in validation and evaluation alone, and "
        "conflict_headway_shortage should say what they cost; of no effect without a crossing",
    )
    torch_threads: int = Field(1, ge=1, le=256)


class ScenarioConfig(Section):
    """A whole scenario file."""

    name: str = Field(pattern=r"^[A-Za-z0-9_\-]+$", description="names the run directory")
    description: str = ""
    network: NetworkConfig
    vehicles: list[VehicleGroup] = Field(min_length=1)
    arrangement: Literal["in_order", "spread", "shuffled"] = Field(
        "in_order",
        description="how the groups lie along the road: one after the other from the front to "
        "the back, each as evenly as can be among the others, or in a random order that stays",
    )
    shuffle_seed: int = Field(0, ge=0, description="draws the order of 'shuffled'")
    simulation: SimulationConfig
    episode: EpisodeConfig
    start: StartConfig
    warmup: WarmupConfig | None = None
    action: ActionConfig
    observation: list[FeatureConfig] = Field(min_length=1)
    reward: RewardConfig
    graph: GraphConfig = GraphConfig()
    training: TrainingConfig
    algorithms: AlgorithmSettings = AlgorithmSettings()

    @property
    def n_agents(self) -> int:
        """How many vehicles learn."""
        return sum(group.count for group in self.vehicles if group.controller == LEARNED)

    @property
    def n_vehicles(self) -> int:
        """How many vehicles there are."""
        return sum(group.count for group in self.vehicles)

    @model_validator(mode="after")
    def _consistent(self) -> ScenarioConfig:
        # Here, as the checks themselves need these models.
        from trafficrl.config.checks import check_scenario

        check_scenario(self)
        return self
