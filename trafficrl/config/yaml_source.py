"""YAML text to and from values that know where they stand.

The dialect is the plain part of YAML 1.2: ``3e-4`` is a float, ``on`` and ``no``
are text, only ``true`` and ``false`` are booleans (in the three spellings of the
standard). Repeated keys, tags and aliases are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from trafficrl.errors import ScenarioError

MAX_NODES = 10_000
MAX_DEPTH = 20
MAX_INTEGER = 2**63

_TAG = "tag:yaml.org,2002:"

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """A YAML value and where it stands: ``file:line:column`` of its key or list item."""

    value: dict[str, Node] | list[Node] | str | int | float | None
    where: str

    @classmethod
    def of(cls, value: Any, where: str) -> Node:
        """The tree of a plain value, all of it at one place."""
        if isinstance(value, dict):
            return cls({key: cls.of(item, where) for key, item in value.items()}, where)
        if isinstance(value, list):
            return cls([cls.of(item, where) for item in value], where)
        return cls(value, where)

    def plain(self) -> Any:
        """The value without places: dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def child(self, key: str | int) -> Node | None:
        """The value of a key, or the item of an index; ``None`` where there is none."""
        if isinstance(self.value, dict) and isinstance(key, str):
            return self.value.get(key)
        if isinstance(self.value, list) and isinstance(key, int) and 0 <= key < len(self.value):
            return self.value[key]
        return None


def parse_yaml(text: str, source: str, *, positions: bool = True) -> Node:
    """Parse one YAML document; an empty one is a ``Node`` of ``None``.

    Places are ``source:line:column``, or ``source`` alone without ``positions``.
    Raises ``ScenarioError`` with the place of the first thing that is wrong.
    """

    def place(line: int, column: int) -> str:
        return f"{source}:{line + 1}:{column + 1}" if positions else source

    try:
        root = _Loader(text).get_single_node()
        return _Builder(place).build(root) if root is not None else Node(None, place(0, 0))
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        where = place(before.count("\n"), error.position - before.rfind("\n") - 1)
        raise ScenarioError(f"{where}: control characters are not allowed in YAML") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = place(mark.line, mark.column) if mark else source
        raise ScenarioError(f"{where}: {_explain(error)}") from None
    except (ValueError, OverflowError):
        # PyYAML passes escapes such as "\UFFFFFFFF" to chr() unchecked.
        raise ScenarioError(f"{source}: an escape or a version is not a valid number") from None


def to_yaml(value: Any) -> str:
    """YAML text of plain dicts, lists and scalars that ``parse_yaml`` reads back as equal."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _Refused(yaml.MarkedYAMLError):
    """Valid YAML that a scenario may not hold."""

    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(problem=problem, problem_mark=mark)


class _Loader(yaml.SafeLoader):
    """Composes node trees of bounded size, without tags and aliases."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._nodes = 0
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent):
            raise _Refused(
                f"aliases are not supported; write the value out instead of *{event.anchor:.40}",
                event.start_mark,
            )
        if event.tag is not None:
            raise _Refused(f"tags are not supported; leave out {event.tag[:40]}", event.start_mark)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise _Refused(f"more than {MAX_NODES} values; a scenario is small", event.start_mark)
        if self._depth == MAX_DEPTH:
            raise _Refused(f"nested more than {MAX_DEPTH} levels deep", event.start_mark)
        self._depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """Block style, with lists of scalars on one line; no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def represent_list(self, data: Iterable[Any]) -> yaml.SequenceNode:
        flow = not any(isinstance(item, dict | list) for item in data)
        return self.represent_sequence(f"{_TAG}seq", data, flow_style=flow)

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> Any:
        return super().represent_mapping(tag, mapping, flow_style=False)

    def represent_str(self, data: str) -> yaml.ScalarNode:
        # PyYAML's other styles write Unicode's own line breaks as plain ones.
        style = '"' if re.search("[\x85\u2028\u2029]", data) else None
        return self.represent_scalar(f"{_TAG}str", data, style=style)


_Dumper.add_representer(list, _Dumper.represent_list)
_Dumper.add_representer(str, _Dumper.represent_str)

_SCALARS = {
    "null": (r"(~|null|Null|NULL|)\Z", ["~", "n", "N", ""]),
    "bool": (r"(true|True|TRUE|false|False|FALSE)\Z", list("tTfF")),
    "int": (r"([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)\Z", list("-+0123456789")),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?\Z",
        list("-+.0123456789"),
    ),
}
for _resolver in (_Loader, _Dumper):
    _resolver.yaml_implicit_resolvers = {}
    for _name, (_pattern, _first) in _SCALARS.items():
        _resolver.add_implicit_resolver(_TAG + _name, re.compile(_pattern), _first)


class _Builder:
    """Turns PyYAML's nodes into ours."""

    def __init__(self, place: Callable[[int, int], str]) -> None:
        self._place = place

    def build(self, node: yaml.Node, mark: yaml.Mark | None = None) -> Node:
        mark = mark or node.start_mark
        where = self._place(mark.line, mark.column)
        if isinstance(node, yaml.MappingNode):
            return Node(self._mapping(node), where)
        if isinstance(node, yaml.SequenceNode):
            return Node([self.build(item) for item in node.value], where)
        return Node(_scalar(node), where)

    def _mapping(self, node: yaml.MappingNode) -> dict[str, Node]:
        result: dict[str, Node] = {}
        for key_node, value_node in node.value:
            key = _scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                raise _Refused(
                    "a key should be text (quote it if it is meant so)", key_node.start_mark
                )
            if key in result:
                raise _Refused(
                    f"the key {key[:40]!r} is given twice; keep one (first: {result[key].where})",
                    key_node.start_mark,
                )
            result[key] = self.build(value_node, key_node.start_mark)
        return result


def _scalar(node: yaml.Node) -> str | int | float | None:
    text: str = node.value
    match node.tag.removeprefix(_TAG):
        case "null":
            return None
        case "bool":
            return text.lower() == "true"
        case "float":
            return float(text)
        case "int":
            # The bound on the digits comes first: int() raises beyond 4,300 of them.
            number = int(text, 10 if text.lstrip("+-").isdigit() else 0) if len(text) < 30 else None
            if number is None or abs(number) >= MAX_INTEGER:
                raise _Refused("the whole number is too large (below 2^63)", node.start_mark)
            return number
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise _Refused("half of a surrogate pair is not a character", node.start_mark)
    return text


_HINTS = {
    "'\\t'": "a tab character; indent with spaces",
    "mapping values are not allowed": "a ':' where no key can stand; check the indentation, "
    "or quote text that holds ': '",
    "could not find expected ':'": "a key without its ':'; write 'key: value'",
    "expected a single document": "a second document starts here; a scenario is one document",
    "expected <block end>": "no key or item can stand here; check the indentation",
}


def _explain(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or "cannot be read"
    if isinstance(error, _Refused):
        return problem
    for sign, hint in _HINTS.items():
        if sign in f"{error.context} {problem}":
            return f"not valid YAML: {hint}"
    detail = f" ({error.context})" if error.context else ""
    return f"not valid YAML: {problem}{detail}"
