"""The environment in array form, for training: B replicas in lockstep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trafficrl.config.scenario import ScenarioConfig
from trafficrl.controllers import Controller
from trafficrl.envs.actions import make_actions
from trafficrl.envs.worlds import make_world
from trafficrl.errors import SimulationError
from trafficrl.graph import GraphTracker, VehicleGraph
from trafficrl.terms.observations import FEATURES
from trafficrl.terms.rewards import COLLISION, REWARD_TERMS
from trafficrl.types import BoolArray, FloatArray, IntArray, Moments, VehicleStates

Drive = Callable[[VehicleStates], FloatArray]
Observer = Callable[[VehicleStates], None]


@dataclass(slots=True)
class Step:
    """What followed one action of every agent, held for one control interval."""

    obs: NDArray[np.float32]  # (B, N, O)
    reward: FloatArray  # (B, N), summed over the simulation steps of the interval
    evaluated_reward: FloatArray  # (B, N), without the terms that are for training only
    reward_terms: dict[str, FloatArray]  # (B, N) each; they sum to reward
    active: BoolArray  # (B,) replicas whose episode was under way before this step
    absorbed: BoolArray  # (B,) replicas that a collision holds still from now on
    terminated: BoolArray  # (B,)
    truncated: BoolArray  # (B,)
    commands: IntArray  # (B, M) simulation steps of the interval in which a vehicle was driven
    overridden: FloatArray  # (B, M) share of these commands that SUMO did not follow
    collided: BoolArray  # (B, M) vehicles that collided within the interval
    collisions: IntArray  # (B,) vehicles that did for the first time
    entered: BoolArray  # (B, M) slots that a vehicle has newly taken within the interval
    sim_steps: IntArray  # (B,) simulation steps of each replica


class ArrayEnv:
    """B replicas of one scenario; all begin together and wait for the last to end.

    A replica whose episode is over yields zero reward and ``active`` False until
    ``done``; then ``reset`` begins new episodes in all.
    """

    def __init__(
        self, config: ScenarioConfig, *, replicas: int = 1, seed: int | None = None
    ) -> None:
        self.config = config
        self.replicas = replicas
        self.actions = make_actions(config.action)
        self.world = make_world(config, replicas=replicas)
        self.agents = self.world.agents
        self.n_agents = len(self.agents)
        # Of the agents among all vehicles; a slice makes no copy.
        everybody = self.n_agents == self.world.n_vehicles
        self.columns: slice | IntArray = slice(None) if everybody else self.agents
        self.agent_names = tuple(f"cav_{slot}" for slot in range(self.n_agents))
        self.obs_dim = len(config.observation)
        self.interval = round(config.episode.control_interval_s / config.simulation.step_s)
        self._features = [(FEATURES[item.feature], item) for item in config.observation]
        per_agent = self.n_agents if config.reward.average_over_agents else 1
        self._terms = [
            (item.term, REWARD_TERMS[item.term], item.weight / per_agent, item.parameters)
            for item in config.reward.terms
        ]
        self._evaluated = [item.term for item in config.reward.terms if not item.training_only]
        self._trackers: list[GraphTracker] = []
        self.observers: list[Observer] = []  # called after every simulation step
        self.seed(seed)
        self.steps = 0
        self.active: BoolArray = np.zeros(replicas, dtype=bool)
        self._absorbed: BoolArray = np.zeros(replicas, dtype=bool)
        self._collided: BoolArray = np.zeros(self.world.shape, dtype=bool)  # since they entered

    def seed(self, seed: int | None) -> None:
        """Begin the environment's own random stream anew."""
        self.rng = np.random.default_rng(seed)

    @property
    def states(self) -> VehicleStates:
        """States of all vehicles after the last step."""
        return self.world.states

    @property
    def done(self) -> bool:
        """Whether every replica's episode is over."""
        return not np.count_nonzero(self.active)

    def reset(self, rng: np.random.Generator | None = None) -> NDArray[np.float32]:
        """Begin an episode in every replica; returns obs (B, N, O).

        ``rng`` stands in for the environment's own stream in these episodes.
        """
        self.world.reset(self.rng if rng is None else rng)
        self.steps = 0
        self.active = np.ones(self.replicas, dtype=bool)
        self._absorbed = np.zeros(self.replicas, dtype=bool)
        self._collided = np.zeros(self.world.shape, dtype=bool)
        return self._observations()

    def step(self, action: NDArray[np.generic]) -> Step:
        """Apply actions (B, N, A), or (B, N) where they are choices, for one control interval.

        Continuous actions are clipped to their bounds; NaN and unknown choices
        raise ``SimulationError``.
        """
        self.actions.check(action, (self.replicas, self.n_agents))
        return self._run(self.actions.driver(action, self.agents))

    def drive(self, controller: Controller) -> Step:
        """One control interval with a classical controller in the agents' place."""
        length = self.config.simulation.step_s
        return self._run(lambda states: controller.acceleration(states, length)[:, self.columns])

    def vehicle_graphs(self) -> list[VehicleGraph]:
        """Who can talk to whom in each replica, in the present states."""
        xy = [None] * self.replicas if self.config.graph.range_m is None else self._coordinates()
        return [
            tracker.update(self.states, one)
            for tracker, one in zip(self._graphs(), xy, strict=True)
        ]

    def close(self) -> None:
        """End the simulation."""
        self.world.close()

    # ------------------------------------------------------------------

    def _coordinates(self) -> list[FloatArray]:
        return list(self.world.coordinates())

    def _graphs(self) -> list[GraphTracker]:
        if not self._trackers:
            self._trackers = [
                GraphTracker(
                    self.config.graph,
                    replica,
                    self.agents,
                    names=self.agent_names,
                    crossings=self.world.crossings,
                )
                for replica in range(self.replicas)
            ]
        return self._trackers

    def _run(self, drive: Drive) -> Step:
        if self.done:
            raise SimulationError("the episode is over (reset first)")
        started = self.active.copy()
        terminated = np.zeros(self.replicas, dtype=bool)
        collisions = np.zeros(self.replicas, dtype=np.int64)
        moments: list[VehicleStates] = []
        under_way: list[BoolArray] = []
        eventful = False  # whether anybody has collided or entered
        for _ in range(min(self.interval, self.config.episode.steps - self.steps)):
            states = self.world.drive(drive(self.world.states))
            for observe in self.observers:
                observe(states)
            moments.append(states)
            under_way.append(self.active)
            self.steps += 1
            if np.count_nonzero(states.collided) or np.count_nonzero(states.entered):
                eventful = True
                collisions += self._new_collisions(states)
                terminated |= self._handle_collisions(states)
                if self.done:
                    break
        truncated = np.zeros(self.replicas, dtype=bool)
        if self.steps >= self.config.episode.steps:
            truncated, self.active = self.active, np.zeros(self.replicas, dtype=bool)
        # All at once: a term costs as much for one moment as for a few.
        states = moments[0] if len(moments) == 1 else Moments(moments)
        active = np.array(under_way)

        def meanwhile(what: BoolArray) -> BoolArray:
            """In each moment, and only while the episode was under way, (T, B, M)."""
            return what.reshape(len(moments), *self.world.shape) & active[..., None]

        driven = meanwhile(states.driven)
        terms = self._rewards(states, driven[..., self.columns], eventful)
        commands = driven.sum(axis=0)
        collided = np.zeros(self.world.shape, dtype=bool)
        entered = np.zeros(self.world.shape, dtype=bool)
        if eventful:
            meanwhile(states.collided).any(axis=0, out=collided)
            meanwhile(states.entered).any(axis=0, out=entered)
        return Step(
            obs=self._observations(),
            reward=_total(terms, list(terms), (self.replicas, self.n_agents)),
            evaluated_reward=_total(terms, self._evaluated, (self.replicas, self.n_agents)),
            reward_terms=terms,
            active=started,
            absorbed=self._absorbed.copy(),
            terminated=terminated,
            truncated=truncated,
            commands=commands,
            overridden=meanwhile(states.overridden).sum(axis=0) / np.maximum(commands, 1),
            collided=collided,
            collisions=collisions,
            entered=entered,
            sim_steps=active.sum(axis=0),
        )

    def _rewards(
        self, states: VehicleStates, counts: BoolArray, eventful: bool
    ) -> dict[str, FloatArray]:
        """Terms (B, N), summed over the T moments of ``states`` as far as they count, (T, B, N).

        After a collision that freezes an episode only its own term counts.
        """
        all_count = np.count_nonzero(counts) == counts.size
        freezes = eventful and self.config.episode.on_collision == "freeze"
        terms = {}
        for name, function, weight, parameters in self._terms:
            value = weight * function(states, **parameters)[:, self.columns]
            if freezes and name != COLLISION:
                value[states.collided.any(axis=1)] = 0.0
            value = value.reshape(counts.shape)
            terms[name] = (value if all_count else np.where(counts, value, 0.0)).sum(axis=0)
        return terms

    def _new_collisions(self, states: VehicleStates) -> IntArray:
        """How many vehicles (B,) have collided in this step that had not before."""
        before = self._collided & ~states.entered
        self._collided = before | (states.collided & self.active[:, None])
        return np.asarray((self._collided & ~before).sum(axis=1))

    def _handle_collisions(self, states: VehicleStates) -> BoolArray:
        collided: BoolArray = states.collided.any(axis=1) & self.active
        if not collided.any() or self.config.episode.on_collision == "continue":
            return np.zeros(self.replicas, dtype=bool)
        self.world.freeze(collided)
        if self.config.episode.on_collision == "freeze":
            self._absorbed |= collided
            return np.zeros(self.replicas, dtype=bool)
        self.active = self.active & ~collided
        return collided

    def _observations(self) -> NDArray[np.float32]:
        states = self.world.states
        obs = np.empty((self.replicas, self.n_agents, self.obs_dim), dtype=np.float32)
        for column, (feature, item) in enumerate(self._features):
            raw = feature(states, **item.parameters)[:, self.columns]
            obs[..., column] = item.normalised(raw)
        return obs


def _total(terms: dict[str, FloatArray], names: list[str], shape: tuple[int, int]) -> FloatArray:
    total = np.zeros(shape)
    for name in names:
        total += terms[name]
    return total
