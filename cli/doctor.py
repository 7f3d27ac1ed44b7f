"""``trafficrl doctor``: what this machine has, and what to do about what it lacks."""

from __future__ import annotations

import ctypes
import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Literal, NamedTuple

import click

from trafficrl import __version__
from trafficrl.errors import SimulationError

SUMO_RELEASE = "1.28"
SUMO_PACKAGES = ("libsumo", "traci", "sumolib", "eclipse-sumo")

# The SUMO wheels bring every library but these. The package names are the same
# in Debian 12 and 13 and in Ubuntu 22.04 and 24.04.
SYSTEM_LIBRARIES = {
    "libGL.so.1": "libgl1",
    "libX11.so.6": "libx11-6",
    "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1",
    "libexpat.so.1": "libexpat1",
    "libatomic.so.1": "libatomic1",
    "libstdc++.so.6": "libstdc++6",
    "libz.so.1": "zlib1g",
}

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


class Check(NamedTuple):
    """One line of the report; ``remedy`` is what to do where it is not ok."""

    status: Literal["ok", "warn", "fail"]
    name: str
    finding: str
    remedy: str = ""


@click.command()
@click.option(
    "--missing-packages",
    is_flag=True,
    help="Print only the system packages that apt-get must install for SUMO, if any.",
)
@click.pass_context
def doctor(ctx: click.Context, missing_packages: bool) -> None:
    """Check that this machine has what trafficrl needs.

    Exits with 1 if something is missing that no training can do without.
    """
    if missing_packages:
        click.echo(" ".join(missing_system_packages()))
        return
    failed = 0
    for check in _checks():
        failed += check.status == "fail"
        status = click.style(f"{check.status:<5}", fg=COLOURS[check.status])
        click.echo(f"{status} {check.name:<13} {check.finding}")
        if check.remedy:
            click.echo(f"{'':19} -> {check.remedy}")
    if failed:
        click.echo(f"{failed} of the checks failed: training cannot work before that is mended.")
        ctx.exit(1)


def missing_system_packages() -> list[str]:
    """Names of the Debian packages whose libraries SUMO would look for in vain."""
    return [package for library, package in SYSTEM_LIBRARIES.items() if not _loads(library)]


def _checks() -> Iterator[Check]:
    yield Check("ok", "trafficrl", __version__)
    yield Check("ok", "python", f"{platform.python_version()} ({sys.executable})")
    yield Check("ok", "platform", platform.platform())
    yield from _packages()
    yield _program("sumo", "fail")
    yield _program("netconvert", "fail")
    yield _program("netgenerate", "warn")
    yield _libsumo()
    yield _gui()
    yield Check("ok", "cores", f"{_cores()} for this process, {os.cpu_count()} in the machine")
    yield _memory()
    yield _gpu()


def _packages() -> Iterator[Check]:
    for name in ("torch", "numpy", *SUMO_PACKAGES):
        try:
            version = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Check("fail", name, "not installed", "pip install -c constraints.txt -e .")
            continue
        if name in SUMO_PACKAGES and not version.startswith(f"{SUMO_RELEASE}."):
            remedy = f"pip install '{name}=={SUMO_RELEASE}.*': results depend on the release"
            yield Check("warn", name, version, remedy)
        else:
            yield Check("ok", name, version)


def _program(name: str, if_broken: Literal["warn", "fail"]) -> Check:
    """Whether a program of SUMO is there and says its version."""
    from trafficrl.simulation.programs import sumo_program

    try:
        path = str(sumo_program(name))
    except SimulationError as error:
        return Check(if_broken, name, str(error), f"pip install 'eclipse-sumo=={SUMO_RELEASE}.*'")
    output, failure = _run([path, "--version"])
    if failure:
        return Check(if_broken, name, f"{path} does not run: {failure}", _system_remedy())
    return Check("ok", name, f"{output.splitlines()[0]} ({path})")


def _libsumo() -> Check:
    # Apart, because a library that does not fit the machine can end the process.
    _, error = _run([sys.executable, "-c", "import libsumo"])
    if error:
        return Check("fail", "import libsumo", error, _system_remedy())
    return Check("ok", "import libsumo", "works")


def _gui() -> Check:
    program = _program("sumo-gui", "warn")
    if program.status != "ok":
        return program
    if display := os.environ.get("DISPLAY"):
        return Check("ok", "sumo-gui", f"on display {display}")
    if shutil.which("Xvfb"):
        return Check("ok", "sumo-gui", "no display; pictures and video through Xvfb")
    remedy = _apt_line(["xvfb"]) + " for pictures and video; training needs no display"
    return Check("warn", "sumo-gui", "no display and no Xvfb", remedy)


def _memory() -> Check:
    page = os.sysconf("SC_PAGE_SIZE")
    total = page * os.sysconf("SC_PHYS_PAGES") / 2**30
    free = page * os.sysconf("SC_AVPHYS_PAGES") / 2**30
    finding = f"{total:.1f} GiB, {free:.1f} GiB unused"
    if total < 2:
        return Check("warn", "memory", finding, "2 GiB or more are needed beside other programs")
    return Check("ok", "memory", finding)


def _gpu() -> Check:
    script = (
        "import torch; c = torch.cuda; "
        "print(*[c.get_device_name(i) for i in range(c.device_count())], sep=', ')"
    )
    output, error = _run([sys.executable, "-c", script])
    if error:
        return Check("fail", "import torch", error, "pip install -c constraints.txt torch")
    return Check("ok", "gpu", output or "none; training uses the CPU")


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _system_remedy() -> str:
    packages = missing_system_packages()
    return _apt_line(packages) if packages else "python -c 'import libsumo' shows more"


def _apt_line(packages: list[str]) -> str:
    sudo = "" if hasattr(os, "geteuid") and os.geteuid() == 0 else "sudo "
    return f"{sudo}apt-get install -y --no-install-recommends {' '.join(packages)}"


def _run(command: list[str]) -> tuple[str, str]:
    """Output of a command, and in one line why it failed ('' where it did not)."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", str(error)
    if done.returncode == 0:
        return done.stdout.strip(), ""
    last_line = (done.stderr.strip().splitlines() or [""])[-1]
    return "", last_line or f"ended with status {done.returncode}"
