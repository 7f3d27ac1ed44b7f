"""Options of commands that can drive on a network that comes with no scenario."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from trafficrl.config import ScenarioConfig

_FILE = click.Path(dir_okay=False, path_type=Path)
_OPTIONS = (
    click.option("--net-file", type=_FILE, metavar="FILE", help="Drive in a SUMO network"),
    click.option("--osm", "osm_file", type=_FILE, metavar="FILE", help="In an OpenStreetMap file"),
    click.option(
        "--opendrive", "xodr_file", type=_FILE, metavar="FILE", help="In an OpenDRIVE file"
    ),
    click.option(
        "--routes",
        "route_files",
        type=_FILE,
        multiple=True,
        metavar="FILE",
        help="SUMO routes of the vehicles there; may be repeated  [default: they circulate]",
    ),
    click.option(
        "--vehicles",
        type=click.IntRange(1),
        help="How many circulate, or are driven at once  [default: 30]",
    ),
)


@dataclass(frozen=True)
class NetworkChoice:
    """The network that the options name, exactly one."""

    net_file: Path | None
    osm_file: Path | None
    xodr_file: Path | None
    route_files: tuple[Path, ...]
    vehicles: int | None

    def scenario(self, base: str | None) -> ScenarioConfig:
        """The scenario ``base``, or the defaults for any network, in the chosen network."""
        from trafficrl.config.network_scenario import BASE, network_scenario

        return network_scenario(base or BASE, **vars(self))


def network_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options; the command gets them as ``network``, None where none is given."""

    @functools.wraps(command)
    def wrapped(
        net_file: Path | None,
        osm_file: Path | None,
        xodr_file: Path | None,
        route_files: tuple[Path, ...],
        vehicles: int | None,
        **others: Any,
    ) -> Any:
        files = [file for file in (net_file, osm_file, xodr_file) if file is not None]
        if len(files) > 1:
            raise click.UsageError("give one of --net-file, --osm and --opendrive")
        if not files and (route_files or vehicles is not None):
            option = "--routes" if route_files else "--vehicles"
            raise click.UsageError(f"{option} goes with --net-file, --osm or --opendrive")
        choice = NetworkChoice(net_file, osm_file, xodr_file, route_files, vehicles)
        return command(network=choice if files else None, **others)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped
