"""Versions of what runs on a machine, and in what two machines differ."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

PACKAGES = ("trafficrl", "torch", "numpy", "libsumo", "eclipse-sumo", "gymnasium", "pettingzoo")

Versions = Mapping[str, str | None]


def versions() -> dict[str, str]:
    """Of Python and the packages that decide results."""
    return {
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
    }


def revision() -> str | None:
    """Of the source tree that runs, None outside a checkout."""
    return git("rev-parse", "HEAD")


def compared() -> dict[str, str | None]:
    """What has to be the same on all machines of a cluster."""
    return {**versions(), "revision": revision()}


def differences(there: Versions, here: Versions) -> list[str]:
    """As ``torch 2.12.0 (here 2.13.0)``; what is not known is equal."""
    return [
        f"{name} {version} (here {here[name]})"
        for name, version in there.items()
        if None not in (version, here.get(name)) and version != here[name]
    ]


def git(*arguments: str) -> str | None:
    """What git says of the source tree that runs, None outside a checkout.

    A foreign one does not count, in an ignored folder of which the package may be installed.
    """
    if _said_by_git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    return _said_by_git(*arguments)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def _said_by_git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
