"""What made a run: versions, machine, command line."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("trafficrl", "torch", "numpy", "libsumo", "eclipse-sumo", "gymnasium", "pettingzoo")


def provenance() -> dict[str, Any]:
    """Of this process and the machine it runs on; plain, for JSON. SUMO is ``eclipse-sumo``."""
    return {
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "platform": platform.platform(),
        "cpu": _cpu_model(),
        "cpu_cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "git_revision": revision(),
        "git_changed_files": _changed_files(),
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """Of Python and the packages that decide results."""
    return {
        "python": platform.python_version(),
        **{package: _version(package) for package in PACKAGES},
    }


def revision() -> str | None:
    """Of the source tree that runs, None outside a checkout."""
    return _git("rev-parse", "HEAD")


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What may lead to other bits, as ``torch 2.13.0 (was 2.12.0)``; what is not known is equal."""
    earlier, latest = (
        {
            "git_revision": said.get("git_revision"),
            "cpu": said.get("cpu"),
            **(known if isinstance(known := said.get("versions"), dict) else {}),
        }
        for said in (before, now)
    )
    return [
        f"{name} {value} (was {earlier[name]})"
        for name, value in latest.items()
        if value is not None and earlier.get(name) not in (None, value)
    ]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _changed_files() -> int | None:
    """Files of the source tree that differ from its revision, None outside a checkout."""
    status = _git("status", "--porcelain", "--untracked-files=no")
    return None if status is None else len(status.splitlines())


def _git(*arguments: str) -> str | None:
    """What git says of the source tree that runs, None outside a checkout.

    A foreign one does not count, in an ignored folder of which the package may be installed.
    """
    if _said_by_git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    return _said_by_git(*arguments)


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
