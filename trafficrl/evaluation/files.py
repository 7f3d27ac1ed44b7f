"""Files of an evaluation, each written whole or not at all."""

from __future__ import annotations

import csv
import errno
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import IO, Any
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

from trafficrl.errors import TrafficRLError
from trafficrl.evaluation.metrics import METRICS
from trafficrl.evaluation.metrics.energy import CO2, FUEL, NOX
from trafficrl.evaluation.trajectory import Trajectory

Write = Callable[[Trajectory], None]
Columns = dict[str, NDArray[Any]]

FCD_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n\n'
    '<fcd-export xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
    'xsi:noNamespaceSchemaLocation="http://sumo.dlr.de/xsd/fcd_file.xsd">\n'
)


@contextmanager
def output_file(path: Path, *, binary: bool = False) -> Iterator[IO[Any]]:
    """A file that takes the place of ``path`` when all went well, and is gone otherwise.

    It opens at once: ``TrafficRLError`` if it cannot be written, before minutes of
    simulation and not after them. What is no regular file (a pipe) is written as it is.
    """
    replaces = path.is_file() or not path.exists()
    target = path.with_name(f".{path.name}.partial") if replaces else path
    try:
        if path.is_file() and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        stream = _open(target, binary)
    except OSError as error:
        raise TrafficRLError(f"{path}: cannot be written ({error.strerror})") from None
    try:
        with stream:
            yield stream
        if replaces:
            os.replace(target, path)
    finally:
        if replaces:
            target.unlink(missing_ok=True)


@contextmanager
def output_directory(path: Path) -> Iterator[None]:
    """A directory for output files, made with those above it, and gone where all went wrong.

    ``TrafficRLError`` if it cannot be made.
    """
    try:
        new = [one for one in (path, *path.parents) if not one.exists()]
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrafficRLError(f"{path}: cannot be written ({error.strerror})") from None
    try:
        yield
    except BaseException:
        with suppress(OSError):  # something is in it
            for one in new:
                one.rmdir()
        raise


def _open(path: Path, binary: bool) -> IO[Any]:
    return path.open("wb") if binary else path.open("w", encoding="utf-8", newline="")


def trajectory_file(path: Path, episodes: int) -> AbstractContextManager[Write]:
    """Opens to a function that writes the trajectory of an episode, in the format of the suffix.

    Raises ``TrafficRLError`` for an unknown suffix, and for more episodes than the format holds.
    """
    suffix = path.suffix.lower()
    if suffix not in FORMATS:
        raise TrafficRLError(
            f"{path}: trajectories are written to files that end in "
            f"{', '.join(FORMATS)} (SUMO's FCD), not '{path.suffix}'"
        )
    if suffix == FCD_SUFFIX and episodes > 1:
        raise TrafficRLError(
            f"{path}: an FCD file holds one episode, not {episodes} "
            "(--episodes 1, or a .csv or .parquet file)"
        )
    return FORMATS[suffix](path)


@contextmanager
def vehicle_file(path: Path) -> Iterator[Write]:
    """Opens to a function that writes a row for each vehicle of an episode, as CSV."""
    names = [name for name, metric in METRICS.items() if metric.per_vehicle]
    with output_file(path) as stream:
        rows = csv.writer(stream)
        rows.writerow(["episode", "vehicle", *names])

        def write(trajectory: Trajectory) -> None:
            for column, vehicle in enumerate(trajectory.vehicles):
                own = trajectory.only(column)
                if own.present.any():
                    values = (_cell(METRICS[name].of(own)) for name in names)
                    rows.writerow([trajectory.episode, vehicle, *values])

        yield write


@contextmanager
def _csv_file(path: Path) -> Iterator[Write]:
    with output_file(path) as stream:
        rows = csv.writer(stream)
        begun = False

        def write(trajectory: Trajectory) -> None:
            nonlocal begun
            columns = trajectory_columns(trajectory)
            if not begun:
                rows.writerow(columns)
                begun = True
            rows.writerows(zip(*(_cells(column) for column in columns.values()), strict=True))

        yield write


def require_pyarrow(path: Path) -> None:
    """Raise ``TrafficRLError`` where Parquet files such as ``path`` cannot be handled."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise TrafficRLError(
            f"{path}: Parquet files need PyArrow (pip install 'trafficrl[parquet]', "
            "or use a .csv file)"
        ) from None


@contextmanager
def _parquet_file(path: Path) -> Iterator[Write]:
    """One row group an episode."""
    require_pyarrow(path)
    import pyarrow
    from pyarrow import parquet

    with output_file(path, binary=True) as stream:
        writer: Any = None

        def write(trajectory: Trajectory) -> None:
            nonlocal writer
            columns = {
                name: pyarrow.array(  # from pandas: NaN is null
                    column, pyarrow.string() if column.dtype == object else None, from_pandas=True
                )
                for name, column in trajectory_columns(trajectory).items()
            }
            table = pyarrow.table(columns)
            if writer is None:
                writer = parquet.ParquetWriter(stream, table.schema)
            writer.write_table(table)

        try:
            yield write
        finally:
            if writer is not None:
                writer.close()


@contextmanager
def _fcd_file(path: Path) -> Iterator[Write]:
    """SUMO's floating car data, as its option ``fcd-output`` writes them."""
    with output_file(path) as stream:

        def write(trajectory: Trajectory) -> None:
            stream.write(FCD_HEAD)
            stream.writelines(_fcd_lines(trajectory))
            stream.write("</fcd-export>\n")

        yield write


FCD_SUFFIX = ".xml"
FORMATS: dict[str, Callable[[Path], AbstractContextManager[Write]]] = {
    ".csv": _csv_file,
    ".parquet": _parquet_file,
    FCD_SUFFIX: _fcd_file,
}


def trajectory_columns(trajectory: Trajectory) -> Columns:
    """One row a step and present vehicle, by columns with units in their names.

    The trajectory has its places. Numbers that are not defined are NaN, names None.
    """
    assert trajectory.places is not None, "record the trajectory with its places"
    t, vehicle = np.nonzero(trajectory.present)
    names = np.array([*trajectory.vehicles, None], dtype=object)  # -1 is nobody
    places = trajectory.places
    here = (t, vehicle)
    headway = trajectory.headway[here]
    return {
        "episode": np.full(len(t), trajectory.episode),
        "time_s": np.round(trajectory.times, 9)[t],
        "vehicle": names[vehicle],
        "x_m": places.x[here],
        "y_m": places.y[here],
        "angle_deg": places.angle[here],
        "lane": places.lane[here],
        "lane_position_m": places.lane_position[here],
        "position_m": trajectory.position[here],
        "distance_m": trajectory.distance[here],
        "speed_mps": trajectory.speed[here],
        "acceleration_mps2": trajectory.acceleration[here],
        "commanded_acceleration_mps2": trajectory.commanded_acceleration[here],
        "leader": names[trajectory.leader[here]],
        "follower": names[trajectory.follower[here]],
        "headway_m": np.where(np.isfinite(headway), headway, np.nan),
        "leader_speed_mps": trajectory.leader_speed[here],
        "overridden": trajectory.overridden[here],
        "collided": trajectory.collided[here],
        "teleported": trajectory.teleported[here],
        "fuel_mg_per_s": trajectory.emissions[here][:, FUEL],
        "co2_mg_per_s": trajectory.emissions[here][:, CO2],
        "nox_mg_per_s": trajectory.emissions[here][:, NOX],
    }


def _fcd_lines(trajectory: Trajectory) -> Iterator[str]:
    places = trajectory.places
    assert places is not None, "record the trajectory with its places"
    names = [quoteattr(name) for name in trajectory.vehicles]
    digits = 2 if np.isclose(100.0 * trajectory.step_length % 1.0, (0.0, 1.0)).any() else 3
    for t, time in enumerate(trajectory.times):
        yield f'    <timestep time="{time:.{digits}f}">\n'
        for vehicle in np.flatnonzero(trajectory.present[t]):
            here = (t, vehicle)
            yield (
                f'        <vehicle id={names[vehicle]} x="{places.x[here]:.2f}" '
                f'y="{places.y[here]:.2f}" angle="{places.angle[here]:.2f}" '
                f'type={quoteattr(places.vehicle_type[here])} speed="{trajectory.speed[here]:.2f}" '
                f'pos="{places.lane_position[here]:.2f}" lane={quoteattr(places.lane[here])} '
                f'slope="{places.slope[here]:.2f}"/>\n'
            )
        yield "    </timestep>\n"


def _cells(column: NDArray[Any]) -> list[Any]:
    """Values for CSV: nothing where undefined, 0 and 1 for what is true or not."""
    if column.dtype == bool:
        column = column.astype(int)
    if column.dtype == float:
        return [_cell(value) for value in column.tolist()]
    cells: list[Any] = column.tolist()
    return cells


def _cell(value: float) -> float | str:
    return "" if np.isnan(value) else value
