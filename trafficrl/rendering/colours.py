"""What vehicles can be coloured by."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from trafficrl.envs.array_env import ArrayEnv
from trafficrl.evaluation.driver import Driver
from trafficrl.evaluation.trajectory import Trajectory
from trafficrl.simulation.view import Colour, Legend
from trafficrl.types import FloatArray

# Even in brightness, for the colour-blind and for print (Smith and van der Walt's viridis).
RISING: tuple[Colour, ...] = (
    (68, 1, 84),
    (59, 82, 139),
    (33, 145, 140),
    (94, 201, 98),
    (253, 231, 37),
)
# Vermillion brakes, blue accelerates (Okabe and Ito).
DIVERGING: tuple[Colour, ...] = ((213, 94, 0), (90, 90, 90), (0, 114, 178))
# Okabe and Ito's, with black last.
DISTINCT: tuple[Colour, ...] = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
    (0, 0, 0),
)
OUTLIERS = 2.0  # per cent at either end that may lie beyond the legend


class Moment(NamedTuple):
    """Step ``t`` of a trajectory that is driven again in ``env`` by ``driver``."""

    trajectory: Trajectory
    t: int
    env: ArrayEnv
    driver: Driver


@dataclass(frozen=True)
class Quantity:
    """Values of the M vehicles at a moment, NaN for none, and the legend over an episode."""

    values: Callable[[Moment], FloatArray]
    legend: Callable[[Trajectory], Legend]


def _speed_legend(trajectory: Trajectory) -> Legend:
    return Legend("speed, m/s", _stops(RISING, 0.0, _quantile(trajectory.speed, 100.0)))


def _acceleration_legend(trajectory: Trajectory) -> Legend:
    most = _quantile(np.abs(trajectory.acceleration), 100.0 - OUTLIERS)
    return Legend("acceleration, m/s2", _stops(DIVERGING, -most, most))


def _reward_legend(trajectory: Trajectory) -> Legend:
    per_step = _reward_per_step(trajectory)
    low, high = (_quantile(per_step, share) for share in (OUTLIERS, 100.0 - OUTLIERS))
    return Legend("reward per step", _stops(RISING, low, high))


def _policy_legend(trajectory: Trajectory) -> Legend:
    slots = range(len(trajectory.agents))
    stops = [(float(slot), DISTINCT[slot % len(DISTINCT)]) for slot in slots]
    return Legend("policy", tuple(stops))


def _reward(moment: Moment) -> FloatArray:
    trajectory, env = moment.trajectory, moment.env
    interval = min(moment.t // env.interval, len(trajectory.reward) - 1)
    return _of_agents(moment, _reward_per_step(trajectory)[interval])


def _reward_per_step(trajectory: Trajectory) -> FloatArray:
    """Each agent's in each control interval, (I, N)."""
    steps = max(1, round(trajectory.steps / len(trajectory.reward)))
    return trajectory.reward / steps


def _policy(moment: Moment) -> FloatArray:
    return _of_agents(moment, moment.driver.policy_slots(moment.env).astype(np.float64))


def _of_agents(moment: Moment, values: FloatArray) -> FloatArray:
    full = np.full(len(moment.trajectory.vehicles), np.nan)
    full[moment.trajectory.agents] = values
    return full


def _quantile(values: FloatArray, share: float) -> float:
    known = values[np.isfinite(values)]
    return float(np.percentile(known, share)) if known.size else 0.0


def _stops(colours: Sequence[Colour], low: float, high: float) -> tuple[tuple[float, Colour], ...]:
    """``colours`` evenly from ``low`` to ``high``, both with two digits that count."""
    low, high = float(f"{low:.2g}"), float(f"{high:.2g}")
    if high - low < 1e-3:
        high = low + 1.0
    values = np.linspace(low, high, len(colours))
    return tuple(zip(values.tolist(), colours, strict=True))


QUANTITIES = {
    "speed": Quantity(lambda moment: moment.trajectory.speed[moment.t], _speed_legend),
    "acceleration": Quantity(
        lambda moment: moment.trajectory.acceleration[moment.t],
        _acceleration_legend,
    ),
    "reward": Quantity(_reward, _reward_legend),
    "policy": Quantity(_policy, _policy_legend),
}
"""By the names that ``--color`` takes."""
