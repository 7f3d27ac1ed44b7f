"""Fuel and emissions by SUMO's model of the vehicles' emission class.

That is SUMO's default, HBEFA4/PC_petrol_Euro-4: a petrol car by the Handbook
Emission Factors for Road Transport, version 4. SUMO gives rates in mg/s from
speed, acceleration and slope.
"""

from __future__ import annotations

import numpy as np

from trafficrl.evaluation.metrics.base import PER_KM, metric
from trafficrl.evaluation.trajectory import Trajectory

FUEL, CO2, NOX = range(3)
GRAM = 1000.0  # mg


@metric("fuel_g_per_km", "energy", "g/km", "all vehicles", better="lower")
def fuel_per_km(trajectory: Trajectory) -> float:
    """Fuel of all vehicles over the distance that they drove."""
    return _per_km(trajectory, FUEL) / GRAM


@metric("co2_g_per_km", "energy", "g/km", "all vehicles", better="lower")
def co2_per_km(trajectory: Trajectory) -> float:
    """CO2 of all vehicles over the distance that they drove."""
    return _per_km(trajectory, CO2) / GRAM


@metric("nox_mg_per_km", "energy", "mg/km", "all vehicles", better="lower")
def nox_per_km(trajectory: Trajectory) -> float:
    """NOx of all vehicles over the distance that they drove."""
    return _per_km(trajectory, NOX)


@metric("fuel_g", "energy", "g", "whole episode", better="lower", main=False)
def fuel(trajectory: Trajectory) -> float:
    """Fuel of all vehicles in the episode."""
    return _total(trajectory, FUEL) / GRAM


@metric("co2_g", "energy", "g", "whole episode", better="lower", main=False)
def co2(trajectory: Trajectory) -> float:
    """CO2 of all vehicles in the episode."""
    return _total(trajectory, CO2) / GRAM


@metric("nox_mg", "energy", "mg", "whole episode", better="lower", main=False)
def nox(trajectory: Trajectory) -> float:
    """NOx of all vehicles in the episode."""
    return _total(trajectory, NOX)


def _total(trajectory: Trajectory, kind: int) -> float:
    """mg in the episode."""
    return float(np.nansum(trajectory.emissions[..., kind]) * trajectory.step_length)


def _per_km(trajectory: Trajectory, kind: int) -> float:
    """mg per km driven; NaN where nobody moves."""
    driven = float(np.nansum(trajectory.speed)) * trajectory.step_length
    return PER_KM * _total(trajectory, kind) / driven if driven else np.nan
