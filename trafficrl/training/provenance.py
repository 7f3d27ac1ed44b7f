"""What made a run: versions, machine, command line."""

from __future__ import annotations

import datetime
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from trafficrl.training.versions import git, revision, versions


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


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _changed_files() -> int | None:
    """Files of the source tree that differ from its revision, None outside a checkout."""
    status = git("status", "--porcelain", "--untracked-files=no")
    return None if status is None else len(status.splitlines())
