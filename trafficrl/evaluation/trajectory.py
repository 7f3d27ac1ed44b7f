"""Episodes at every simulation step: what metrics and trajectory files are made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trafficrl.envs.array_env import ArrayEnv, Step
from trafficrl.types import BoolArray, FloatArray, IntArray, VehicleStates

# What the states already hold as (B, M).
RECORDED = (
    "position",
    "distance",
    "speed",
    "acceleration",
    "commanded_acceleration",
    "headway",
    "leader_speed",
    "leader",
    "follower",
    "overridden",
    "collided",
    "present",
    "entered",
)
OF_PRESENT = ("position", "distance", "speed", "commanded_acceleration", "headway")
OF_VEHICLES = (*RECORDED, "teleported", "emissions")


@dataclass(slots=True)
class Places:
    """Where SUMO has the front bumpers, (T, M) each."""

    x: FloatArray  # m
    y: FloatArray  # m
    lane: NDArray[np.object_]  # SUMO's names
    vehicle_type: NDArray[np.object_]  # SUMO's names
    lane_position: FloatArray  # m
    angle: FloatArray  # degrees, 0 is north, 90 east
    slope: FloatArray  # degrees


@dataclass(slots=True)
class Trajectory:
    """One episode of one replica: T simulation steps, I control intervals, M vehicles, N agents.

    Row t is the state after simulation step t. Arrays are (T, M) unless noted.
    Where a vehicle is not ``present``, numbers are NaN, leader and follower -1
    and the rest False; of one that has just entered there is no acceleration
    yet. ``headway`` is ``inf`` and ``leader_speed`` NaN without a leader.
    """

    episode: int
    vehicles: tuple[str, ...]  # M names
    agents: IntArray  # (N,) columns of the learning vehicles
    step_length: float  # s
    path_length: float  # m of the loop, inf on an open road
    held_steps: int  # after the T steps, through which a collision held everything still
    present: BoolArray
    entered: BoolArray
    position: FloatArray  # m along the path
    distance: FloatArray  # m driven in this episode
    speed: FloatArray  # m/s
    acceleration: FloatArray  # m/s2, realised
    commanded_acceleration: FloatArray  # m/s2
    headway: FloatArray  # m
    leader_speed: FloatArray  # m/s
    leader: IntArray
    follower: IntArray
    overridden: BoolArray
    collided: BoolArray
    teleported: BoolArray
    emissions: FloatArray  # (T, M, 3) fuel, CO2, NOx in mg/s
    reward: FloatArray  # (I, N), without the terms that are for training only
    reward_terms: dict[str, FloatArray]  # (I, N) each
    messages: FloatArray  # in each interval until a collision held everything, at most I
    places: Places | None  # where they were asked for
    without_slot: int = 0  # vehicles that came and that SUMO drove, as no slot was free for them
    left: int = 0  # vehicles that left an open network, whoever drove them

    @property
    def steps(self) -> int:
        """Simulation steps of the episode, those held still included."""
        return len(self.speed) + self.held_steps

    @property
    def times(self) -> FloatArray:
        """Seconds since the start of the episode, (T,)."""
        return np.arange(1.0, len(self.speed) + 1.0) * self.step_length

    @property
    def closed(self) -> bool:
        """Whether the vehicles drive round a loop."""
        return bool(np.isfinite(self.path_length))

    def to_horizon(self, values: FloatArray) -> FloatArray:
        """``values`` (T, ...) with the last repeated for the steps that were held still."""
        return np.concatenate([values, np.repeat(values[-1:], self.held_steps, axis=0)])

    def only(self, vehicle: int) -> Trajectory:
        """The trajectory of one vehicle, by its column; M = 1.

        Its leader is none of the M, but headway and ``leader_speed`` stay.
        """
        column, agent = slice(vehicle, vehicle + 1), self.agents == vehicle
        own = {name: getattr(self, name)[:, column] for name in OF_VEHICLES}
        nobody = np.full_like(own["leader"], -1)
        return replace(
            self,
            **{**own, "leader": nobody, "follower": nobody},
            vehicles=self.vehicles[column],
            agents=np.zeros(int(agent.sum()), dtype=np.int64),
            reward=self.reward[:, agent],
            reward_terms={name: term[:, agent] for name, term in self.reward_terms.items()},
            places=None,
        )


class TrajectoryRecorder:
    """Follows an ``ArrayEnv`` simulation step by simulation step.

    ``places`` asks for coordinates and lanes, which trajectory files have.
    """

    def __init__(self, env: ArrayEnv, *, places: bool = False) -> None:
        self.env = env
        self.episodes = 0
        self._with_places = places
        env.observers.append(self._observe)

    def begin(self) -> None:
        """New episodes have begun in every replica."""
        env, states = self.env, self.env.states
        steps, shape = env.config.episode.steps, states.speed.shape
        self._log: dict[str, NDArray[Any]] = {
            name: np.empty((steps, *shape), dtype=getattr(states, name).dtype) for name in RECORDED
        }
        self._log |= {
            "teleported": np.zeros((steps, *shape), dtype=bool),
            "emissions": np.empty((steps, *shape, 3)),
        }
        if self._with_places:
            self._log |= {
                "xy": np.empty((steps, *shape, 2)),
                "names": np.empty((steps, *shape, 2), dtype=object),
                "on_lane": np.empty((steps, *shape, 3)),
            }
        self._path_length = states.path_length.copy()
        self._time = 0
        self._intervals: list[tuple[Step, FloatArray]] = []

    def add(self, step: Step, messages: FloatArray | float = 0.0) -> list[Trajectory]:
        """Take in a control interval and the messages (B,) it took; returns what it ended."""
        sent = np.broadcast_to(np.asarray(messages, dtype=np.float64), (self.env.replicas,))
        self._intervals.append((step, sent))
        ended = np.flatnonzero(step.terminated | step.truncated)
        return [self._trajectory(int(replica)) for replica in ended]

    # ------------------------------------------------------------------

    def _observe(self, states: VehicleStates) -> None:
        log, t, world = self._log, self._time, self.env.world
        for name in RECORDED:
            log[name][t] = getattr(states, name)
        log["teleported"][t] = world.teleported()
        log["emissions"][t] = world.emissions()
        if self._with_places:
            log["xy"][t] = world.coordinates()
            log["names"][t], log["on_lane"][t] = world.lanes()
        self._time += 1

    def _trajectory(self, replica: int) -> Trajectory:
        steps = sum(int(step.sim_steps[replica]) for step, _ in self._intervals)
        intervals = [
            (step, messages[replica]) for step, messages in self._intervals if step.active[replica]
        ]
        driven = self._driven(replica, steps)
        own = {name: values[:driven, replica].copy() for name, values in self._log.items()}
        terms = intervals[0][0].reward_terms
        self.episodes += 1
        places = self._places(own) if self._with_places else None
        return _masked(
            Trajectory(
                episode=self.episodes - 1,
                vehicles=tuple(self.env.world.vehicle_names),
                agents=self.env.agents,
                step_length=self.env.config.simulation.step_s,
                path_length=float(self._path_length[replica]),
                held_steps=steps - driven,
                reward=np.array([step.evaluated_reward[replica] for step, _ in intervals]),
                reward_terms={
                    name: np.array([step.reward_terms[name][replica] for step, _ in intervals])
                    for name in terms
                },
                messages=self._sent(replica, driven),
                without_slot=int(self.env.world.without_slot[replica]),
                left=int(self.env.world.left[replica]),
                places=places,
                **own,
            )
        )

    def _sent(self, replica: int, driven: int) -> FloatArray:
        """Messages in each control interval that began within the ``driven`` steps."""
        lengths = [int(step.sim_steps[replica]) for step, _ in self._intervals]
        begun = np.cumsum(lengths) - lengths
        return np.array(
            [
                messages[replica]
                for (step, messages), start in zip(self._intervals, begun, strict=True)
                if step.active[replica] and start < driven
            ]
        )

    def _driven(self, replica: int, steps: int) -> int:
        """How many of the steps went by before a collision held everything still."""
        if self.env.config.episode.on_collision != "freeze":
            return steps
        collided = self._log["collided"][:steps, replica].any(axis=1)
        return int(collided.argmax()) + 1 if collided.any() else steps

    def _places(self, own: dict[str, NDArray[Any]]) -> Places:
        parts = (np.moveaxis(own.pop(name), -1, 0) for name in ("xy", "names", "on_lane"))
        return Places(*chain.from_iterable(parts))


def _masked(trajectory: Trajectory) -> Trajectory:
    """The trajectory with nothing said of vehicles that are not there."""
    absent = ~trajectory.present
    for name in OF_PRESENT:
        getattr(trajectory, name)[absent] = np.nan
    trajectory.emissions[absent] = np.nan
    trajectory.acceleration[absent | trajectory.entered] = np.nan
    for name in ("leader", "follower"):
        getattr(trajectory, name)[absent] = -1
    for name in ("overridden", "collided", "teleported"):
        getattr(trajectory, name)[absent] = False
    return trajectory
