"""SUMO's programs: where they are, and running those that make networks or try them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from trafficrl.errors import ScenarioError, SimulationError
from trafficrl.types import VEHICLE_TYPE

TIMEOUT = 1800.0  # s, for making or loading the largest network; some broken ones take for ever


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
    done = _run(program, *arguments)
    if done.returncode != 0:
        reason = _first_error(done)
        if source is not None:
            raise ScenarioError(f"{source}: {program.name} makes no network of it: {reason}")
        raise SimulationError(f"{program}: the network could not be built: {reason}")
    return done.stdout


def try_files(name: str, net_file: Path, route_files: Sequence[Path]) -> None:
    """Raise ``ScenarioError`` for files that SUMO does not load, or that end it.

    In a process of its own: libsumo would take this one down with it, and tells
    some errors on stderr alone. ``name`` is that of the network.
    """
    wrong = _trial(net_file, route_files)
    if wrong is None:
        return
    if route_files and _trial(net_file, ()) is None:
        name = " and ".join(map(str, route_files))
    raise ScenarioError(f"{name}: SUMO cannot drive in it: {wrong} (mend it, or use netedit)")


def _trial(net_file: Path, route_files: Sequence[Path]) -> str | None:
    """What SUMO finds wrong in its first second; None: nothing."""
    options = ["--no-step-log", "--no-warnings", "--duration-log.disable", "--end=1"]
    files = [f"--net-file={os.path.realpath(net_file)}"]
    if route_files:
        files.append(f"--route-files={','.join(map(os.path.realpath, route_files))}")
    with tempfile.NamedTemporaryFile("w", suffix=".add.xml") as types:
        # Route files may name the vType that all vehicles are given.
        types.write(f'<additional><vType id="{VEHICLE_TYPE}"/></additional>')
        types.flush()
        done = _run(sumo_program("sumo"), *options, *files, f"--additional-files={types.name}")
    # It goes on after some errors, with something else in the wrong one's place.
    failed = done.returncode != 0 or "Error" in done.stderr
    return _first_error(done) if failed else None


def _run(program: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [program, *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=TIMEOUT,
        )
    except subprocess.TimeoutExpired:
        raise SimulationError(
            f"{program}: not done after {TIMEOUT:g} s (a smaller network is needed)"
        ) from None
    except OSError as error:
        raise SimulationError(f"{program}: cannot be run: {error.strerror or error}") from error


def _first_error(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("Error")] or lines[-1:]
    if errors:
        return errors[0].removeprefix("Error:").strip().rstrip(".")
    if done.returncode < 0:
        return f"it crashes ({signal.Signals(-done.returncode).name})"
    return f"exit status {done.returncode}"


def _package_home() -> str | None:
    try:
        import sumo
    except ImportError:
        return None
    return str(sumo.SUMO_HOME)
