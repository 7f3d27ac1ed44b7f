"""Those vehicles of somebody else's SUMO that are driven, as they come and go."""

from __future__ import annotations

from fnmatch import fnmatchcase

import numpy as np

from trafficrl.envs.watching import collided, note_commands, watched_states
from trafficrl.simulation.connection import SumoConnection
from trafficrl.types import FloatArray, IntArray, VehicleStates, kept


class LiveTraffic:
    """The V passenger cars now whose ids match ``pattern``, and their ``states`` (1, V).

    They keep their vTypes. ``speed_mode`` and ``lane_change_mode`` are SUMO's checks on
    commands and its lane changes; None leaves them as they are.
    """

    def __init__(
        self,
        sumo: SumoConnection,
        pattern: str,
        *,
        speed_mode: int | None = None,
        lane_change_mode: int | None = None,
    ) -> None:
        self.sumo = sumo
        self.pattern = pattern
        self._modes = speed_mode, lane_change_mode
        self.ids: list[str] = []
        self._numbers: dict[str, int] = {}  # of all that ever came, in that order
        self._others: set[str] = set()  # that are not ours to drive
        with sumo.sensible():
            self._come_and_go()
            if not self.ids:  # the first vehicles depart
                sumo.step(np.empty(0))
                self._come_and_go()
            self.states: VehicleStates = self._look()

    @property
    def arrived(self) -> int:
        """How many vehicles there have been."""
        return len(self._numbers)

    @property
    def numbers(self) -> IntArray:
        """Of each vehicle how many came before it, (V,)."""
        return np.array([self._numbers[vehicle] for vehicle in self.ids], dtype=np.int64)

    def advance(self, acceleration: FloatArray) -> IntArray:
        """One simulation step with accelerations (V,) in m/s2, NaN: no command.

        Returns where each of the vehicles that are there then stood among the V before, -1 for
        one that is new.
        """
        before, step = self.states.speed[0], self.sumo.step_length
        command = np.clip(before + acceleration * step, 0.0, self.sumo.max_speeds())
        self.sumo.step(command)
        with self.sumo.sensible():
            index = self._come_and_go()
            states = self._look()
        states.entered = index[None] < 0
        before, command, acceleration = (
            kept(values, index, np.nan)[None] for values in (before, command, acceleration)
        )
        note_commands(states, before, command, acceleration, step)
        self.states = states
        return index

    def _come_and_go(self) -> IntArray:
        """Take over who has come, and forget who has gone; returns as ``advance`` does."""
        road = self.sumo.on_the_road()
        here = set(road)
        self._others &= here
        stay = [place for place, vehicle in enumerate(self.ids) if vehicle in here]
        known = set(self.ids) | self._others
        new = [vehicle for vehicle in road if vehicle not in known and self._is_ours(vehicle)]
        self._others |= here - known - set(new)
        for vehicle in new:
            self.sumo.take_over(vehicle, *self._modes)
            self._numbers.setdefault(vehicle, len(self._numbers))
        self.ids = [*(self.ids[place] for place in stay), *new]
        self.sumo.watch(self.ids)
        return np.array([*stay, *[-1] * len(new)], dtype=np.int64)

    def _is_ours(self, vehicle: str) -> bool:
        return fnmatchcase(vehicle, self.pattern) and self.sumo.is_car(vehicle)

    def _look(self) -> VehicleStates:
        everybody = np.arange(len(self.ids))
        states = watched_states(self.sumo, everybody, len(everybody), self.sumo.time)
        states.collided = collided(self.sumo, everybody, states.headway)
        return states
