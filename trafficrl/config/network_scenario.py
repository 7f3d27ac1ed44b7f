"""A scenario for a road network that comes with none."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from trafficrl.config.loading import load_scenario
from trafficrl.config.scenario import ScenarioConfig
from trafficrl.errors import ScenarioError
from trafficrl.types import LEARNED

BASE = "transfer/network"  # defaults for any network


def network_scenario(
    base: str | ScenarioConfig = BASE,
    *,
    net_file: Path | None = None,
    osm_file: Path | None = None,
    xodr_file: Path | None = None,
    route_files: Sequence[Path] = (),
    vehicles: int | None = None,
    overrides: Sequence[str] = (),
) -> ScenarioConfig:
    """``base`` on the streets of one of the files, with ``overrides`` last.

    Without ``route_files`` vehicles circulate; with them ``vehicles`` is the number
    of slots. It replaces the count of the one group of learning vehicles.
    """
    files = {"file": net_file, "osm": osm_file, "opendrive": xodr_file}
    given = {kind: file for kind, file in files.items() if file is not None}
    if len(given) != 1:
        raise ScenarioError("network: give one file, of SUMO, OpenStreetMap or OpenDRIVE")
    ((kind, file),) = given.items()
    key = {"file": "net_file", "osm": "osm_file", "opendrive": "xodr_file"}[kind]
    routes = [str(route.absolute()) for route in route_files]
    network = {"kind": kind, key: str(file.absolute()), "route_files": routes}
    config = load_scenario(base)
    start = {"kind": "routes" if routes else "spread"}
    changes: dict[str, object] = {"name": _name(file), "network": network}
    if config.start.kind != start["kind"]:
        changes["start"] = start
    if vehicles is not None:
        changes[f"vehicles.{_learned_group(config)}.count"] = vehicles
    described = "as its route files say" if routes else "where vehicles circulate"
    changes["description"] = f"the network of {file.name}, {described}"
    # YAML has no surrogate pairs, which JSON writes beyond the basic plane unless told not to.
    lines = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in changes.items()]
    return load_scenario(config, [*lines, *overrides])


def _name(file: Path) -> str:
    """A name for runs and reports, from that of the file."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", file.name.partition(".")[0]) or "network"


def _learned_group(config: ScenarioConfig) -> int:
    groups = [i for i, group in enumerate(config.vehicles) if group.controller == LEARNED]
    if len(groups) != 1:
        raise ScenarioError(
            f"vehicles: scenario '{config.name}' has {len(groups)} groups of learning vehicles, so "
            "their number cannot be set (should be 1 group)"
        )
    return groups[0]
