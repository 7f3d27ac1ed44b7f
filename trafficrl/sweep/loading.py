"""Reads sweep files, and checks all that they will set before anything starts."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from trafficrl.config import ScenarioConfig, load_scenario
from trafficrl.config.loading import (
    KEY_PATH,
    Setting,
    absolute,
    locate,
    read_text,
)
from trafficrl.config.messages import MAX_LINES, explain, show_value
from trafficrl.config.yaml_source import Node, parse_yaml
from trafficrl.errors import ScenarioError, printable
from trafficrl.sweep.config import MAX_POINTS, GridSearch, Key, SweepConfig
from trafficrl.sweep.plan import SEED, Plan, grid_points, show_point


def load_sweep(path: Path) -> Plan:
    """Read a sweep file and check it, with every point of a grid and both ends of every range.

    Raises ``ScenarioError`` with one line for each problem:
    ``file:line:column: key: what is wrong``.
    """
    tree = parse_yaml(read_text(path), str(path))
    if not isinstance(tree.value, dict):
        found = "an empty file" if tree.value is None else show_value(tree.value)
        raise ScenarioError(
            f"{tree.where}: should be a mapping of keys such as 'scenario: ring', not {found}"
        )
    tree = _with_paths(tree, path.parent)
    try:
        config = SweepConfig.model_validate(tree.plain())
    except ValidationError as error:
        raise ScenarioError(explain(error, tree, SweepConfig.model_json_schema())) from None
    searched = _child(tree, "search", "values" if config.search.kind == "grid" else "ranges")
    fixed = tree.child("set") or Node({}, tree.where)
    _check_keys(fixed, searched)
    corners = _corners(searched)
    base = _base(config.scenario, dict(_items(fixed)), corners)
    first = next((one for one in corners if _is_scenario(base, one)), {})
    if isinstance(config.search, GridSearch):
        _check_grid(base, searched, path)
        whole = frozenset[Key]()
    else:
        whole = _check_ranges(base, searched, path)
    return Plan(config, base, whole, {key: node.plain() for key, node in first.items()})


def _corners(searched: Node) -> list[dict[Key, Node]]:
    """The points of all first, and of all last values."""
    ends = {key: _ends(node) for key, node in _items(searched)}
    return [{key: some[place] for key, some in ends.items()} for place in (0, -1)]


def _base(
    scenario: str, fixed: Mapping[Key, Node], corners: Sequence[Mapping[Key, Node]]
) -> ScenarioConfig:
    """The scenario with what is set: by itself, or at a corner if it needs what is searched."""
    problem: ScenarioError | None = None
    for corner in ({}, *corners):
        try:
            return load_scenario(scenario, _settings({**fixed, **corner}))
        except ScenarioError as error:
            problem = problem or error
    assert problem is not None
    raise problem


def _is_scenario(base: ScenarioConfig, point: Mapping[Key, Node]) -> bool:
    try:
        load_scenario(base, _settings(point))
    except ScenarioError:
        return False
    return True


def _with_paths(tree: Node, folder: Path) -> Node:
    """``tree`` with paths absolute: the scenario's, and those that are set or searched over."""
    assert isinstance(tree.value, dict)
    result = dict(tree.value)
    scenario = tree.child("scenario")
    if scenario is not None and isinstance(scenario.value, str) and scenario.value:
        found = locate(scenario.value, folder)
        bundled = found != folder / scenario.value
        name = scenario.value if bundled else os.path.abspath(found)
        result["scenario"] = Node(name, scenario.where)
    for section in ("set", "search"):
        if section in result:
            result[section] = absolute(result[section], folder)
    return Node(result, tree.where)


def _check_keys(fixed: Node, searched: Node) -> None:
    """Whether they can be keys of a scenario, each in one place."""
    places = {key: node.where for key, node in _items(fixed)}
    for key, node in (*_items(fixed), *_items(searched)):
        if not KEY_PATH.fullmatch(key):
            raise ScenarioError(
                f"{node.where}: {show_value(key)} is no key of a scenario "
                "(should be such as training.total_steps)"
            )
        if key == SEED:
            raise ScenarioError(f"{node.where}: {key}: should be left out; 'seeds' has the seeds")
    for key, node in _items(searched):
        if key in places:
            raise ScenarioError(
                f"{node.where}: {key}: is set as well as searched over (also {places[key]})"
            )


def _check_grid(base: ScenarioConfig, searched: Node, path: Path) -> None:
    lists = {key: _list(node) for key, node in _items(searched)}
    count = math.prod(map(len, lists.values()))
    if count > MAX_POINTS:
        raise ScenarioError(
            f"{searched.where}: {count:,} points are too many (at most {MAX_POINTS:,})"
        )
    _refuse(
        line
        for point in grid_points(lists)
        for line in _tried(base, [point], searched.where, path)[1]
    )


def _check_ranges(base: ScenarioConfig, searched: Node, path: Path) -> frozenset[Key]:
    """Check all choices and both ends of all ranges; returns the keys of whole numbers.

    Each has to go with what the scenario has, or with the low or the high ends of the others.
    """
    corners = _corners(searched)
    problems: list[str] = []
    whole = set()
    for key, node in _items(searched):
        for end in _ends(node):
            points = [{key: end}, *({**corner, key: end} for corner in corners)]
            config, lines = _tried(base, points, node.where, path)
            problems += lines
            if config is None or node.child("low") is None:
                continue
            if isinstance(_value_at(config.model_dump(), key), int):
                whole.add(key)
                step = node.child("step")
                if step is not None and isinstance(step.value, float):
                    problems.append(f"{step.where}: {key}: step should be a whole number")
    _refuse(problems)
    return frozenset(whole)


def _tried(
    base: ScenarioConfig, points: Sequence[Mapping[Key, Node]], where: str, path: Path
) -> tuple[ScenarioConfig | None, list[str]]:
    """The scenario at the first of the points that is one, or what is wrong with the first."""
    problems: list[str] = []
    for point in points:
        try:
            return load_scenario(base, _settings(point)), []
        except ScenarioError as error:
            given = ", ".join(show_point({key: node.plain() for key, node in point.items()}))
            problems = problems or [
                # What has no place in the sweep file is of several keys together.
                line if line.startswith(f"{path}:") else printable(f"{where}: with {given}: {line}")
                for line in str(error).splitlines()
            ]
    return None, problems


def _refuse(problems: Iterable[str]) -> None:
    lines = list(dict.fromkeys(problems))
    more = len(lines) - MAX_LINES
    if more > 0:
        lines = [*lines[:MAX_LINES], f"... and {more} more problems"]
    if lines:
        raise ScenarioError("\n".join(lines))


def _ends(node: Node) -> list[Node]:
    """What stands for all values: those of a grid, the choices of a range, or both its ends."""
    return (
        _list(node) or _list(node.child("choices")) or [_child(node, "low"), _child(node, "high")]
    )


def _settings(values: Mapping[Key, Node]) -> list[Setting]:
    return [Setting(key, _copy(node)) for key, node in values.items()]


def _copy(node: Node) -> Node:
    """``node`` for a tree that others may change."""
    if isinstance(node.value, dict):
        return Node({key: _copy(item) for key, item in node.value.items()}, node.where)
    if isinstance(node.value, list):
        return Node([_copy(item) for item in node.value], node.where)
    return node


def _items(node: Node) -> list[tuple[str, Node]]:
    return list(node.value.items()) if isinstance(node.value, dict) else []


def _list(node: Node | None) -> list[Node]:
    return node.value if node is not None and isinstance(node.value, list) else []


def _child(node: Node, *keys: str) -> Node:
    for key in keys:
        found = node.child(key)
        assert found is not None
        node = found
    return node


def _value_at(value: Any, key: Key) -> Any:
    for part in key.split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value
