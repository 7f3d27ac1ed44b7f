"""Finds the scenarios and SUMO files that come with the package."""

from __future__ import annotations

import difflib
from importlib.resources import files
from pathlib import Path

from trafficrl.errors import ScenarioError

SUFFIX = ".yaml"


def scenario_names() -> list[str]:
    """Names of all bundled scenarios, sorted, such as ``ring`` and ``paper/ring_dppo``."""
    root = _folder("scenarios")
    return sorted(
        path.relative_to(root).with_suffix("").as_posix() for path in root.rglob(f"*{SUFFIX}")
    )


def scenario_path(name: str) -> Path:
    """The file of a bundled scenario.

    Raises ``ScenarioError`` for an unknown name, with the closest names first.
    """
    names = scenario_names()
    if name not in names:
        raise ScenarioError(
            f"no bundled scenario is called {name!r} (there are: {', '.join(closest(name, names))})"
        )
    return _folder("scenarios") / f"{name}{SUFFIX}"


def sumo_config_dir() -> Path:
    """The folder with one subfolder of SUMO files for each bundled network."""
    return _folder("sumo_configs")


def sumo_names() -> list[str]:
    """Names of all bundled networks with SUMO files, sorted, such as ``merge``."""
    return sorted(path.name for path in sumo_config_dir().iterdir() if path.is_dir())


def is_sumo_name(name: str) -> bool:
    """Whether ``name`` is that of a bundled network and not a path."""
    return not Path(name).suffix and name in sumo_names()


def sumo_file(name: str, suffix: str) -> Path:
    """The file of that kind of a bundled network, otherwise ``name`` as a path."""
    if is_sumo_name(name):
        return sumo_config_dir() / name / f"{name}{suffix}"
    return Path(name)


def closest(name: str, names: list[str]) -> list[str]:
    """``names`` with the most similar to ``name`` first."""
    return sorted(
        names, key=lambda known: -difflib.SequenceMatcher(None, name[:200], known).ratio()
    )


def _folder(name: str) -> Path:
    try:
        return Path(str(files(f"trafficrl.{name}")))
    except ModuleNotFoundError:
        raise ScenarioError(
            f"the bundled folder '{name}' is not installed (pip install trafficrl, "
            "or 'pip install -e .' in the source tree)"
        ) from None
