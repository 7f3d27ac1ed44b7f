"""Drives vehicles as a trained run does, in whatever simulator they are."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from trafficrl.deployment.backends import Network, TorchNetwork
from trafficrl.deployment.card import CHOICE, Feature, PolicyCard, make_card
from trafficrl.envs.actions import Actions, make_actions
from trafficrl.errors import TrafficRLError
from trafficrl.evaluation.dealing import by_position
from trafficrl.graph import Neighbourhood, VehicleGraph, leader_follower_edges, range_edges
from trafficrl.training.links import POLICY_HOPS
from trafficrl.training.run_directory import RunDirectory
from trafficrl.training.trained import checkpoint_file, load_trained
from trafficrl.types import FloatArray, IntArray, VehicleStates


@dataclass(frozen=True)
class Action:
    """What N vehicles are to do for a control interval.

    ``values`` (N,) are accelerations in m/s2 where ``unit`` is "m/s2", else indices of choices.
    """

    values: NDArray[Any]
    unit: str
    actions: Actions

    def of(self, values: FloatArray) -> Action:
        """The same of other vehicles, with ``values`` (V,)."""
        return replace(self, values=values.astype(self.values.dtype))

    def acceleration(
        self, speed: ArrayLike, headway: ArrayLike, leader_speed: ArrayLike
    ) -> FloatArray:
        """m/s2 of vehicles that drive so now, each (N,); what is chosen depends on it.

        Speeds in m/s, headways to the leader's rear bumper in m; without a leader inf, and NaN
        as its speed.
        """
        shape = (1, len(self.values))
        states = replace(
            VehicleStates.at_rest(shape),
            speed=np.broadcast_to(np.asarray(speed, dtype=np.float64), shape),
            headway=np.broadcast_to(np.asarray(headway, dtype=np.float64), shape),
            outside_leader_speed=np.broadcast_to(np.asarray(leader_speed, np.float64), shape),
        )
        return self.acceleration_in(states)

    def acceleration_in(self, states: VehicleStates) -> FloatArray:
        """The same in the states of these vehicles, (1, N)."""
        vehicles = np.arange(len(self.values))
        own = self.values[None] if self.unit == CHOICE else self.values[None, :, None]
        result: FloatArray = self.actions.driver(own, vehicles)(states)[0]
        return result


class Policy:
    """A trained policy: raw features and leaders of N vehicles to what they are to do.

    Deterministic. Vehicles that remember (IC3Net) are told apart by their ``ids``; ``reset``
    has them all forget. ``card`` says what goes in and what comes out.
    """

    def __init__(self, card: PolicyCard, network: Network) -> None:
        self.card = card
        self.network = network
        self.features: tuple[Feature, ...] = tuple(card.observation)
        self._actions = make_actions(card.action)
        self._memory: dict[Hashable, NDArray[np.float32]] = {}

    @classmethod
    def load(cls, path: str | os.PathLike[str], checkpoint: str = "best") -> Policy:
        """The policy of a run directory, or of a file that ``trafficrl export`` has written.

        ``checkpoint`` is that of the run, "best" or "latest". Raises ``CheckpointError``.
        """
        path = Path(path)
        if path.is_dir():
            return cls.of_run(RunDirectory.open(path), checkpoint)
        from trafficrl.deployment.files import read_policy

        return cls(*read_policy(path))

    @classmethod
    def of_run(cls, run: RunDirectory, checkpoint: str = "best") -> Policy:
        """The policy of a run."""
        config = run.scenario()
        trained = load_trained(config, checkpoint_file(run, checkpoint))
        card = make_card(
            config, checkpoint, run.info(), trained.count, trained.width, trained.memory_width
        )
        return cls(card, TorchNetwork(card, trained))

    def reset(self) -> None:
        """Begin anew, with vehicles that remember nothing."""
        self._memory.clear()

    def act(
        self,
        features: Mapping[str, ArrayLike] | ArrayLike,
        leader: ArrayLike,
        *,
        xy: ArrayLike | None = None,
        links: ArrayLike = (),
        ids: Sequence[Hashable] | None = None,
        policies: ArrayLike | None = None,
    ) -> Action:
        """What N vehicles do next.

        ``features`` are raw values in SI units, (N,) of each by its name, or (N, O) in the
        order of the card. ``leader`` (N,) is whom each follows, as an index among the N, -1
        for nobody of them. ``xy`` (N, 2) in m is needed where the graph has a range;
        ``links`` (E, 2) are further pairs that hear each other. ``ids`` (N,) name the
        vehicles from call to call, by default by their indices. ``policies`` (N,) is the
        policy of each where they are not one; by default they are in order, front to back.
        Raises ``TrafficRLError`` where one of these is not as it should be.
        """
        raw = self._raw(features)
        names = _names(len(raw), ids)
        hood = self._neighbourhood(len(raw), leader, xy, links)
        memory = np.zeros((len(raw), self.card.memory_width), dtype=np.float32)
        for row, name in enumerate(names):
            memory[row] = self._memory.get(name, 0.0)
        values, kept = self.network.act(raw, hood, memory, self._deal(len(raw), policies))
        if self.card.memory_width:
            self._memory = dict(zip(names, kept, strict=True))
        if self.card.action_unit == CHOICE:
            return Action(values.astype(np.int64), CHOICE, self._actions)
        space = self._actions.space
        bounded = np.clip(values[:, 0].astype(np.float64), space.low[0], space.high[0])  # type: ignore[attr-defined]
        return Action(bounded, self.card.action_unit, self._actions)

    def _raw(self, features: Mapping[str, ArrayLike] | ArrayLike) -> FloatArray:
        """Raw features (N, O) in the order of the card."""
        wanted = [item.feature for item in self.features]
        if isinstance(features, Mapping):
            if set(features) != set(wanted):
                raise TrafficRLError(
                    f"features: {', '.join(map(str, features)) or 'none'} given "
                    f"(should be {self._described()})"
                )
            if len(set(wanted)) < len(wanted):
                raise TrafficRLError("features: one is there twice: give an array (N, O)")
            columns = [
                np.atleast_1d(_numbers(f"features: {name}", features[name])) for name in wanted
            ]
            if any(column.shape != columns[0].shape or column.ndim > 1 for column in columns):
                raise TrafficRLError("features: each should have one value a vehicle, (N,)")
            raw = np.stack(columns, axis=-1)
        else:
            raw = _numbers("features", features)
        if raw.ndim != 2 or raw.shape[1] != len(wanted):
            raise TrafficRLError(
                f"features: of shape {raw.shape} (should be (N, {len(wanted)}): "
                f"{self._described()})"
            )
        wrong = np.argwhere(~np.isfinite(raw))
        if len(wrong):
            vehicle, column = wrong[0]
            raise TrafficRLError(
                f"features: '{wanted[column]}' of vehicle {vehicle} is {raw[vehicle, column]} "
                f"(should be a finite number; {self.features[column].meaning})"
            )
        return raw

    def _described(self) -> str:
        return ", ".join(f"{item.feature} in {item.unit}" for item in self.features)

    def _neighbourhood(
        self, n: int, leader: ArrayLike, xy: ArrayLike | None, links: ArrayLike
    ) -> Neighbourhood:
        """Whom each of N vehicles hears, (N, K)."""
        graph, given = self.card.graph, _numbers("leader", leader)
        if given.shape != (n,) or not np.isin(given, np.arange(-1, n)).all():
            raise TrafficRLError(
                f"leader: should be {n} numbers, one a vehicle, from -1 (nobody) to {n - 1}"
            )
        ahead = given.astype(np.int64)
        if (own := np.flatnonzero(ahead == np.arange(n))).size:
            raise TrafficRLError(f"leader: vehicle {own[0]} is its own (should be -1 for nobody)")
        further = _numbers("links", links)
        if further.size == 0:
            further = further.reshape(0, 2)
        if further.shape[1:] != (2,) or not np.isin(further, np.arange(n)).all():
            raise TrafficRLError(f"links: should be pairs of vehicles, from 0 to {n - 1}")
        edges = [further.astype(np.int64)]
        if graph.leader_follower:
            edges.append(leader_follower_edges(ahead))
        if graph.range_m is not None:
            where = np.full((0, 2), np.nan) if xy is None else _numbers("xy", xy)
            if where.shape != (n, 2):
                raise TrafficRLError(
                    f"xy: {n} places in m, (N, 2), are needed: vehicles within "
                    f"{graph.range_m:g} m hear each other"
                )
            edges.append(range_edges(where, graph.range_m))
        names = [str(vehicle) for vehicle in range(n)]
        found = VehicleGraph(names, np.concatenate(edges), ahead)
        return found.neighbourhood(POLICY_HOPS, graph.max_neighbours).of_width(self.card.width)

    def _deal(self, n: int, policies: ArrayLike | None) -> IntArray:
        """The policy of each of N vehicles, (N,)."""
        count = self.card.policies
        if policies is None:
            return by_position(count, n)
        dealt = _numbers("policies", policies)
        if dealt.shape != (n,) or not np.isin(dealt, np.arange(count)).all():
            raise TrafficRLError(f"policies: should be {n} numbers from 0 to {count - 1}")
        return dealt.astype(np.int64)


def _names(n: int, ids: Sequence[Hashable] | None) -> list[Hashable]:
    """What N vehicles are called; ``TrafficRLError`` for names that do not tell them apart."""
    try:
        names = list(range(n) if ids is None else ids)
        if len(names) == len(set(names)) == n:
            return names
    except TypeError:  # no sequence, or not hashable
        pass
    raise TrafficRLError(f"ids: {n} different texts or numbers are needed, one a vehicle")


def _numbers(name: str, values: ArrayLike) -> FloatArray:
    """An array of floats; ``TrafficRLError`` for what is none."""
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise TrafficRLError(f"{name}: should be an array of numbers") from None


def load_policy(path: str | os.PathLike[str], checkpoint: str = "best") -> Policy:
    """As ``Policy.load``."""
    return Policy.load(path, checkpoint)
