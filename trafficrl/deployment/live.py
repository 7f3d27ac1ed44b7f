"""Drives vehicles of a SUMO that somebody else has started."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from trafficrl.controllers import Controller
from trafficrl.deployment.policy import Action, Policy
from trafficrl.deployment.traffic import LiveTraffic
from trafficrl.errors import TrafficRLError
from trafficrl.evaluation.carry import left_behind, that_travel
from trafficrl.evaluation.dealing import Assignment, by_leaders, by_slot
from trafficrl.evaluation.drivers import controller_names, named_controller
from trafficrl.simulation.connection import SumoConnection
from trafficrl.terms import FEATURES
from trafficrl.types import FloatArray, IntArray, kept


@dataclass
class Summary:
    """What has happened so far."""

    steps: int = 0
    seconds: float = 0.0
    vehicles: int = 0
    commands: int = 0  # vehicles times steps that were driven
    overridden: int = 0  # of these, where SUMO drove another speed
    distance: float = 0.0  # m, of all in these
    collided: set[str] = field(default_factory=set)

    def add(self, traffic: LiveTraffic) -> None:
        """Count one more step."""
        states, step = traffic.states, traffic.sumo.step_length
        driven = states.driven
        self.steps += 1
        self.seconds += step
        self.vehicles = traffic.arrived
        self.commands += int(driven.sum())
        self.overridden += int(states.overridden.sum())
        self.distance += float(states.speed[driven].sum()) * step
        self.collided.update(traffic.ids[place] for place in np.flatnonzero(states.collided[0]))

    def __str__(self) -> str:
        if not self.commands:
            return f"{self.steps:,} steps ({self.seconds:.1f} s): no vehicle was driven"
        time = self.commands * self.seconds / self.steps  # of all vehicles
        return (
            f"{self.steps:,} steps ({self.seconds:.1f} s), {self.vehicles:,} vehicles driven, "
            f"mean speed {self.distance / time:.2f} m/s, {len(self.collided)} collided, "
            f"{self.overridden / self.commands:.0%} of commands overridden by SUMO"
        )


class LiveDriver(Protocol):
    """Decides for the vehicles of live traffic."""

    interval: float | None  # s between decisions; None: there are none to hold

    def begin(self, traffic: LiveTraffic) -> None:
        """The first vehicles are there."""

    def decide(self, traffic: LiveTraffic) -> None:
        """Choose what all do until the next decision."""

    def acceleration(self, traffic: LiveTraffic) -> FloatArray:
        """Accelerations (V,) in m/s2 for the coming step, NaN for who waits for a decision."""

    def keep(self, index: IntArray) -> None:
        """Vehicles came or went, as ``LiveTraffic.advance`` says."""


class PolicyDriver:
    """A trained policy. A ``LiveDriver``."""

    def __init__(self, policy: Policy, assign: Assignment | None = None) -> None:
        reasons = left_behind(policy.features, same_road=False, lead=False)
        if reasons:
            travels = ", ".join(that_travel(same_road=False, lead=False))
            raise TrafficRLError(
                f"what was trained on '{policy.card.scenario}' cannot drive elsewhere: "
                f"{'; '.join(reasons)} (features that travel: {travels})"
            )
        if assign == "shared" and policy.card.policies > 1:
            raise TrafficRLError(
                f"--assign shared: each of its {policy.card.policies} vehicles has learned a "
                "policy of its own (choose slot or position)"
            )
        self.policy = policy
        self.assign = assign
        self.interval: float | None = policy.card.control_interval_s
        self._held = np.empty(0)  # values of the action, NaN for who has none yet
        self._action: Action | None = None

    def begin(self, traffic: LiveTraffic) -> None:
        self._held = np.full(len(traffic.ids), np.nan)

    def decide(self, traffic: LiveTraffic) -> None:
        if not traffic.ids:
            return
        states = traffic.states
        raw = [
            FEATURES[item.feature](states, **item.parameters)[0] for item in self.policy.features
        ]
        self._action = self.policy.act(
            np.stack(raw, axis=-1),
            states.leader[0],
            xy=None if self.policy.card.graph.range_m is None else traffic.sumo.coordinates(),
            ids=traffic.ids,
            policies=self._deal(traffic),
        )
        self._held = self._action.values.astype(np.float64)

    def acceleration(self, traffic: LiveTraffic) -> FloatArray:
        if self._action is None or not traffic.ids:
            return np.full(len(traffic.ids), np.nan)
        undecided = np.isnan(self._held)
        action = self._action.of(np.where(undecided, 0.0, self._held))
        return np.where(undecided, np.nan, action.acceleration_in(traffic.states))

    def keep(self, index: IntArray) -> None:
        self._held = kept(self._held, index, np.nan)

    def _deal(self, traffic: LiveTraffic) -> IntArray:
        policies = self.policy.card.policies
        if self.assign == "slot":
            return by_slot(policies, traffic.arrived)[traffic.numbers]
        return by_leaders(policies, traffic.states.leader[0], np.arange(len(traffic.ids)))


class ControllerDriver:
    """A classical controller. A ``LiveDriver``."""

    interval: float | None = None

    def __init__(self, controller: Controller) -> None:
        self.controller = controller

    def begin(self, traffic: LiveTraffic) -> None:
        self.controller.reset(traffic.states, np.random.default_rng(0))

    def decide(self, traffic: LiveTraffic) -> None:
        pass

    def acceleration(self, traffic: LiveTraffic) -> FloatArray:
        if not traffic.ids:
            return np.empty(0)
        step = traffic.sumo.step_length
        result: FloatArray = self.controller.acceleration(traffic.states, step)[0]
        return result

    def keep(self, index: IntArray) -> None:
        self.controller.keep(index)


def live_driver(text: str, checkpoint: str, assign: Assignment | None) -> LiveDriver:
    """What ``text`` names: a run directory, an exported file, or a classical controller."""
    controller = named_controller(text)
    if controller is None:
        if not text or not Path(text).exists():
            raise TrafficRLError(
                f"{text}: neither a run directory, nor an exported policy, nor a controller "
                f"({controller_names()})"
            )
        return PolicyDriver(Policy.load(text, checkpoint), assign)
    if assign is not None:
        raise TrafficRLError(f"{text}: --assign deals the policies of a trained run, not of this")
    if controller.vehicle_type is not None:
        raise TrafficRLError(
            f"{text}: is SUMO's own model, which a vType of that SUMO can name itself (deploy "
            "drives by commands: idm, ...)"
        )
    return ControllerDriver(controller)


def steps_to_hold(interval: float | None, step: float) -> int:
    """Simulation steps of ``step`` s in a control interval, 1 without one."""
    if interval is None:
        return 1
    steps = max(1, round(interval / step))
    if not np.isclose(steps * step, interval, rtol=1e-9, atol=0.0):
        raise TrafficRLError(
            f"the policy decides every {interval:g} s, which is no whole number of that SUMO's "
            f"steps of {step:g} s (start it with --step-length {interval:g}, or a whole part of it)"
        )
    return steps


def drive(
    driver: LiveDriver,
    sumo: SumoConnection,
    pattern: str,
    summary: Summary,
    *,
    steps: int | None = None,
    speed_mode: int | None = None,
    lane_change_mode: int | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> str:
    """Drive until there is a reason to end, which is returned; then SUMO has all vehicles back.

    ``summary`` counts on the way. Raises ``ConnectionLost`` where SUMO ends before that.
    """
    hold = steps_to_hold(driver.interval, sumo.step_length)
    try:
        traffic = LiveTraffic(
            sumo, pattern, speed_mode=speed_mode, lane_change_mode=lane_change_mode
        )
        driver.begin(traffic)
        while (reason := _reason_to_end(traffic, steps, summary.steps, stop)) is None:
            if summary.steps % hold == 0:
                driver.decide(traffic)
            driver.keep(traffic.advance(driver.acceleration(traffic)))
            summary.add(traffic)
    finally:
        if sumo.is_open:
            sumo.give_back()
    return reason


def _reason_to_end(
    traffic: LiveTraffic, steps: int | None, done: int, stop: Callable[[], bool]
) -> str | None:
    sumo = traffic.sumo
    if stop():
        return "stopped"
    if steps is not None and done >= steps:
        return f"{steps:,} steps are over"
    if 0.0 <= sumo.end_time <= traffic.states.time + 0.5 * sumo.step_length:
        return f"SUMO's end time, {sumo.end_time:g} s, is reached"
    with sumo.sensible():
        nobody = not traffic.ids and not sumo.expects_vehicles()
    if nobody:
        return "no vehicle is left, and none will come"
    return None
