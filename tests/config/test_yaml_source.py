"""The YAML dialect: what a scalar is, where a value stands, what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trafficrl.config.yaml_source import MAX_DEPTH, MAX_NODES, Node, parse_yaml, to_yaml
from trafficrl.errors import ScenarioError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3e-4", 3e-4),
        ("3.0e-4", 3e-4),
        ("-1E+2", -100.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("12", 12),
        ("-7", -7),
        ("010", 10),
        ("0x1F", 31),
        ("0o17", 15),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("1e", "1e"),
        ("e5", "e5"),
        (".", "."),
        ("true", True),
        ("False", False),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("No", "No"),
        ("y", "y"),
        ("null", None),
        ("~", None),
        ("'3e-4'", "3e-4"),
        ("'true'", "true"),
        ("2020-01-01", "2020-01-01"),
        ("=", "="),
    ],
)
def test_scalars_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = parse_yaml(f"key: {text}", "x").plain()["key"]
    assert found == value
    assert type(found) is type(value)


def test_every_value_knows_its_line_and_column() -> None:
    tree = parse_yaml("a:\n  b: 1\nc:\n  - 2\n  - {d: 3, e: [4]}\n", "f.yaml")

    def places(node: Node, path: str = "") -> dict[str, str]:
        found = {path: node.where.removeprefix("f.yaml:")}
        children: Any = (
            node.value.items()
            if isinstance(node.value, dict)
            else enumerate(node.value if isinstance(node.value, list) else [])
        )
        for key, child in children:
            found |= places(child, f"{path}.{key}")
        return found

    assert places(tree) == {
        "": "1:1",
        ".a": "1:1",
        ".a.b": "2:3",
        ".c": "3:1",
        ".c.0": "4:5",
        ".c.1": "5:5",
        ".c.1.d": "5:6",
        ".c.1.e": "5:12",
        ".c.1.e.0": "5:16",
    }


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("a: 1\na: 2\n", "2:1", "'a' is given twice"),
        ("a: {b: 1, c: 2, b: 3}", "1:17", "'b' is given twice"),
        ("a: &x 1\nb: *x\n", "2:4", "aliases are not supported"),
        ("a: &x [1]\nb: [*x, *x]\n", "2:5", "aliases are not supported"),
        ("<<: {a: 1}\nb: *x", "2:4", "aliases are not supported"),
        ("a: !!python/object:os.system x", "1:4", "tags are not supported"),
        ("a: !!int x", "1:4", "tags are not supported"),
        ("a: ! 1", "1:4", "tags are not supported"),
        ("1: a", "1:1", "a key should be text"),
        ("true: a", "1:1", "a key should be text"),
        (": a", "1:1", "check the indentation"),
        ("? [a]\n: b", "1:3", "a key should be text"),
        ("a:\n\t b: 1", "2:1", "indent with spaces"),
        ("a: b: c", "1:5", "a ':' where no key can stand"),
        ("a: 1\nb\nc: 2", "3:1", "key without its ':'"),
        ("a: 1\n--- \nb: 1", "2:1", "second document"),
        ("a: [1, 2", "1:9", "not valid YAML"),
        ("a: 'b", "1:6", "not valid YAML"),
        ("a: @b", "1:4", "not valid YAML"),
        ("a:\n    b: 1\n  c: 2", "3:3", "indentation"),
        ("a: 1\nb: \x00", "2:4", "control characters"),
        ('a: "\\ud800"', "1:4", "surrogate"),
        ("a: 99999999999999999999", "1:4", "too large"),
        (f"a: {'9' * 5000}", "1:4", "too large"),
        (f"a: {'[' * 100_000}", f"1:{3 + MAX_DEPTH}", "levels deep"),
        ("- " * 100_000, f"1:{1 + 2 * MAX_DEPTH}", "levels deep"),
        (f"[{'a,' * MAX_NODES}]", f"1:{2 * MAX_NODES}", f"more than {MAX_NODES} values"),
    ],
)
def test_what_a_scenario_may_not_hold_is_refused_where_it_stands(
    text: str, place: str, words: str
) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse_yaml(text, "f.yaml")
    message = str(caught.value)
    assert message.startswith(f"f.yaml:{place}: ")
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize("text", ['a: "\\UFFFFFFFF"', f"%YAML 1.{'1' * 5000}\n---\na: 1"])
def test_numbers_that_overflow_inside_pyyaml_are_refused(text: str) -> None:
    with pytest.raises(ScenarioError, match=r"^f\.yaml: "):
        parse_yaml(text, "f.yaml")


def test_an_empty_document_is_null() -> None:
    assert parse_yaml("# nothing\n", "x").value is None


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)
LOOKALIKES = st.sampled_from(
    ["3e-4", "on", "null", "true", "1", "~", "", " a", "a: b", "#", "- x", "\x85", "\u2028"]
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
    | LOOKALIKES
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXT | LOOKALIKES, inner, max_size=4)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_written_text_reads_back_as_the_same_value(value: object) -> None:
    assert repr(parse_yaml(to_yaml(value), "x").plain()) == repr(value)


@given(st.text() | st.text("ab:-[]{}&*!|>'\"%@`#?,~. \n\t01e\\uU"))
def test_arbitrary_text_parses_or_is_refused(text: str) -> None:
    try:
        parse_yaml(text, "x")
    except ScenarioError as error:
        assert str(error).startswith("x:")
