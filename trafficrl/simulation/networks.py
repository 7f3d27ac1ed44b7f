"""Courses as SUMO networks, built with netconvert from a few parameters and cached by content.

A network holds one or more replicas of the same layout, which share nothing
but the simulation. A vehicle's place in its replica is one number, the
position along the ``Course`` in metres; SUMO's odometer agrees with it, so
``(start + getDistance) mod length`` is where a vehicle is.

* ring: two half circles without internal lanes, ``length_m`` long to 1e-6 m;
* figure eight: two three-quarter circles whose straight ends cross at the
  centre, four edges. A real junction with right of way: vehicles from the west
  (``e3`` to ``e0``) go first, those from the north (``e1`` to ``e2``) yield;
* road: one straight edge.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from trafficrl.config.networks import CourseNetwork
from trafficrl.simulation.cache import cached
from trafficrl.simulation.course import BuiltNetwork, Course, read_courses
from trafficrl.simulation.layouts import edge_ids, make_layouts, plain_xml, rerouters_xml
from trafficrl.simulation.programs import program_version, run_program, sumo_program
from trafficrl.simulation.xmlfiles import without_opening_comment

__all__ = ["BuiltNetwork", "Course", "build_network"]

_NET, _ADDITIONAL = "network.net.xml", "rerouters.add.xml"
# Six decimals: SUMO's default of two would make lengths wrong by millimetres.
_OPTIONS = (
    "--precision=6",
    "--no-turnarounds",
    "--offset.disable-normalization",
    "--xml-validation=never",
)


def build_network(
    config: CourseNetwork,
    replicas: int = 1,
    *,
    lengths: Sequence[float] | None = None,
    directory: Path | None = None,
) -> BuiltNetwork:
    """The network of ``config`` with ``replicas`` copies side by side, built or from the cache.

    ``lengths`` (replicas,) in m replaces ``config.length_m`` of a ring, one for
    each replica. ``directory`` is kept as the cache instead of the user's own,
    for networks that are not worth keeping, such as drawn lengths. Edges are
    ``e0``, ``e1``, ...; with several replicas ``r0_e0`` and so on.

    Raises ``ScenarioError`` for a layout that cannot be, ``SimulationError``
    where netconvert is missing or fails.
    """
    layouts = make_layouts(config, replicas, lengths)
    options = _OPTIONS if layouts[0].internal_lanes else (*_OPTIONS, "--no-internal-links")
    inputs = plain_xml(layouts, config.lanes, config.speed_limit_mps)
    additional = rerouters_xml(layouts)
    program = sumo_program("netconvert")
    content = [program_version(program), *options, *inputs.values(), additional or ""]
    make = partial(_make, program, inputs, options, additional)
    folder = cached(content, make, directory)
    courses = read_courses(folder / _NET, edge_ids(layouts), layouts[0].closed)
    return BuiltNetwork(folder / _NET, folder / _ADDITIONAL if additional else None, courses)


def _make(
    program: Path,
    inputs: dict[str, str],
    options: Sequence[str],
    additional: str | None,
    folder: Path,
) -> None:
    """Write ``inputs`` (option: XML) and the network that netconvert makes of them."""
    arguments = list(options)
    for option, text in inputs.items():
        path = folder / f"{option}.xml"
        path.write_text(text)
        arguments.append(f"--{option}={path}")
    net = folder / _NET
    run_program(program, *arguments, f"--output-file={net}")
    net.write_text(without_opening_comment(net.read_text()))
    if additional:
        (folder / _ADDITIONAL).write_text(additional)
