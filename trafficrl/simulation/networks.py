"""SUMO networks from a few parameters, built with netconvert and cached by content.

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

import atexit
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from trafficrl.errors import SimulationError
from trafficrl.simulation.course import BuiltNetwork, Course, read_courses
from trafficrl.simulation.layouts import edge_ids, make_layouts, plain_xml, rerouters_xml

if TYPE_CHECKING:
    from trafficrl.config.scenario import NetworkConfig

__all__ = ["BuiltNetwork", "Course", "build_network", "sumo_program"]

_NET, _ADDITIONAL = "network.net.xml", "rerouters.add.xml"
# Six decimals: SUMO's default of two would make lengths wrong by millimetres.
_OPTIONS = (
    "--precision=6",
    "--no-turnarounds",
    "--offset.disable-normalization",
    "--xml-validation=never",
)


def build_network(
    config: NetworkConfig,
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
    # Internal lanes would lengthen a ring; only a crossing needs them.
    options = _OPTIONS if config.kind == "figure_eight" else (*_OPTIONS, "--no-internal-links")
    inputs = plain_xml(layouts, config.lanes, config.speed_limit_mps)
    additional = rerouters_xml(layouts)
    program = sumo_program("netconvert")
    key = "\n".join([_version(program), *options, *inputs.values(), additional or ""])
    folder = _cached(
        hashlib.sha256(key.encode()).hexdigest()[:20], inputs, options, additional, directory
    )
    courses = read_courses(folder / _NET, edge_ids(layouts), layouts[0].closed)
    return BuiltNetwork(folder / _NET, folder / _ADDITIONAL if additional else None, courses)


def sumo_program(name: str) -> Path:
    """The path of a SUMO program such as ``netconvert`` or ``sumo``.

    Looks in the eclipse-sumo package, then in ``SUMO_HOME``, then on the PATH;
    raises ``SimulationError`` where it is in none of them.
    """
    homes = [_package_home(), os.environ.get("SUMO_HOME")]
    places = [str(Path(home, "bin")) for home in homes if home]
    found = shutil.which(name, path=os.pathsep.join([*places, os.environ.get("PATH", "")]))
    if found is None:
        raise SimulationError(
            f"{name}: not found in the eclipse-sumo package, in SUMO_HOME or on the PATH "
            "(install eclipse-sumo)"
        )
    return Path(found)


def _package_home() -> str | None:
    try:
        import sumo
    except ImportError:
        return None
    return str(sumo.SUMO_HOME)


@cache
def _version(program: Path) -> str:
    return _call(program, "--version").partition("\n")[0]


def _call(program: Path, *arguments: str) -> str:
    """Run ``program`` and return what it printed; raise its first error on one line."""
    try:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        raise SimulationError(f"{program}: cannot be run: {error.strerror or error}") from error
    if done.returncode != 0:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("Error")] or lines[-1:]
        reason = errors[0] if errors else f"exit status {done.returncode}"
        raise SimulationError(f"{program}: the network could not be built: {reason}")
    return done.stdout


def _cached(
    key: str,
    inputs: dict[str, str],
    options: Sequence[str],
    additional: str | None,
    directory: Path | None,
) -> Path:
    """The folder ``key`` with the network in it, made where it is not there yet."""
    root = directory or _user_cache()
    if (root / key).is_dir():
        return root / key
    try:
        scratch = _scratch(root, key)
    except OSError as error:
        if directory is not None:
            raise SimulationError(
                f"{directory}: networks cannot be written here: {error.strerror} "
                "(give a writable directory)"
            ) from error
        root = _fallback_cache()
        scratch = _scratch(root, key)
    try:
        _netconvert(inputs, options, scratch)
        if additional:
            (scratch / _ADDITIONAL).write_text(additional)
        _publish(scratch, root / key)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return root / key


def _scratch(root: Path, key: str) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=f".{key}-", dir=root))


def _netconvert(inputs: dict[str, str], options: Sequence[str], folder: Path) -> None:
    """Write ``inputs`` (option: XML) and the network that netconvert makes of them."""
    arguments = list(options)
    for option, text in inputs.items():
        path = folder / f"{option}.xml"
        path.write_text(text)
        arguments.append(f"--{option}={path}")
    net = folder / _NET
    _call(sumo_program("netconvert"), *arguments, f"--output-file={net}")
    # netconvert's opening comment has the date and the paths of this machine.
    head, _, rest = net.read_text().partition("<!--")
    net.write_text(head.rstrip() + "\n" + rest.partition("-->")[2].lstrip())


def _publish(scratch: Path, target: Path) -> None:
    """Rename ``scratch`` to ``target``; the first of two processes wins."""
    try:
        scratch.rename(target)
    except OSError:
        if not target.is_dir():
            raise


def _user_cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "trafficrl" / "networks"


@cache
def _fallback_cache() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="trafficrl-networks-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
