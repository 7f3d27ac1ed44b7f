"""Says in plain English, one line each, what pydantic found wrong with a scenario."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from trafficrl.config.checks import CheckError
from trafficrl.config.yaml_source import KeyPath, Node
from trafficrl.errors import printable

MAX_LINES = 20
OVERRIDE = "--set "  # the place of a value that is not from a file begins with it

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping of keys",
    "model_type": "a mapping of keys",
    "model_attributes_type": "a mapping of keys",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "literal_error": "{expected}",
    "string_pattern_mismatch": "text that matches {pattern}",
}


def explain(error: ValidationError, tree: Node, schema: dict[str, Any]) -> str:
    """All problems of ``tree``, one a line: ``place: key.path: what is wrong``.

    ``schema`` is the JSON schema of the model; it knows the keys and choices
    that would be right.
    """
    lines = list(dict.fromkeys(map(printable, _lines(error, tree, schema))))
    if len(lines) > MAX_LINES:
        lines = [*lines[:MAX_LINES], f"... and {len(lines) - MAX_LINES} more problems"]
    return "\n".join(lines)


def show_path(path: KeyPath) -> str:
    """``observation.0.scale``; a key that is not a plain word is quoted."""
    return ".".join(
        part if isinstance(part, str) and re.fullmatch(r"[\w-]{1,40}", part) else show_value(part)
        for part in path
    )


def show_value(value: Any) -> str:
    """A value as it would stand in YAML, cut to a few words."""
    if isinstance(value, dict | list):
        return "a mapping of keys" if isinstance(value, dict) else "a list"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]}...{text[-1]}"


def _lines(error: ValidationError, tree: Node, schema: dict[str, Any]) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        cause = problem.get("ctx", {}).get("error")
        if isinstance(cause, CheckError):
            for path, message in cause.problems:
                yield _line(tree, path, message)
            continue
        path = _key_path(problem, tree)
        yield _line(tree, path, _message(problem, path, _schema_at(schema, problem["loc"])))


def _line(tree: Node, path: KeyPath, message: str) -> str:
    found = tree
    for part in path:
        found = found.child(part) or found
    # The place of an override already names the key.
    key = "" if not path or found.where == f"{OVERRIDE}{show_path(path)}" else show_path(path)
    # What is wrong with a whole section may well come from an override inside it.
    inside = [where for where in _overrides(found) if where != found.where]
    note = f" (with {', '.join(dict.fromkeys(inside))})" if inside else ""
    return ": ".join(part for part in (found.where, key, message) if part) + note


def _overrides(node: Node) -> Iterator[str]:
    if node.where.startswith(OVERRIDE):
        yield node.where
    elif isinstance(node.value, dict | list):
        for child in node.value.values() if isinstance(node.value, dict) else node.value:
            yield from _overrides(child)


def _key_path(problem: Any, tree: Node) -> KeyPath:
    """The keys of ``loc`` without what pydantic puts between them, such as union tags."""
    path: list[str | int] = []
    node: Node | None = tree
    loc: KeyPath = problem["loc"]
    for place, part in enumerate(loc):
        kind = node.child("kind") if node else None
        is_tag = kind is not None and kind.value == part
        last = place == len(loc) - 1
        missing = last and problem["type"] == "missing"
        child = node.child(part) if node else None
        if missing or (child is not None and not (is_tag and not last)):
            path.append(part)
            node = child
    if problem["type"] in ("union_tag_invalid", "union_tag_not_found"):
        path.append("kind")
    return tuple(path)


def _message(problem: Any, path: KeyPath, schema: dict[str, Any]) -> str:
    kind, context, value = problem["type"], problem.get("ctx", {}), problem["input"]
    if kind == "missing":
        return f"required key is missing{_hint(schema)}"
    if kind == "union_tag_not_found":
        return f"required key is missing (one of {_join(schema)})"
    if kind == "union_tag_invalid":
        choices = list(schema.get("discriminator", {}).get("mapping", {}))
        return f"should be one of {_join(schema)}, not {_near(value['kind'], choices)}"
    if kind == "extra_forbidden":
        return _unknown_key(str(path[-1]), list(schema.get("properties", {})))
    if kind in ("too_short", "too_long"):
        bound = (
            f"at least {context['min_length']}"
            if kind == "too_short"
            else f"at most {context['max_length']}"
        )
        items = "item" if bound.endswith(" 1") else "items"
        return f"should have {bound} {items}, has {context['actual_length']}"
    if kind == "value_error":
        return str(context["error"])
    if kind in _EXPECTED:
        expected = _EXPECTED[kind].format(**context)
        choices = schema.get("enum", []) if kind == "literal_error" else []
        return f"should be {expected}, not {_near(value, choices)}{_whole(kind, value)}"
    return f"{problem['msg'][:1].lower()}{problem['msg'][1:]}, not {show_value(value)}"


def _near(value: Any, choices: list[Any]) -> str:
    similar = difflib.get_close_matches(str(value), map(str, choices), n=1)
    return show_value(value) + (f" (did you mean '{similar[0]}'?)" if similar else "")


def _whole(kind: str, value: Any) -> str:
    if kind.startswith("int") and isinstance(value, float) and value.is_integer():
        return f" (write {int(value)})"
    return ""


def _unknown_key(key: str, known: list[str]) -> str:
    similar = difflib.get_close_matches(key, known, n=1)
    if similar:
        return f"unknown key (did you mean '{similar[0]}'?)"
    return f"unknown key (known: {', '.join(known)})"


def _join(schema: dict[str, Any]) -> str:
    return ", ".join(f"'{tag}'" for tag in schema.get("discriminator", {}).get("mapping", {}))


def _hint(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return f" (one of {', '.join(map(repr, schema['enum']))})"
    description = schema.get("description", "").split("\n")[0].rstrip(".")
    return f" ({description})" if description else ""


def _schema_at(root: dict[str, Any], loc: KeyPath) -> dict[str, Any]:
    """The part of a JSON schema that describes ``loc``.

    For an unknown key it is the mapping that the key stands in.
    """
    schema = root
    for part in loc:
        schema = _resolve(root, schema)
        tags = schema.get("discriminator", {}).get("mapping", {})
        if part in tags:
            schema = {"$ref": tags[part]}
        elif part in schema.get("properties", {}):
            schema = schema["properties"][part]
        elif isinstance(part, int):
            schema = schema.get("items", {})
    return _resolve(root, schema)


def _resolve(root: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Follow references, and the part of an optional value that is not null."""
    while True:
        options = [item for item in schema.get("anyOf", []) if item.get("type") != "null"]
        if "$ref" in schema:
            target = root["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
            schema = {**target, **{key: schema[key] for key in schema if key != "$ref"}}
        elif len(options) == 1:
            rest = {key: schema[key] for key in schema if key != "anyOf"}
            schema = {**options[0], **rest}
        else:
            return schema
