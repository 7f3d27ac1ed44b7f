"""Scenario files and overrides: beside those of tests/config, through the command line."""

# ruff: noqa: E501 (a case a line)

from __future__ import annotations

import os
from pathlib import Path

from .cases import Case, Prepare, files

SHOW, DRIVE = "scenarios show x.yaml", "evaluate idm --episodes 1 --scenario x.yaml"
TRAIN = "train x.yaml --total-steps 10 --set training.replicas=1 --output new"
NET = Path(__file__).parents[2] / "sumo_configs/ring/ring.net.xml"
STREETS = f"extends: transfer/network\nname: x\nnetwork: {{kind: file, net_file: {NET}}}\n"
RING = """\
extends: ring
name: x
vehicles:
  - {controller: learned, count: 3}
episode:
  steps: 20
"""


def text(name: str, says: str, content: str | bytes, command: str = SHOW, lines: int = 1) -> Case:
    return Case(name, command, says, files(x_yaml=content), lines=lines)


def more(name: str, says: str, added: str, command: str = SHOW, lines: int = 1) -> Case:
    """A good scenario and something more."""
    return text(name, says, RING + added, command, lines)


def made(name: str, says: str, prepare: Prepare, command: str = SHOW, lines: int = 1) -> Case:
    return Case(name, command, says, prepare, lines=lines)


def override(setting: str, says: str, lines: int = 1) -> Case:
    """In a way that a shell could hand it over."""
    quoted = setting.replace("'", "'\"'\"'")
    return Case(f"--set {setting[:60]}", f"scenarios show ring --set '{quoted}'", says, lines=lines)


def chain(length: int) -> Prepare:
    """Files that extend each other in a row, and at the end the first."""

    def prepare(folder: Path) -> None:
        for number in range(length):
            name = "x" if number == 0 else f"x{number}"
            following = "x" if number == length - 1 else f"x{number + 1}"
            (folder / f"{name}.yaml").write_text(f"extends: {following}.yaml\nname: x\n")

    return prepare


def linked(target: str) -> Prepare:
    return lambda folder: (folder / "x.yaml").symlink_to(target)


LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 30))

FILES = [
    made("nothing", "x.yaml: no such file", lambda folder: None),
    made("a directory", "x.yaml: a directory", lambda folder: (folder / "x.yaml").mkdir()),
    made("a pipe", "x.yaml: not a regular file", lambda folder: os.mkfifo(folder / "x.yaml")),
    made("a device", "x.yaml: not a regular file", linked("/dev/zero")),
    made("a link to itself", "x.yaml: cannot be read: Too many levels", linked("x.yaml")),
    made("a link to nothing", "x.yaml: no such file", linked("nowhere.yaml")),
    made("a link to a password file", "x.yaml:1:", linked("/etc/passwd")),
    text("empty", "1:1: should be a mapping of keys", ""),
    text("UTF-16", "x.yaml: not text at byte 0", RING.encode("utf-16")),
    text("UTF-32", "x.yaml: not text at byte 0", RING.encode("utf-32")),
    text(
        "latin-1",
        "x.yaml: not text at byte",
        RING.replace("name: x", "name: \xe4").encode("latin-1"),
    ),
    text("a null byte", "control characters", RING.replace("name: x", "name: \0")),
    text("a bell", "control characters", RING.replace("name: x", "name: \a")),
    text("binary", "x.yaml", bytes(range(256))),
    text("a line of 10 MB", "larger than 1 MB", "name: " + "x" * 10_000_000),
    text("10 MB of comments", "larger than 1 MB", "#" * 10_000_000),
    text(
        "a line of 900 kB",
        "name: should be text that matches",
        RING.replace("name: x", f"name: {'x ' * 450_000}"),
    ),
    text("a key of 900 kB", "x.yaml", RING + "k" * 900_000 + ": 1\n"),
    text("900 kB of tabs", "a tab character", "\t" * 900_000),
    text("900 kB of quotes", "not valid YAML", "'" * 899_999),
    text("900 kB of braces", "levels deep", "{" * 900_000),
    text("900 kB of questions", "x.yaml:1:", "? " * 450_000),
    text("900 kB of anchors", "x.yaml", "&a " * 300_000),
    text("100,000 keys", "more than 10000 values", "".join(f"k{n}: 1\n" for n in range(80_000))),
    text("a billion laughs", "aliases are not supported", LAUGHS),
    text("an anchor to itself", "aliases are not supported", "name: &a [*a]\n"),
    text("a merge key", "aliases are not supported", "a: &a {b: 1}\nc:\n  <<: *a\n"),
    *(
        text(
            f"a tag of {tag[:24]}",
            "tags are not supported",
            RING.replace("name: x", f"name: {tag}"),
        )
        for tag in (
            "!!python/object/apply:os.mkdir [sprung]",
            "!!python/name:os.system",
            "!!python/module:os",
            "!!python/object/new:os.mkdir {args: [sprung]}",
            "!!python/tuple [1]",
            "!!binary eA==",
            "!!set {a}",
            "!!timestamp 2020-01-01",
            "!!float 1",
            "!local x",
            "!<tag:yaml.org,2002:str> x",
        )
    ),
    text("an unknown directive", "required key is missing", "%MAGIC 1\n--- \nname: x\n", lines=9),
    text("another version", "x.yaml", "%YAML 9.9\n---\nname: x\n"),
    text("two documents", "a second document", RING + "---\nname: y\n"),
    text("JSON cut short", "not valid YAML", '{"name": "x", "network": {'),
    text("TOML", "x.yaml:2:1: not valid YAML", "[network]\nkind = 'ring'\n"),
    text("a Python program", "x.yaml", "import os\nos.mkdir('sprung')\n"),
    text("a list", "should be a mapping of keys", "- name: x\n"),
    text("a null", "should be a mapping of keys", "null\n"),
    text("a key twice", "the key 'name' is given twice", RING + "name: y\n"),
    text("a key without value", "name: should be text, not null", RING.replace("name: x", "name:")),
    text("a key of a number", "a key should be text", RING + "1: 2\n"),
    text("indented by a tab", "a tab character", RING + "training:\n\tseed: 1\n"),
    text("half of a pair", "half of a surrogate pair", RING.replace("name: x", 'name: "\\ud800"')),
]

EXTENDS = [
    made("extends itself", "a scenario cannot extend itself", chain(1)),
    made("extends in a circle", "a scenario cannot extend itself", chain(2)),
    made("extends in a long circle", "a scenario cannot extend itself", chain(300)),
    *(
        text(f"extends {value}", says, f"extends: {value}\nname: x\n")
        for value, says in (
            ("/etc/passwd", "/etc/passwd:1:"), ("/dev/zero", "not a regular file"), ("/dev/stdin", "not a regular file"), ("/proc/self/environ", ""), ("..", "a directory"),
            ("../../../../../etc/passwd", "passwd:1:"), ("nowhere", "no such file"), ("3", "should be the path"),
            ("[ring]", "should be the path"), ("{a: b}", "should be the path"), ("''", "a directory"), ('"a\\0b"', "not a file name"),
            ("http://localhost/ring.yaml", "no such file"), ("file:///etc/passwd", "no such file"), (f"{'x' * 5000}", "File name too long"),
            ("~/ring.yaml", "no such file"), ("$HOME/ring.yaml", "no such file"), ("'*.yaml'", "no such file"),
        )
    ),
]  # fmt: skip

KEYS = [
    *(
        Case(f"a name of {name[:12]!r}", SHOW, "name: should be text", files(x_yaml=RING.replace("name: x", f"name: {name}")))
        for name in ("../x", "/tmp/x", "a/b", "..", "''", '"a\\nb"', "a b", '"a\\0b"', "~", "3", "[x]", "{a: b}", "\u202ex", '"x\\n"', "\u0663")
    ),
    more("an output directory", "output: unknown key", "output: /tmp/x\n"),
    more("a run directory", "unknown key", "training: {run_directory: /tmp/x}\n"),
    *(
        Case(f"{key} of {value[:20]}", DRIVE, says, files(x_yaml=f"extends: transfer/network\nname: x\nnetwork: {{kind: {kind}, {key}: {value}}}\n"))
        for kind, key in (("file", "net_file"), ("osm", "osm_file"), ("opendrive", "xodr_file"))
        for value, says in (
            ("/etc/passwd", "broken XML"), ("../../../../../../etc/passwd", "broken XML"), ("/dev/zero", "not a regular file"),
            ("/dev/stdin", "not a regular file"), (".", "Is a directory"), ("run/best.pt", "broken XML"), ("nowhere.xml", "no such file"),
            ("'http://localhost/x.xml'", "no such file"), ('"a\\0b"', "null"), ("'a,b'", "a path with a comma"), ("''", ""), ("3", "should be text"),
            ("[a]", "should be text"), ("null", "should be text"), ("'--output-file=sprung'", "no such file"), ("'-v'", "no such file"),
            (f"'{'x' * 300}'", "File name too long"),
        )
    ),
    *(
        Case(f"route_files of {value[:20]}", DRIVE, says, files(x_yaml=f"extends: transfer/network\nname: x\nstart: {{kind: routes}}\nnetwork: {{kind: file, net_file: merge, route_files: {value}}}\n"))
        for value, says in (
            ("[/etc/passwd]", "broken XML"), ("[nowhere]", "no such file"), ("/etc/passwd", "should be a list"), ("[3]", "should be text"),
            ("[merge, merge]", "exists"), ("['']", ""), ("[/dev/zero]", "not a regular file"), ("[ring.net.xml]", "no such file"), ("[null]", "should be text"),
        )
    ),
    Case("a lead too fast for its road", "evaluate idm --scenario catchup --set vehicles.0.parameters.final_speed=1000", "network.length_m: 3000 m can end before"),
    Case("a start faster than the road", "evaluate idm --scenario catchup --set network.speed_limit_mps=1", "start.speed_mps: vehicles would depart at up to 15 m/s (at most network.speed_limit_mps = 1)"),
    Case("a start faster than vehicles are", "evaluate idm --scenario ring --set start.speed_mps=20 --set simulation.max_speed_mps=1", "at most 2 simulation.max_speed_mps = 2"),
    Case("no target", "scenarios show ring --set reward.terms.0.parameters.target_mps=0", "target_mps is 0 (should be more than 0)"),
    Case("no time gap", "scenarios show ring --set reward.terms.2.parameters.time_gap_s=-1", "time_gap_s is -1 (should be more than 0)"),
    Case("a route without start", TRAIN, "does not go with", files(x_yaml="extends: transfer/network\nname: x\nnetwork: {kind: file, net_file: merge, route_files: [merge]}\n")),
    Case("a million vehicles", DRIVE, "should be at most 100000", files(x_yaml=RING.replace("count: 3", "count: 1000000"))),
    Case("more layers than memory", TRAIN, "policy_hidden.0: should be at most 65536", files(x_yaml=RING + "algorithms: {dppo: {policy_hidden: [1000000000]}}\n")),
    Case("streets that are too short", DRIVE, "do not fit", files(x_yaml=STREETS + "vehicles: [{controller: learned, count: 500}]\n")),
    Case("a warm-up that always ends in a crash", DRIVE, "warmup: vehicles collided in each of 10 tries", files(x_yaml="extends: ring\nname: x\nwarmup: {controller: idm, duration_s: 60, parameters: {noise: 100.0, min_gap: 0.0}}\nsimulation: {speed_mode: 0}\n")),
]  # fmt: skip

NUMBERS = [
    override(f"{key}={value}", says)
    for key in ("network.length_m", "episode.control_interval_s", "start.speed_mps", "simulation.max_speed_mps",
                "reward.terms.0.weight", "observation.0.scale", "algorithms.dppo.gamma", "algorithms.dppo.policy_lr",
                "action.max_mps2", "start.jitter_m", "simulation.min_gap_m")
    for value, says in ((".nan", "should be a number"), (".inf", "should be a number"), ("-.inf", "should be a number"), ("nan", "should be a number"),
                        ("1e999", "finite number"), ("1e300", "size, not 1e+300"), ("1e-300", "not 1e-300"), ("null", "should be a number"), ("true", "should be a number"),
                        ("'1'", "should be a number"), ("[1]", "should be a number"), ("{a: 1}", "should be a number"), ("1_000", "should be a number"), ("\u0663", "should be a number"), ("1,5", "should be a number"))
    if not (value == "1e300" and key in ("algorithms.dppo.gamma",)) and not (value == "1e-300" and key in ("network.length_m", "simulation.max_speed_mps", "episode.control_interval_s"))
]  # fmt: skip

SETS = [
    override(setting, says)
    for setting, says in (
        ("", "should be KEY=VALUE"), ("=", "should be KEY=VALUE"), ("name", "should be KEY=VALUE"), ("name=", "has no value"), ("name= ", "has no value"),
        ("--name=x", "unknown key"), ("name==x", "name: should be text that matches"), (" =1", "should be KEY=VALUE"), ("na me=x", "should be KEY=VALUE"),
        ("name[0]=x", "should be KEY=VALUE"), ("observation[0].scale=1", "should be KEY=VALUE"), ("observation.=1", "should be KEY=VALUE"),
        ("observation.99.scale=1", "has items 0 to"), ("observation.0x0.scale=1", "has items 0 to"), ("observation.1e0.scale=1", "has items 0 to"),
        ("observation.__class__=1", "has items 0 to"), ("__class__.x=1", "__class__: unknown key"), ("model_config=1", "unknown key"), ("network.__init__=1", "unknown key"),
        ("training.seed=1e9", "should be a whole number, not 1000000000.0 (write 1000000000)"), ("training.seed=99999999999999999999", "too large"),
        ("training.seed=-1", "should be at least 0"), ("training.replicas=65", "should be at most 64"), ("training.replicas=0", "should be at least 1"),
        ("episode.steps=0", "should be at least 1"), ("episode.steps=1.0", "(write 1)"), ("simulation.step_s=0.00001", "whole number of milliseconds"),
        ("simulation.lane_change_mode=1000000", "should be at most 4095"), ("simulation.time_headway_s=0.0001", "should be at least 0.001"),
        ("name=../../x", "should be text that matches"), ("name=!!python/object/apply:os.mkdir [sprung]", "tags are not supported"),
        ("name=*a", "aliases are not supported"), ("name=@x", "not valid YAML"), ("name=`x`", "not valid YAML"), ("name={", "not valid YAML"),
        ("extends=/etc/passwd", "extends: unknown key"), ("vehicles=null", "should be a list"), ("vehicles=[]", "at least 1 item"), ("vehicles=[[]]", "should be a mapping"),
        ("network=null", "should be a mapping"), ("network.kind=null", "should be one of"), ("network.kind=[ring]", "should be one of"), ("network={}", "required key is missing"),
        ("network.length_range_m=[1]", "[low, high]"), ("network.length_range_m=[2, 1]", "[low, high]"), ("network.length_range_m=[1, 1e300]", "size, not 1e+300"),
        ("observation=[]", "at least 1 item"), ("observation.0.feature=x", "unknown feature 'x'"), ("observation.0.parameters={a: 1}", "has no parameter 'a'"),
        ("reward.terms.0.term=__import__", "unknown reward term"), ("warmup={controller: __import__, duration_s: 1}", "unknown controller '__import__'"), ("training.algorithm=__class__", "no algorithm is called"),
        (f"name={'x' * 200_000} y", "name: should be text that matches"), (f"name={'[' * 50_000}", "levels deep"), (f"{'a.' * 50}a=1", "more than 20 keys deep"),
        ("description=\x1b[31m\x07", "control characters"),
    )
]  # fmt: skip

CASES = [*FILES, *EXTENDS, *KEYS, *NUMBERS, *SETS]
