"""SUMO with vehicles, for tests that drive it directly."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass

import numpy as np
import pytest

from trafficrl.config import load_scenario
from trafficrl.simulation.networks import BuiltNetwork, build_network
from trafficrl.simulation.sumo import SumoSimulation
from trafficrl.types import FloatArray

LENGTH = 5.0  # m, of a vehicle


def evenly(count: int, length: float) -> FloatArray:
    """Positions on a ring, m, from the front to the back."""
    return (count - 0.5 - np.arange(count)) * length / count


@dataclass
class Traffic:
    """A simulation of a scenario's network, not yet loaded."""

    simulation: SumoSimulation
    network: BuiltNetwork

    def load(self) -> Traffic:
        self.simulation.load(self.network)
        return self

    def place(
        self, positions: FloatArray, speeds: FloatArray | float = 0.0, lanes: int = 1
    ) -> None:
        """Vehicles v0, v1, ... at these positions, m, on lanes 0, 1, ... in turn."""
        count = len(positions)
        self.simulation.place(
            [f"v{i}" for i in range(count)],
            positions,
            np.broadcast_to(speeds, count).astype(float),
            np.zeros(count, dtype=np.int64),
            np.arange(count) % lanes,
        )

    def place_evenly(self, count: int, speed: float = 0.0) -> None:
        """Vehicles v0, v1, ... all around a ring, from the front to the back."""
        self.place(evenly(count, self.network.courses[0].length), speed)

    def collided(self) -> list[int]:
        """The vehicles that touched another one in the last step."""
        return sorted({index for *pair, _ in self.simulation.contacts() for index in pair})

    def trajectory(self, commands: FloatArray) -> list[FloatArray]:
        """All that can be read after each of the commands (T, V) in m/s."""
        seen: list[FloatArray] = []
        for command in commands:
            self.simulation.step(command)
            collided = np.array(self.collided(), dtype=float)
            seen += [*self.simulation.read(), *self.simulation.leaders(), collided]
            seen.append(self.simulation.coordinates())
        return seen


Prepare = Callable[..., Traffic]


@pytest.fixture
def prepare() -> Iterator[Prepare]:
    """``prepare(scenario, *overrides)``; every simulation is closed when the test ends."""
    with ExitStack() as stack:

        def make(scenario: str, *overrides: str) -> Traffic:
            config = load_scenario(scenario, overrides)
            simulation = SumoSimulation(config.simulation, vehicle_length=LENGTH)
            stack.enter_context(closing(simulation))
            return Traffic(simulation, build_network(config.network))

        yield make
