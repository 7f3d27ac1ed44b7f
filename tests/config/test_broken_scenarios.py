"""Broken scenarios: every mistake is told where it stands, and nothing else is raised."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trafficrl.config import load_scenario
from trafficrl.errors import ScenarioError

PLACE = re.compile(r"(?P<file>[^:\n]+):(?P<line>\d+):(?P<column>\d+): .+")

# (what to replace in the base scenario, by what, words of the message); the
# mark § in the replacement is where the error should point, and is taken out.
BROKEN_FILES = [
    ("name: small", "§name: 3", "name: should be text, not 3"),
    ("name: small", "§name: a b", "name: should be text that matches"),
    ("name: small", "§nme: small", "nme: unknown key (did you mean 'name'?)"),
    ("name: small\n", "§", "name: required key is missing (names the run directory)"),
    ("name: small", "name: small\n§name: small", "'name' is given twice"),
    ("name: small", "name: &a small\nb: §*a", "aliases are not supported"),
    ("name: small", "name: §!!str small", "tags are not supported"),
    ("name: small", "name: a§: b", "a ':' where no key can stand"),
    ("network:", "§network: 3\nx:", "network: should be a mapping of keys, not 3"),
    ("network:", "§network: null\nx:", "network: should be a mapping of keys, not null"),
    ("kind: ring", "§kind: rign", "not 'rign' (did you mean 'ring'?)"),
    ("kind: ring", "§kind: 7", "'ring', 'road', 'spider', not 7"),
    ("kind: ring", "kind: road\n  §length_range_m: [1, 2]", "network.length_range_m: unknown key"),
    ("network:\n  kind: ring", "§network:\n  lanes: 1", "network.kind: required key is missing"),
    ("length_m: 100.0", "§lenght_m: 100.0", "network.lenght_m: unknown key (did you mean"),
    ("length_m: 100.0", "§length_m: 10", "network.length_m: should be at least 20, not 10"),
    ("length_m: 100.0", "§length_m: '100'", "should be a number, not '100'"),
    ("length_m: 100.0", "§length_m: .inf", "should be a number, not '.inf'"),
    ("length_m: 100.0", "§length_m: 1e999", "should be a finite number, not inf"),
    ("length_m: 100.0", "§length_m: yes", "should be a number, not 'yes'"),
    ("length_m: 100.0", "§length_m: true", "should be a number, not true"),
    ("length_m: 100.0", "§length_m:", "should be a number, not null"),
    ("length_m: 100.0", "§length_range_m: [50, 40]", "[low, high] with low <= high"),
    ("length_m: 100.0", "§length_range_m: [50]", "[low, high] with low <= high"),
    ("length_m: 100.0", "length_range_m: [50, §a]", "length_range_m.1: should be a number"),
    ("length_m: 100.0", "§lanes: 9", "network.lanes: should be at most 8, not 9"),
    ("length_m: 100.0", "§lanes: 1.5", "network.lanes: should be a whole number, not 1.5"),
    ("length_m: 100.0", "§\tlength_m: 100.0", "a tab character; indent with spaces"),
    ("length_m: 100.0", "   length_m§: 100.0", "a ':' where no key can stand"),
    ("count: 2", "§count: 0", "vehicles.0.count: should be at least 1, not 0"),
    ("count: 2", "§cuont: 2", "vehicles.0.cuont: unknown key (did you mean 'count'?)"),
    ("count: 3", "count: 3\n  - §7", "vehicles.2: should be a mapping of keys, not 7"),
    ("  - controller: learned", "  - §parameters: {}", "vehicles.0.controller: required key"),
    ("  - {feature: speed, scale: 10}", "  - {feature: speed, §scale: 0}", "more than 0, not 0"),
    ("  - {feature: speed, scale: 10}", "  - §{feature: sped}", "unknown feature 'sped'"),
    ("  speed_mode: 1", "  speed_mode: 1\n  §backend: sumo", "should be 'libsumo' or 'traci'"),
    ("speed_mode: 1", "§speed_mode: [1]", "should be a whole number, not a list"),
    ("steps: 100", "§steps: 1e3", "should be a whole number, not 1000.0 (write 1000)"),
    ("steps: 100", "steps: §99999999999999999999", "too large (below 2^63)"),
    ("kind: uniform", "§kind: platoon", "start.kind: 'platoon' does not go with a ring"),
    ("reward:\n  terms:", "reward:\n  §terms: []\nx:", "should have at least 1 item, has 0"),
    ("weight: 1.0", "§weight: heavy", "reward.terms.0.weight: should be a number, not 'heavy'"),
    ("target_mps: 20.0", "§target_mps: [1]", "parameters.target_mps: should be a number"),
    ("total_steps: 1000", "total_steps: 1000\n  §algorithm: ppo", "known: dppo"),
    ("training:", "training: {§a: }\nx:", "training.a: unknown key"),
    ("training:", "---\ntraining:", "a second document"),
    ("total_steps: 1000", "total_steps: 1000\n  ? §[a]\n  : 1", "a key should be text"),
    ("total_steps: 1000", "total_steps: 1000\nwarmup:\n  §controller: 1", "should be text"),
    ("name: small", "name: small\nextends: 3", "should be the path of a scenario file"),
    ("name: small", "name: small\n§extends: nowhere.yaml", "no such file"),
    ("name: small", "name: small\n§extends: rnig", "no such file (bundled: ring, "),
    ("name: small", "name: small\n§extends: .", "a directory"),
    ("name: small", "name: small\n§extends: small.yaml", "cannot extend itself"),
]


@pytest.mark.parametrize(("old", "new", "words"), BROKEN_FILES)
def test_a_broken_file_is_refused_at_the_place_of_the_mistake(
    base: str, write: Any, old: str, new: str, words: str, failure: Any
) -> None:
    assert old in base
    marked = base.replace(old, new, 1)
    path = write(marked.replace("§", ""))
    lines = failure(path).splitlines()
    places = [PLACE.fullmatch(line) for line in lines]
    assert all(place and place["file"] == str(path) for place in places), lines
    assert any(words in line for line in lines), lines
    if "§" in marked:
        before = marked[: marked.index("§")]
        expected = f"{path}:{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}: "
        assert any(line.startswith(expected) for line in lines), (expected, lines)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("", "--set '': should be KEY=VALUE"),
        ("name", "--set 'name': should be KEY=VALUE"),
        ("=1", "should be KEY=VALUE"),
        ("a..b=1", "--set 'a..b=1': should be KEY=VALUE"),
        (".a=1", "should be KEY=VALUE"),
        ("a b=1", "should be KEY=VALUE"),
        ("a\nb=1", "--set 'a\\nb=1': should be KEY=VALUE"),
        ("name=", "--set name: has no value (write null for none)"),
        ("name=# x", "--set name: has no value"),
        ("name=[1", "--set name: not valid YAML"),
        ("name=a: b: c", "--set name: not valid YAML"),
        ("name=*a", "--set name: aliases are not supported"),
        ("name=3", "--set name: should be text, not 3"),
        ("name.x=3", "--set name.x: name is 'small', which has no keys"),
        ("steps=3", "--set steps: unknown key"),
        ("episode.step=3", "--set episode.step: unknown key (did you mean 'steps'?)"),
        ("episode.steps=0", "--set episode.steps: should be at least 1, not 0"),
        ("episode.steps=3e2", "--set episode.steps: should be a whole number, not 300.0 (write 30"),
        ("observation.7.scale=1", "--set observation.7.scale: observation has items 0 to 1, not"),
        ("observation.-1.scale=1", "has items 0 to 1, not '-1'"),
        ("observation.first=1", "--set observation.first: observation has items 0 to 1"),
        ("observation.²=1", "has items 0 to 1, not '²'"),
        ("observation.0.scale=-1", "--set observation.0.scale: should be more than 0, not -1"),
        ("observation.0.scale.x=1", "observation.0.scale is 10, which has no keys"),
        ("observation.0.feature=x", "observation.0: unknown feature 'x'"),
        ("network.kind=x", "--set network.kind: should be one of"),
        ("network={kind: ring, length: 50}", "--set network: network.length: unknown key (did"),
        ("warmup.controller=idm", "--set warmup.controller: warmup.duration_s: required key"),
        ("vehicles.0.count=60", "do not fit a ring of 100 m (at most 14) (with --set vehicles.0.c"),
        ("training.algorithm=x", "--set training.algorithm: no algorithm is called 'x'"),
        (f"{'a.' * 5000}b=1", "more than 20 keys deep"),
    ],
)
def test_a_broken_override_is_refused_by_its_key(
    base: str, write: Any, override: str, words: str, failure: Any
) -> None:
    message = failure(write(base), override)
    assert words in message
    assert "--set " in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "1:1: should be a mapping of keys such as 'name: ring', not an empty file"),
        (b"# only a comment\n", "not an empty file"),
        (b"- 1\n- 2\n", "1:1: should be a mapping of keys such as 'name: ring', not a list"),
        (b"just text", "not 'just text'"),
        (b"\xff\xfe\x00\x01", "not text at byte 0 (should be UTF-8 YAML)"),
        (b"name: \x00", "1:7: control characters"),
        (b"a: 1\n" * 250_000, "larger than 1 MB"),
        (b"[" * 900_000, "levels deep"),
        (b"x" * 900_000 + b": 1", "not valid YAML"),
        (b"a: !" + b"x" * 900_000, "tags are not supported"),
        (b"? " + b"x" * 900_000 + b"\n: 1", ""),
    ],
)
def test_what_is_not_a_scenario_file_is_told_in_a_few_words(
    write: Any, content: bytes, words: str, failure: Any
) -> None:
    lines = failure(write(content)).splitlines()
    assert words in lines[0]
    assert all(len(line) < 500 for line in lines)


def test_what_is_not_a_file_is_one_line(tmp_path: Path, failure: Any) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert "a directory" in failure(tmp_path)
    assert "not a regular file" in failure(tmp_path / "pipe")
    assert "no such file (bundled: ring, " in failure(tmp_path / "rings.yaml")
    assert "no such file (bundled: ring, " in failure("rimg")
    assert "cannot be read" in failure(tmp_path / ("x" * 5000))
    assert "not a file name" in failure("a\0b")


def test_all_mistakes_are_told_at_once(base: str, write: Any, failure: Any) -> None:
    text = base.replace("count: 2", "count: 0").replace("scale: 10}", "scale: 0, extra: 1}", 1)
    path = write(text)
    lines = failure(path, "training.total_steps=0").splitlines()
    assert [line.split(": ")[:2] for line in lines] == [
        [f"{path}:8:5", "vehicles.0.count"],
        [f"{path}:21:22", "observation.0.scale"],
        [f"{path}:21:32", "observation.0.extra"],
        ["--set training.total_steps", "should be at least 1, not 0"],
    ]


def test_very_many_mistakes_are_counted(base: str, write: Any, failure: Any) -> None:
    lines = failure(write(base), f"vehicles=[{'1, ' * 100}]").splitlines()
    assert len(lines) == 21
    assert lines[-1] == "... and 80 more problems"


YAML_LIKE = st.text("ab:-[]{}&*!|>'\"%@`#?,~. \n\t01e\\uU")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text() | YAML_LIKE | st.binary())
def test_arbitrary_files_raise_nothing_but_scenario_errors(
    write: Any, content: str | bytes
) -> None:
    raw = content.encode(errors="surrogatepass") if isinstance(content, str) else content
    with pytest.raises(ScenarioError):
        load_scenario(write(raw))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_scenarios_raise_nothing_but_scenario_errors(
    base: str, write: Any, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(base)))
    stop = data.draw(st.integers(start, min(len(base), start + 20)))
    text = base[:start] + data.draw(YAML_LIKE) + base[stop:]
    try:
        load_scenario(write(text))
    except ScenarioError as error:
        assert all(PLACE.fullmatch(line) for line in str(error).splitlines())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
KEYS = st.sampled_from(
    ["", "network", "network.kind", "vehicles", "vehicles.0", "vehicles.0.parameters", "name",
     "observation.1.clip", "reward.terms.0", "reward.terms.0.parameters", "warmup", "graph",
     "training", "algorithms.dppo", "start", "action", "simulation.step_s", "extends"]
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text() | st.builds(lambda key, value: f"{key}={json.dumps(value)}", KEYS, JSON))
def test_arbitrary_overrides_raise_nothing_but_scenario_errors(
    base: str, write: Any, override: str
) -> None:
    try:
        load_scenario(write(base), [override])
    except ScenarioError as error:
        assert "--set " in str(error)


def test_a_name_with_a_line_break_does_not_break_the_line() -> None:
    with pytest.raises(ScenarioError, match=r"unknown feature '\\r'") as raised:
        load_scenario("ring", ['observation.0.feature="\\r"'])
    assert len(str(raised.value).splitlines()) == 1
