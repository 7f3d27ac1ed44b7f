"""Reads scenario files: ``extends``, overrides and validation with places.

A file may name another one to build on as ``extends: other.yaml``. Mappings
merge deeply; lists and scalars replace; a mapping of another ``kind`` replaces
the whole one. Keys that end in ``_file`` or ``_files`` hold paths, relative to
the file that they stand in.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from trafficrl.config.messages import OVERRIDE, explain, show_value
from trafficrl.config.scenario import ScenarioConfig
from trafficrl.config.yaml_source import MAX_DEPTH, Node, parse_yaml, to_yaml
from trafficrl.errors import ScenarioError
from trafficrl.resources import closest, is_sumo_name, scenario_names, scenario_path

MAX_BYTES = 1_000_000
EXTENDS = "extends"
PATH_SUFFIXES = ("_file", "_files")  # of keys

KEY_PATH = re.compile(r"[\w-]+(\.[\w-]+)*")


class Setting(NamedTuple):
    """A key of a scenario, such as ``training.total_steps``, with a value that has a place."""

    key: str
    value: Node


def load_scenario(
    scenario: str | os.PathLike[str] | ScenarioConfig, overrides: Sequence[str | Setting] = ()
) -> ScenarioConfig:
    """Read, merge, override and validate a scenario.

    ``scenario`` is the path of a YAML file, the name of a bundled scenario
    (``ring``, ``paper/ring_dppo``), or a config to override. Each override is
    ``key.path=value`` with a YAML value that replaces what stood there; list
    items go by index, as in ``observation.0.scale=10``; or it is a ``Setting``.

    Raises ``ScenarioError`` with one line for each problem:
    ``file:line:column: key.path: what is wrong``.
    """
    if isinstance(scenario, ScenarioConfig):
        tree = Node.of(scenario.model_dump(mode="json"), f"scenario '{scenario.name}'")
    else:
        tree = reduce(_merge, reversed(_read_layers(os.fspath(scenario))))
    for override in overrides:
        if isinstance(override, Setting):
            _set(tree, override, f"{override.value.where}: {override.key}")
        else:
            _override(tree, override)
    tree = absolute(tree, Path.cwd())  # what is relative yet is from the command line
    try:
        return ScenarioConfig.model_validate(tree.plain())
    except ValidationError as error:
        raise ScenarioError(explain(error, tree, scenario_schema())) from None


def dump_scenario(config: ScenarioConfig) -> str:
    """YAML text with every setting of ``config``, which loads to an equal config."""
    return to_yaml(config.model_dump(mode="json"))


def scenario_schema() -> dict[str, Any]:
    """JSON schema of a scenario, ``extends`` already resolved."""
    return ScenarioConfig.model_json_schema()


def _read_layers(scenario: str) -> list[Node]:
    """The mapping of the file, then those of the files that it extends."""
    path = locate(scenario, Path())
    text = _read(path)
    layers: list[Node] = []
    chain: list[Path] = []
    while True:
        chain.append(path)
        layer = parse_yaml(text, str(path))
        if not isinstance(layer.value, dict):
            found = "an empty file" if layer.value is None else show_value(layer.value)
            raise ScenarioError(
                f"{layer.where}: should be a mapping of keys such as 'name: ring', not {found}"
            )
        parent = layer.value.pop(EXTENDS, None)
        layers.append(absolute(layer, path.parent))
        if parent is None:
            return layers
        try:
            path, text = _parent(parent.value, chain)
        except ScenarioError as error:
            raise ScenarioError(f"{parent.where}: {EXTENDS}: {error}") from None


def _parent(extends: Any, chain: list[Path]) -> tuple[Path, str]:
    if not isinstance(extends, str):
        raise ScenarioError(
            f"should be the path of a scenario file or a bundled name, not {show_value(extends)}"
        )
    path = locate(extends, chain[-1].parent)
    text = _read(path)
    if any(path.samefile(seen) for seen in chain):
        names = [str(one) for one in (*chain, path)]
        shown = names if len(names) < 8 else [*names[:3], "...", *names[-3:]]
        raise ScenarioError(f"a scenario cannot extend itself ({' -> '.join(shown)})")
    return path, text


def locate(name: str, folder: Path) -> Path:
    """The file of a bundled name, otherwise ``name`` as a path relative to ``folder``."""
    if not Path(name).suffix and name in scenario_names():
        return scenario_path(name)
    return folder / name


def _read(path: Path) -> str:
    try:
        return read_text(path)
    except FileNotFoundError:
        names = closest(path.stem, scenario_names())[:5]
        raise ScenarioError(
            f"{path}: no such file (bundled: {', '.join(names)} and others)"
        ) from None


def read_text(path: Path) -> str:
    """The text of a YAML file.

    Raises ``FileNotFoundError`` where there is none, ``ScenarioError`` for all else.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise ScenarioError(f"{path}: a directory (should be a YAML file)")
        if not stat.S_ISREG(status.st_mode):
            raise ScenarioError(f"{path}: not a regular file (should be a YAML file)")
        if status.st_size > MAX_BYTES:
            raise ScenarioError(f"{path}: larger than 1 MB (should be a few kB)")
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise
    except UnicodeDecodeError as error:
        raise ScenarioError(
            f"{path}: not text at byte {error.start} (should be UTF-8 YAML)"
        ) from None
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError:
        raise ScenarioError(f"{str(path)!r}: not a file name") from None


def _merge(parent: Node, child: Node) -> Node:
    """``child`` on top of ``parent``; every value keeps the place it came from."""
    if not isinstance(parent.value, dict) or not isinstance(child.value, dict):
        return child
    before, after = parent.child("kind"), child.child("kind")
    if before is not None and after is not None and before.value != after.value:
        return child
    merged = dict(parent.value)
    for key, node in child.value.items():
        merged[key] = _merge(merged[key], node) if key in merged else node
    return Node(merged, child.where)


def absolute(node: Node, folder: Path, is_path: bool = False) -> Node:
    """``node`` with all paths in it absolute, as seen from ``folder``; bundled names stay."""
    if isinstance(node.value, dict):
        items = {
            key: absolute(item, folder, is_path or key.endswith(PATH_SUFFIXES))
            for key, item in node.value.items()
        }
        return Node(items, node.where)
    if isinstance(node.value, list):
        return Node([absolute(item, folder, is_path) for item in node.value], node.where)
    if is_path and isinstance(node.value, str) and node.value and not is_sumo_name(node.value):
        return Node(os.path.abspath(folder / node.value), node.where)
    return node


def _override(tree: Node, override: str) -> None:
    """Replace one value of ``tree`` in place by what stands on the command line."""
    path, equals, text = override.partition("=")
    path, text = path.strip(), text.strip()
    if not equals or not KEY_PATH.fullmatch(path):
        raise ScenarioError(
            f"{OVERRIDE}{override[:60]!r}: should be KEY=VALUE, such as training.total_steps=20000"
        )
    where = f"{OVERRIDE}{path}"
    if not text or text.startswith("#"):
        raise ScenarioError(f"{where}: has no value (write null for none)")
    _set(tree, Setting(path, parse_yaml(text, where, positions=False)), where)


def _set(tree: Node, setting: Setting, where: str) -> None:
    """Replace one value of ``tree`` in place; ``where`` begins what is said of its key."""
    parts = setting.key.split(".")
    if len(parts) > MAX_DEPTH:
        raise ScenarioError(f"{where}: more than {MAX_DEPTH} keys deep")
    node = tree
    for depth, part in enumerate(parts):
        last = depth == len(parts) - 1
        node = _put(
            node, part, setting.value if last else None, f"{where}: {'.'.join(parts[:depth])}"
        )


def _put(node: Node, part: str, value: Node | None, owner: str) -> Node:
    """Set ``part`` of ``node`` to ``value``; without one, go there, making a mapping if needed."""
    where = owner.partition(": ")[0]
    if isinstance(node.value, dict):
        present = node.value.get(part)
        if value is None and (present is None or present.value is None):
            value = Node({}, where)
        node.value[part] = value or node.value[part]
        return node.value[part]
    if isinstance(node.value, list):
        count = len(node.value)
        if not (part.isascii() and part.isdigit() and len(part) < 10 and int(part) < count):
            items = "no items" if count == 0 else f"items 0 to {count - 1}"
            raise ScenarioError(f"{owner} has {items}, not {part!r}")
        index = int(part)
        node.value[index] = value or node.value[index]
        return node.value[index]
    raise ScenarioError(f"{owner} is {show_value(node.value)}, which has no keys")
