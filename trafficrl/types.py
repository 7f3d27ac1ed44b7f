"""Arrays that pass between modules, and their shape alphabet.

B replicas (or batch), T time, N learning agents, M vehicles of one replica
(agents, human drivers and scripted leads), K padded neighbours, O observation
features, A action dimensions. Everything is in SI units.

Where vehicles come and go the M are slots: one that departs takes a free slot,
one that arrives frees it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

VEHICLE_LENGTH = 5.0  # m, of every vehicle
TAIL_ROOM = 10.0  # m, free road behind the last vehicle of a platoon
VEHICLE_TYPE = "trafficrl"  # the vType of all vehicles; no name that a route file may well define
LEARNED = "learned"  # the controller of a vehicle group that learns
LEAD = "lead"  # the controller of the scripted first vehicle of a platoon

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
VehicleType = Mapping[str, str | float]  # attributes of a vType of SUMO


def constant(shape: tuple[int, ...], value: float | bool) -> NDArray[Any]:
    """An array of one value: always the same one, which nobody can write to."""
    return _constant(shape, value if value == value else np.nan)  # no NaN equals another


@lru_cache(maxsize=None, typed=True)  # 0.0 is not False
def _constant(shape: tuple[int, ...], value: float | bool) -> NDArray[Any]:
    array = np.full(shape, value)
    array.flags.writeable = False
    return array


@dataclass(slots=True)
class VehicleStates:
    """What every vehicle of every replica is doing after a simulation step.

    All arrays are (B, M) unless noted. ``leader`` and ``follower`` index the M
    vehicles of the same replica, -1 where there is none. ``headway`` is the
    gap in metres from the front bumper to the leader's rear bumper, ``inf``
    without a leader. A slot that is not ``present`` reads as a vehicle at rest
    that is alone in the world.
    """

    time: float  # s since the start of the episode
    position: FloatArray  # m along the path, front bumper
    distance: FloatArray  # m driven since the episode's start, never wraps
    speed: FloatArray  # m/s
    acceleration: FloatArray  # m/s2, realised over the last step
    headway: FloatArray  # m
    leader: IntArray
    follower: IntArray
    commanded_acceleration: FloatArray  # m/s2, as the controller asked
    commanded_speed: FloatArray  # m/s, as sent to SUMO
    overridden: BoolArray  # SUMO drove another speed than commanded
    collided: BoolArray
    target_speed: FloatArray  # m/s, v* of the task; NaN where it has none
    target_acceleration: FloatArray  # m/s2, how v* is going to change; NaN likewise
    final_target_speed: FloatArray  # m/s, what v* comes to in the end; NaN likewise
    path_length: FloatArray  # (B,) m of the loop, inf on an open road
    crossings: tuple[tuple[float, float], ...] = ()  # m along the path: first and second pass
    present: BoolArray = field(default_factory=partial(np.array, True))  # a vehicle is in the slot
    entered: BoolArray = field(default_factory=partial(np.array, False))  # it came in this step
    # m/s, of a leader that is none of the M vehicles; NaN without such a one
    outside_leader_speed: FloatArray = field(default_factory=partial(np.array, np.nan))
    # What terms.conflicts has found for these positions, which nobody changes afterwards.
    conflicts: object = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        shape = self.speed.shape
        if self.present.shape != shape:  # one for all
            self.present = constant(shape, self.present.item())
        if self.entered.shape != shape:
            self.entered = constant(shape, self.entered.item())
        if self.outside_leader_speed.shape != shape:
            self.outside_leader_speed = constant(shape, self.outside_leader_speed.item())

    @classmethod
    def at_rest(cls, shape: tuple[int, int], time: float = 0.0) -> VehicleStates:
        """Of B x M vehicles that stand still, each alone in the world."""
        zero, nan = (constant(shape, value) for value in (0.0, np.nan))
        nobody, never = constant(shape, -1), constant(shape, False)
        return cls(
            time=time,
            position=zero,
            distance=zero,
            speed=zero,
            acceleration=zero,
            headway=constant(shape, np.inf),
            leader=nobody,
            follower=nobody,
            commanded_acceleration=zero,
            commanded_speed=zero,
            overridden=never,
            collided=never,
            target_speed=nan,
            target_acceleration=nan,
            final_target_speed=nan,
            path_length=np.full(shape[0], np.inf),
        )

    @property
    def driven(self) -> BoolArray:
        """Who was there through the whole step, and did in it what was commanded, (B, M)."""
        if self.entered is constant(self.entered.shape, False):
            return self.present
        return self.present & ~self.entered

    @property
    def leader_speed(self) -> FloatArray:
        """m/s of each vehicle's leader, (B, M), NaN without one."""
        return np.where(
            self.leader >= 0, self.of_leader(self.speed, 0.0), self.outside_leader_speed
        )

    def with_replicas_of(self, other: VehicleStates, replicas: BoolArray) -> VehicleStates:
        """These states, with those of ``other`` in the replicas (B,) of the mask."""
        shape = self.speed.shape
        taken = {
            item.name: np.where(replicas[:, None], getattr(other, item.name), value)
            for item in fields(self)
            if item.init and np.shape(value := getattr(self, item.name)) == shape
        }
        return replace(self, **taken)

    def of_leader(self, values: FloatArray, missing: float) -> FloatArray:
        """``values`` (B, M) of each vehicle's leader, ``missing`` without one."""
        return take(values, self.leader, missing)

    def of_follower(self, values: FloatArray, missing: float) -> FloatArray:
        """``values`` (B, M) of each vehicle's follower, ``missing`` without one."""
        return take(values, self.follower, missing)


class Moments(VehicleStates):
    """States of T moments as T*B replicas, the first moment's first; joined as they are read."""

    __slots__ = ("_parts",)

    def __init__(self, parts: Sequence[VehicleStates]) -> None:
        self._parts = parts
        self.conflicts = None

    @property
    def driven(self) -> BoolArray:
        return np.concatenate([part.driven for part in self._parts])

    def __getattr__(self, name: str) -> Any:
        """A field that nobody has read yet."""
        values = [getattr(part, name) for part in self._parts]
        joined = values[0]
        if isinstance(joined, np.ndarray):
            joined = np.concatenate(values)
        elif any(value != joined for value in values):
            raise AttributeError(f"{name} differs from moment to moment")
        setattr(self, name, joined)
        return joined


def kept(values: FloatArray, index: IntArray, missing: float = 0.0) -> FloatArray:
    """Columns ``index`` (V,) of ``values`` (B, M) or (M,), ``missing`` where it is -1."""
    if not (index >= 0).any():
        return np.full((*values.shape[:-1], len(index)), missing)
    return np.where(index >= 0, values[..., np.maximum(index, 0)], missing)


def take(values: FloatArray, index: IntArray, missing: float) -> FloatArray:
    """``values`` (B, M) at ``index`` (B, M) among the M vehicles, ``missing`` where it is -1."""
    found = np.take_along_axis(values, np.maximum(index, 0), axis=1)
    return np.where(index >= 0, found, missing)
