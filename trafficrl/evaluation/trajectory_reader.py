"""Reads the trajectories that ``files.trajectory_file`` wrote as CSV or Parquet."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trafficrl.errors import TrafficRLError
from trafficrl.evaluation.files import require_pyarrow
from trafficrl.evaluation.trajectory import Places, Trajectory
from trafficrl.types import FloatArray, IntArray

Columns = dict[str, NDArray[Any]]

NAMES = ("vehicle", "lane", "leader", "follower")
FLAGS = ("overridden", "collided", "teleported")
NUMBERS = {
    "position": "position_m",
    "distance": "distance_m",
    "speed": "speed_mps",
    "acceleration": "acceleration_mps2",
    "commanded_acceleration": "commanded_acceleration_mps2",
    "headway": "headway_m",
    "leader_speed": "leader_speed_mps",
}
PLACES = {"x": "x_m", "y": "y_m", "lane_position": "lane_position_m", "angle": "angle_deg"}
EMISSIONS = ("fuel_mg_per_s", "co2_mg_per_s", "nox_mg_per_s")
NEEDED = ("episode", "time_s", *NAMES, *FLAGS, *NUMBERS.values(), *PLACES.values(), *EMISSIONS)
LEARNING = "cav_"  # how names of learning vehicles begin
LAP = 1.0  # m that a position goes back behind the distance driven, at least, where a lap ends


def read_trajectory(path: Path, episode: int = 0) -> Trajectory:
    """An episode of a file, but for what files do not hold: rewards, messages, slopes, vTypes.

    The length of a loop is what positions go back by at the end of a lap; where nobody
    ends one it is ``inf``. Raises ``TrafficRLError`` for a file that is not such a one.
    """
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise TrafficRLError(
            f"{path}: trajectories are read from {' and '.join(READERS)} files, not '{path.suffix}'"
        )
    try:
        columns = READERS[suffix](path)
        missing = [name for name in NEEDED if name not in columns]
        if missing:
            raise TrafficRLError(
                f"{path}: not a file of `trafficrl evaluate --trajectories` "
                f"(it has no column {missing[0]})"
            )
        numbers = {
            name: columns[name].astype(np.int64 if name in ("episode", *FLAGS) else np.float64)
            for name in NEEDED
            if name not in NAMES
        }
    except OSError as error:
        raise TrafficRLError(
            f"{path}: cannot be read ({' '.join((error.strerror or str(error)).split())})"
        ) from None
    except (ValueError, TypeError, csv.Error) as error:
        reason = " ".join(str(error).split())
        raise TrafficRLError(f"{path}: cannot be read ({reason})") from None
    known = np.unique(numbers["episode"])
    if episode not in known:
        there = f"{known[0]} to {known[-1]}" if len(known) else "none"
        raise TrafficRLError(f"{path}: no episode {episode} (there are: {there})")
    own = numbers["episode"] == episode
    names = {name: columns[name][own] for name in NAMES}
    _check_rows(path, names["vehicle"], numbers["time_s"][own])
    return _trajectory(episode, names, {name: column[own] for name, column in numbers.items()})


def _check_rows(path: Path, vehicles: NDArray[Any], times: FloatArray) -> None:
    """Refuse rows of an episode that have no time, or not one of their own."""
    timeless = times[~(np.isfinite(times) & (times > 0.0))]
    if len(timeless):
        raise TrafficRLError(f"{path}: time_s is {timeless[0]:g} (should be a number above 0)")
    seen: set[tuple[Any, float]] = set()
    for row in zip(vehicles.tolist(), times.tolist(), strict=True):
        if row in seen:
            raise TrafficRLError(f"{path}: there are two rows of {row[0]} at {row[1]:g} s")
        seen.add(row)


def _trajectory(episode: int, names: Columns, numbers: Columns) -> Trajectory:
    times = np.unique(numbers["time_s"])
    step = round(float(np.diff(times).min() if len(times) > 1 else times[0]), 9)
    t = np.rint(numbers["time_s"] / step).astype(np.int64) - 1
    vehicles = tuple(dict.fromkeys(names["vehicle"].tolist()))  # in the order of columns
    number = {vehicle: column for column, vehicle in enumerate(vehicles)}
    here = t, np.array([number[vehicle] for vehicle in names["vehicle"]])
    shape = int(t.max()) + 1, len(vehicles)

    def table(values: NDArray[Any], missing: Any) -> NDArray[Any]:
        full = np.full(shape, missing, dtype=values.dtype)
        full[here] = values
        return full

    def places(vehicles_named: NDArray[Any]) -> IntArray:
        return table(np.array([number.get(name, -1) for name in vehicles_named]), -1)

    series: dict[str, Any] = {
        name: table(numbers[column], np.nan) for name, column in NUMBERS.items()
    }
    present = table(np.ones(len(t), dtype=bool), False)
    # A vehicle has no acceleration yet in the step in which it enters.
    entered = present & np.isnan(series["acceleration"])
    series["headway"] = np.where(present & np.isnan(series["headway"]), np.inf, series["headway"])
    flags: dict[str, Any] = {name: table(numbers[name] != 0, False) for name in FLAGS}
    nothing = np.full(shape, None, dtype=object)
    return Trajectory(
        episode=episode,
        vehicles=vehicles,
        agents=np.array([number[one] for one in vehicles if one.startswith(LEARNING)], dtype=int),
        step_length=step,
        path_length=_lap(series["position"], series["distance"], entered),
        held_steps=0,
        present=present,
        entered=entered,
        leader=places(names["leader"]),
        follower=places(names["follower"]),
        **flags,
        emissions=np.stack([table(numbers[name], np.nan) for name in EMISSIONS], axis=-1),
        reward=np.zeros((0, sum(one.startswith(LEARNING) for one in vehicles))),
        reward_terms={},
        messages=np.zeros(0),
        places=Places(
            lane=table(names["lane"].astype(object), None),
            vehicle_type=nothing,
            slope=np.full(shape, np.nan),
            **{name: table(numbers[column], np.nan) for name, column in PLACES.items()},
        ),
        **series,
    )


def _lap(position: FloatArray, distance: FloatArray, entered: NDArray[np.bool_]) -> float:
    """m of the loop."""
    back = np.diff(distance, axis=0) - np.diff(position, axis=0)
    laps = back[(back > LAP) & ~entered[1:]]
    return float(np.median(laps)) if len(laps) else np.inf


def _read_csv(path: Path) -> Columns:
    """Cells as text; NaN, or None for names, where one is empty."""
    with open(path, newline="", encoding="utf-8") as stream:
        rows = csv.reader(stream)
        header = next(rows, [])
        cells = list(zip(*rows, strict=True)) or [()] * len(header)
    return {
        name: np.array([cell or (None if name in NAMES else "nan") for cell in column], object)
        for name, column in zip(header, cells, strict=True)
    }


def _read_parquet(path: Path) -> Columns:
    require_pyarrow(path)
    from pyarrow import parquet

    table = parquet.read_table(path)
    return {name: table[name].to_numpy() for name in table.column_names}


READERS: dict[str, Callable[[Path], Columns]] = {".csv": _read_csv, ".parquet": _read_parquet}
