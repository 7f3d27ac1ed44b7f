"""The network file of every kind of streets: given, or made once and cached by content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from functools import partial, singledispatch
from pathlib import Path

from trafficrl.config.networks import (
    FileNetwork,
    GeneratedNetwork,
    GridNetwork,
    OpenDriveNetwork,
    OsmNetwork,
    RandomNetwork,
    SpiderNetwork,
    StreetNetwork,
)
from trafficrl.errors import ScenarioError
from trafficrl.resources import sumo_file
from trafficrl.simulation.cache import cached
from trafficrl.simulation.course import BuiltNetwork
from trafficrl.simulation.programs import program_version, run_program, sumo_program, try_files
from trafficrl.simulation.safexml import check_xml
from trafficrl.simulation.xmlfiles import without_opening_comment

_NET = "network.net.xml"
NET_ROOTS = frozenset({"net"})
ROUTE_ROOTS = frozenset({"routes", "additional", "trips", "flows"})
# What every converted map gets: streets for cars, junctions and lights as drivers meet them.
_FOR_CARS = ("--keep-edges.by-vclass=passenger", "--remove-edges.isolated")
_OSM_OPTIONS = (
    *_FOR_CARS,
    "--geometry.remove",
    "--roundabouts.guess",
    "--ramps.guess",
    "--junctions.join",
    "--tls.guess-signals",
    "--tls.discard-simple",
    "--tls.join",
)
# Dead ends need turning; elsewhere a turn round is what no route needs.
_GENERATED_OPTIONS = ("--no-turnarounds.except-deadend",)


@dataclass(frozen=True)
class Recipe:
    """How a program of SUMO's makes a network: of options alone, or of a file as well."""

    program: str
    options: tuple[str, ...]
    source: Path | None = None
    source_option: str = ""  # that takes the file
    roots: frozenset[str] = frozenset()  # of the file's XML
    what: str = ""  # the file should be


def build_streets(config: StreetNetwork, directory: Path | None = None) -> BuiltNetwork:
    """The network file of ``config`` and its route files, each well-formed XML that SUMO loads.

    ``directory`` is the cache instead of the user's own. Raises ``ScenarioError``
    for a file that is not what it should be, ``SimulationError`` where one of
    SUMO's programs is missing or fails.
    """
    if isinstance(config, FileNetwork):
        net_file = sumo_file(config.net_file, ".net.xml")
        _check(net_file, NET_ROOTS, "a SUMO network (.net.xml)")
    else:
        net_file = _made(recipe(config), directory)
    route_files = tuple(sumo_file(name, ".rou.xml") for name in config.route_files)
    for file in route_files:
        _check(file, ROUTE_ROOTS, "a SUMO route file (.rou.xml)")
    if route_files or not isinstance(config, GeneratedNetwork):
        try_files(config.source, net_file, route_files)
    return BuiltNetwork(net_file, None, (), route_files)


@singledispatch
def recipe(config: StreetNetwork) -> Recipe:
    """How to make the network; each kind that is made registers its own."""
    raise NotImplementedError(type(config))


@recipe.register
def _osm(config: OsmNetwork) -> Recipe:
    what = "an OpenStreetMap file (.osm)"
    source = Path(config.osm_file)
    return Recipe("netconvert", _OSM_OPTIONS, source, "--osm-files", frozenset({"osm"}), what)


@recipe.register
def _opendrive(config: OpenDriveNetwork) -> Recipe:
    what = "an OpenDRIVE file (.xodr)"
    source = Path(config.xodr_file)
    return Recipe(
        "netconvert", _FOR_CARS, source, "--opendrive-files", frozenset({"OpenDRIVE"}), what
    )


@recipe.register
def _grid(config: GridNetwork) -> Recipe:
    return _generated(
        config,
        "--grid",
        f"--grid.x-number={config.columns}",
        f"--grid.y-number={config.rows}",
        f"--grid.length={config.block_m!r}",
    )


@recipe.register
def _spider(config: SpiderNetwork) -> Recipe:
    return _generated(
        config,
        "--spider",
        "--spider.omit-center",
        f"--spider.arm-number={config.arms}",
        f"--spider.circle-number={config.circles}",
        f"--spider.space-radius={config.spacing_m!r}",
    )


@recipe.register
def _random(config: RandomNetwork) -> Recipe:
    return _generated(
        config,
        "--rand",
        f"--rand.iterations={config.iterations}",
        f"--rand.min-distance={config.min_length_m!r}",
        f"--rand.max-distance={config.max_length_m!r}",
        f"--seed={config.seed}",
    )


def _generated(config: GeneratedNetwork, *options: str) -> Recipe:
    return Recipe(
        "netgenerate",
        (
            *options,
            f"--default.lanenumber={config.lanes}",
            f"--default.speed={config.speed_limit_mps!r}",
            f"--default-junction-type={config.junctions}",
            *_GENERATED_OPTIONS,
        ),
    )


def _made(how: Recipe, directory: Path | None) -> Path:
    program = sumo_program(how.program)
    content = [program_version(program), *how.options]
    if how.source is not None:
        _check(how.source, how.roots, how.what)
        content.append(hashlib.sha256(how.source.read_bytes()).hexdigest())
    return cached(content, partial(_make, program, how), directory) / _NET


def _check(path: Path, roots: Collection[str], what: str) -> None:
    """Raise ``ScenarioError`` for a file that SUMO should not or cannot be given."""
    with suppress(ValueError):  # a null byte, which check_xml will refuse
        if any("," in name for name in (str(path), os.path.realpath(path))):
            raise ScenarioError(
                f"{path}: a path with a comma is a list of files to SUMO "
                "(rename the file or its folder)"
            )
    check_xml(path, roots, what)


def _make(program: Path, how: Recipe, folder: Path) -> None:
    net = folder / _NET
    source = [] if how.source is None else [f"{how.source_option}={how.source}"]
    arguments = (*how.options, *source, "--xml-validation=never", f"--output-file={net}")
    run_program(program, *arguments, source=how.source)
    net.write_text(without_opening_comment(net.read_text()))
