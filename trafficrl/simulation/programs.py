"""SUMO's programs: where they are, and running those that make networks."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from trafficrl.errors import ScenarioError, SimulationError


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


@cache
def program_version(program: Path) -> str:
    """What the program calls itself, on one line."""
    return run_program(program, "--version").partition("\n")[0]


def run_program(program: Path, *arguments: str, source: Path | None = None) -> str:
    """Run ``program`` and return what it printed.

    Its first error is raised on one line, as one of the ``source`` where that is
    a file of the user's.
    """
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
        if source is not None:
            raise ScenarioError(f"{source}: {program.name} makes no network of it: {reason}")
        raise SimulationError(f"{program}: the network could not be built: {reason}")
    return done.stdout


def _package_home() -> str | None:
    try:
        import sumo
    except ImportError:
        return None
    return str(sumo.SUMO_HOME)
