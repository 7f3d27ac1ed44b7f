"""Run directories with something missing or broken in them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .cases import Case, Prepare

EVALUATE, RESUME = "evaluate run --episodes 1", "train --resume run"
COMPARE = "compare run idm --episodes 1"
TRANSFER = "transfer run --scenarios ring --episodes 1"
CURVES = "plot learning run --output x.png"
ALL = (EVALUATE, RESUME, COMPARE, TRANSFER, CURVES)


def written(name: str, content: str | bytes) -> Prepare:
    return lambda folder: (folder / "run" / name).write_bytes(
        content.encode() if isinstance(content, str) else content
    )


def without(*names: str) -> Prepare:
    def prepare(folder: Path) -> None:
        for name in names:
            (folder / "run" / name).unlink()

    return prepare


def edited(name: str, change: Callable[[str], str]) -> Prepare:
    def prepare(folder: Path) -> None:
        path = folder / "run" / name
        before = path.read_text()
        after = change(before)
        assert after != before
        path.write_text(after)

    return prepare


def scenario(old: str, new: str) -> Prepare:
    return edited("scenario.yaml", lambda text: text.replace(old, new, 1))


def info(change: Callable[[dict[str, Any]], object]) -> Prepare:
    def edit(text: str) -> str:
        content = json.loads(text)
        change(content)
        return json.dumps(content)

    return edited("run.json", edit)


def replaced(name: str, make: Callable[[Path], object]) -> Prepare:
    def prepare(folder: Path) -> None:
        (folder / "run" / name).unlink()
        make(folder / "run" / name)

    return prepare


def each(name: str, says: str, prepare: Prepare, commands: tuple[str, ...] = ALL) -> list[Case]:
    """By each of the commands."""
    return [Case(f"{name}: {' '.join(c.split()[:2])}", c, says, prepare) for c in commands]


CASES = [
    *each("no directory", "run", lambda f: shutil.rmtree(f / "run")),
    *each("a file", "run: ", lambda f: (shutil.rmtree(f / "run"), (f / "run").write_text("x"))),
    *each(
        "an empty directory",
        "run: not a run directory",
        lambda f: (shutil.rmtree(f / "run"), (f / "run").mkdir()),
    ),
    *each("no scenario", "run: ", without("scenario.yaml")),
    *each("no run.json", "run: not a run directory", without("run.json")),
    *each("neither", "run: not a run directory", without("scenario.yaml", "run.json")),
    *each(
        "no checkpoints",
        ".pt",
        without("best.pt", "latest.pt", "previous.pt"),
        (EVALUATE, COMPARE, TRANSFER, RESUME),
    ),
    *each("an empty scenario", "run/scenario.yaml:1:1: ", written("scenario.yaml", "")),
    *each(
        "a scenario of bytes",
        "run/scenario.yaml: not text",
        written("scenario.yaml", b"\xff\xfe\x00"),
    ),
    *each(
        "a scenario with tags",
        "tags are not supported",
        scenario("name: ring", "name: !!python/object/apply:os.mkdir [sprung]"),
    ),
    *each(
        "a scenario cut short",
        "run/scenario.yaml",
        edited("scenario.yaml", lambda t: t[: len(t) // 3]),
    ),
    *each(
        "an unknown key",
        "colour: unknown key",
        edited("scenario.yaml", lambda t: f"{t}colour: red\n"),
    ),
    *each(
        "an unknown algorithm",
        "no algorithm is called 'ddpg'",
        scenario("algorithm: dppo", "algorithm: ddpg"),
    ),
    *each("a directory for a scenario", "run", replaced("scenario.yaml", Path.mkdir)),
    *each("a pipe for a scenario", "run", replaced("scenario.yaml", os.mkfifo)),
    *each(
        "a link to itself",
        "run",
        replaced("scenario.yaml", lambda p: p.symlink_to("scenario.yaml")),
    ),
    *each(
        "more vehicles than were trained",
        ".pt: does not fit",
        scenario("count: 6", "count: 7"),
        (EVALUATE, RESUME),
    ),
    *each(
        "other layers than were trained",
        ".pt: does not fit",
        edited("scenario.yaml", lambda t: t.replace("policy_hidden: [8]", "policy_hidden: [9]")),
        (EVALUATE, COMPARE, RESUME),
    ),
    *each(
        "an observation less",
        ".pt: does not fit",
        edited(
            "scenario.yaml",
            lambda t: t.replace("- feature: ", "- feature: headway\n- feature: ", 1),
        ),
        (EVALUATE, RESUME),
    ),
    *each(
        "no room for the vehicles",
        "do not fit a ring",
        scenario("length_m: 120.0", "length_m: 20.0"),
    ),
    *each(
        "huge layers",
        "should be at most 65536",
        edited(
            "scenario.yaml",
            lambda t: t.replace("policy_hidden: [8]", "policy_hidden: [1000000000]", 1),
        ),
        (EVALUATE, RESUME),
    ),
    *each("another task", "", scenario("speed_mps: 0.0", "speed_mps: -1.0")),
    *each("no JSON", "run/run.json: not readable", written("run.json", "name: ring"), (RESUME,)),
    *each("an empty run.json", "run/run.json: not readable", written("run.json", ""), (RESUME,)),
    *each(
        "a run.json of bytes",
        "run/run.json: not readable",
        written("run.json", b"\xff\xfe\x00"),
        (RESUME,),
    ),
    *each("a list", "run/run.json: not a mapping", written("run.json", "[]"), (RESUME,)),
    *each("a number", "run/run.json: not a mapping", written("run.json", "3"), (RESUME,)),
    *each(
        "a deep run.json",
        "run/run.json: not readable",
        written("run.json", "[" * 100_000),
        (RESUME,),
    ),
    *each(
        "a long number",
        "run/run.json: not readable",
        written("run.json", '{"a": ' + "9" * 10_000 + "}"),
        (RESUME,),
    ),
    *each(
        "an unknown device",
        "--device nonsense",
        info(lambda i: i.update(device="nonsense")),
        (RESUME,),
    ),
    *each("a device of no text", "--device", info(lambda i: i.update(device=["cpu"])), (RESUME,)),
    *each("a directory for run.json", "run: not a run directory", replaced("run.json", Path.mkdir)),
    *each("a pipe for run.json", "run: not a run directory", replaced("run.json", os.mkfifo)),
    *each(
        "resumed by no list",
        "run/run.json: resumed should be a list of mappings",
        info(lambda i: i.update(resumed=3)),
        (RESUME,),
    ),
    *each(
        "metrics of text", "run/metrics.jsonl", written("metrics.jsonl", "fast\n"), (RESUME, CURVES)
    ),
    *each(
        "metrics of bytes",
        "run/metrics.jsonl",
        written("metrics.jsonl", b"\xff\xfe\x00\n"),
        (RESUME, CURVES),
    ),
    *each(
        "metrics of lists",
        "run/metrics.jsonl",
        written("metrics.jsonl", "[1, 2]\n"),
        (RESUME, CURVES),
    ),
    *each(
        "metrics of numbers", "run/metrics.jsonl", written("metrics.jsonl", "3\n"), (RESUME, CURVES)
    ),
    *each(
        "metrics of no number",
        "run/metrics.jsonl",
        written(
            "metrics.jsonl", '{"iteration": "one", "sim_steps": "x", "validation_return": "y"}\n'
        ),
        (RESUME, CURVES),
    ),
    *each(
        "metrics of nothing",
        "run/metrics.jsonl",
        written(
            "metrics.jsonl", '{"iteration": null, "sim_steps": null, "validation_return": null}\n'
        ),
        (RESUME, CURVES),
    ),
    *each(
        "metrics without iteration",
        "run/metrics.jsonl",
        written("metrics.jsonl", '{"validation_return": 3.0}\n'),
        (RESUME, CURVES),
    ),
    *each(
        "deep metrics",
        "run/metrics.jsonl",
        written("metrics.jsonl", "[" * 100_000 + "\n"),
        (RESUME, CURVES),
    ),
    *each(
        "a directory for metrics",
        "run/metrics.jsonl",
        replaced("metrics.jsonl", Path.mkdir),
        (RESUME, CURVES),
    ),
    *each("no metrics", "nothing has been logged yet", without("metrics.jsonl"), (CURVES,)),
    *each("timings of text", "run/timing.jsonl", written("timing.jsonl", "fast\n"), (RESUME,)),
    *each("episodes of text", "run/episodes.csv", written("episodes.csv", "fast\n"), (RESUME,)),
    *each(
        "a directory for episodes",
        "run/episodes.csv",
        replaced("episodes.csv", Path.mkdir),
        (RESUME,),
    ),
]
