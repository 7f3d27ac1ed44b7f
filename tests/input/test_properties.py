"""Whatever a file or a command line holds: it is driven, or refused in a line for each mistake."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.service import Answer, Service
from trafficrl.config import load_scenario, scenario_schema
from trafficrl.config.yaml_source import to_yaml
from trafficrl.errors import ScenarioError
from trafficrl.resources import scenario_names

from .maps import STADIUM, TOWN
from .networks import LOOP, MERGE
from .routes import NET

PLACE = re.compile(r"[^:\n]+:\d+:\d+: .+|--set .+|\.\.\. and \d+ more problems")
SHORT = "--vehicles 3 --episodes 1 --set episode.steps=20"
Path_ = tuple[str | int, ...]


def leaves(tree: Any, path: Path_ = ()) -> Iterator[Path_]:
    """The paths of all values of a scenario, of lists as a whole too."""
    if isinstance(tree, dict | list):
        if path:
            yield path
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        for key, value in items:
            yield from leaves(value, (*path, key))
    else:
        yield path


def replaced(tree: Any, path: Path_, value: Any) -> Any:
    """A copy of ``tree`` with another value at ``path``."""
    if not path:
        return value
    copy = dict(tree) if isinstance(tree, dict) else list(tree)
    copy[path[0]] = replaced(copy[path[0]], path[1:], value)
    return copy


TREES = {name: load_scenario(name).model_dump(mode="json") for name in scenario_names()}
PLACES = [(name, path) for name, tree in TREES.items() for path in leaves(tree)]
NUMBERS = st.sampled_from(
    [0, 1, -1, 2, 10**9, 2**31, 2**62, -(2**62), 0.0, -0.0, 0.5, 1e-300, 1e-9, 1e9,
     1e18, 1e300, -1e300]
) | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**62), 2**62)  # fmt: skip
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    ["", "nan", ".inf", "1e999", "true", "null", "../../x", "/etc/passwd", "\0",
     "\x1b[31m", "\u202e", "x" * 5000]
)  # fmt: skip
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["kind", "x"]) | TEXTS, inner, max_size=3)
    ),
    max_leaves=4,
)
FIXTURES = [HealthCheck.function_scoped_fixture]


def test_the_places_cover_the_whole_schema() -> None:
    """Every key that a scenario can have stands in one of those that are broken here."""
    schema = scenario_schema()
    keys = {key for part in schema["$defs"].values() for key in part.get("properties", {})}
    optional = {"osm_file", "xodr_file", "net_file", "duration_s", "inner_updates"}
    broken = {part for _, path in PLACES for part in path}
    assert keys | set(schema["properties"]) <= broken | optional


@settings(max_examples=100, suppress_health_check=FIXTURES)
@given(st.sampled_from(PLACES), VALUES)
def test_any_value_anywhere_is_taken_or_refused_at_its_place(
    tmp_path: Path, place: tuple[str, Path_], value: Any
) -> None:
    expect_value_is_answered(tmp_path, place, value)


@pytest.mark.slow
@settings(max_examples=3000, suppress_health_check=FIXTURES)
@given(st.sampled_from(PLACES), VALUES)
def test_very_many_values_are_taken_or_refused_at_their_places(
    tmp_path: Path, place: tuple[str, Path_], value: Any
) -> None:
    expect_value_is_answered(tmp_path, place, value)


def expect_value_is_answered(tmp_path: Path, place: tuple[str, Path_], value: Any) -> None:
    name, path = place
    file = tmp_path / "x.yaml"
    file.write_text(to_yaml(replaced(TREES[name], path, value)), encoding="utf-8")
    try:
        load_scenario(file)
    except ScenarioError as error:
        lines = str(error).splitlines()
        assert all(PLACE.fullmatch(line) and len(line) < 600 for line in lines), lines


@settings(max_examples=60, suppress_health_check=FIXTURES)
@given(st.sampled_from(PLACES), VALUES)
def test_any_override_is_taken_or_refused_by_its_key(
    tmp_path: Path, place: tuple[str, Path_], value: Any
) -> None:
    name, path = place
    key = ".".join(map(str, path))
    try:
        load_scenario(name, [f"{key}={json.dumps(value, ensure_ascii=False)}"])
    except ScenarioError as error:
        lines = str(error).splitlines()
        assert all(PLACE.fullmatch(line) and len(line) < 600 for line in lines), lines
        assert any("--set " in line for line in lines), lines


VOCABULARY = """
evaluate compare transfer render plot train scenarios show report export deploy learning time-space
doctor --scenario --scenarios --episodes --seed --set --json --output --resume --net-file --routes
--vehicles --size --video --metric --port --format -- - -h = idm constant:1 idm:noise=nan rimg run
1 -1 nan x.yaml . / * [ name=x a=b=c
"""
WORDS = st.sampled_from(VOCABULARY.split()) | st.text(max_size=8)


@settings(max_examples=100, suppress_health_check=FIXTURES)
@given(st.lists(WORDS, max_size=6))
def test_any_words_are_a_command_or_a_wrong_one(
    tmp_path: Path, service: Service, words: list[str]
) -> None:
    words = [word.encode("utf-8", "replace").decode() for word in words]
    expect_an_answer(service.call(words, tmp_path), tmp_path)


def expect_an_answer(answer: Answer, folder: Path) -> None:
    """Well done, or refused in one line with nothing left."""
    assert not answer.died, answer
    assert "Traceback" not in answer.out + answer.err, answer
    assert "TRAFFICRL_DEBUG" not in answer.err, answer
    if answer.code:
        help_text = answer.err.startswith("Usage: ")  # of a group without a command
        told = [line for line in answer.err.splitlines() if not line.startswith("note: ")]
        assert help_text or (len(told) == 1 and told[0].startswith("error: ")), answer
        left = [path.name for path in folder.iterdir() if path.name not in ("x.xml", "run")]
        assert not left, (left, answer)
    for path in folder.iterdir():
        if path.name != "run":
            shutil.rmtree(path) if path.is_dir() else path.unlink()


# What may stand in the place of a number or a name in XML.
ODD = st.sampled_from(
    ["", "0", "-1", "1", "2", "99", "1e9", "-1e9", "1e300", "1e-300", "nan", "inf", "x", ":x_0",
     "e0", "e1", "e0_0", "east", "west", "1,2", "0.5", "true", "dead_end",
     "99999999999999999999", "\u00e9"]
)  # fmt: skip
ATTRIBUTE = re.compile(r'(?<= )([\w.]+)="([^"]*)"')
ELEMENT = re.compile(r"<[a-zA-Z][^<>]*/>")


@st.composite
def damaged(draw: st.DrawFn, document: str) -> str:
    """``document`` with other values of a few attributes, or elements lost, doubled or cut."""
    for _ in range(draw(st.integers(1, 3))):
        found = list(ATTRIBUTE.finditer(document))
        elements = list(ELEMENT.finditer(document))
        if not found or not elements:
            break
        how = draw(st.sampled_from(["value", "value", "value", "lost", "gone", "double", "cut"]))
        one = draw(st.sampled_from(found if how in ("value", "lost") else elements))
        old = one[0]
        new = {
            "value": f'{one[1] if how == "value" else ""}="{draw(ODD)}"',
            "lost": "",
            "gone": "",
            "double": old + old,
            "cut": old[: len(old) // 2],
        }[how]
        document = document[: one.start()] + new + document[one.end() :]
    return document


ROUTES = (
    '<routes><vType id="t" length="5.0" minGap="2.0" accel="2.6" decel="4.5" sigma="0.5" '
    'maxSpeed="30.0" speedFactor="1.0" vClass="passenger" carFollowModel="Krauss"/>'
    '<route id="r" edges="motorway acceleration onward"/>'
    '<flow id="f" type="t" route="r" begin="0" end="9" period="2" departSpeed="max"/>'
    '<vehicle id="a" type="t" route="r" depart="0" departPos="base" departLane="0"/>'
    '<trip id="b" type="t" depart="1" from="on_ramp" to="onward"/></routes>'
)
DOCUMENTS = {
    "networks": (LOOP, "--net-file x.xml"),
    "networks with routes": (MERGE, f"--net-file x.xml --routes {NET.with_name('merge.rou.xml')}"),
    "routes": (ROUTES, f"--net-file {NET} --routes x.xml"),
    "OpenStreetMap": (TOWN, "--osm x.xml"),
    "OpenDRIVE": (STADIUM, "--opendrive x.xml"),
}


def expect_damage_is_answered(kind: str, tmp_path: Path, service: Service, examples: int) -> None:
    document, options = DOCUMENTS[kind]

    @settings(max_examples=examples)
    @given(damaged(document))
    def try_one(text: str) -> None:
        (tmp_path / "x.xml").write_text(text, encoding="utf-8")
        words = f"evaluate idm {options} {SHORT}".split()
        expect_an_answer(service.call(words, tmp_path), tmp_path)

    try_one()


@pytest.mark.parametrize("kind", DOCUMENTS)
def test_a_damaged_document_is_driven_or_refused(
    kind: str, tmp_path: Path, service: Service
) -> None:
    expect_damage_is_answered(kind, tmp_path, service, examples=15)


@pytest.mark.slow
@pytest.mark.parametrize("kind", DOCUMENTS)
def test_many_damaged_documents_are_driven_or_refused(
    kind: str, tmp_path: Path, service: Service
) -> None:
    expect_damage_is_answered(kind, tmp_path, service, examples=400)


EXTREMES = ["-1", "0", "1", "1e-9", "1e9", "1000000000", "4611686018427387904", "0.001", "null",
            "true", "''", "[]", "{}", "[1e9, 1e9]", "[1000000000]", "[1e-9, 1e9]"]  # fmt: skip
# Of how much is done: large ones take long, and are no mistake.
LONG = {"steps", "total_steps", "validate_episodes", "duration_s", "rows", "columns", "arms",
        "circles", "iterations", "torch_threads", "description", "name"}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ring", "figure_eight", "catchup", "transfer/grid"])
def test_extremes_that_are_taken_can_be_driven_or_are_refused_in_a_line(
    name: str, tmp_path: Path, service: Service
) -> None:
    for path, value in itertools.product(leaves(TREES[name]), EXTREMES):
        if path[0] in ("algorithms", "training") or LONG & set(path):
            continue
        setting = f"{'.'.join(map(str, path))}={value}"
        try:
            load_scenario(name, ["episode.steps=10", setting])
        except ScenarioError:
            continue
        words = f"evaluate idm --scenario {name} --episodes 1 --set episode.steps=10 --set".split()
        answer = service.call([*words, setting], tmp_path)
        assert not answer.died and "TRAFFICRL_DEBUG" not in answer.err, (setting, answer)
        assert "Warning" not in answer.err and answer.err.count("\n") <= 1, (setting, answer)
