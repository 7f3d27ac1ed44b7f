"""Bad input of every kind: one line that says what is wrong, and nothing is left behind."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.service import Service

from . import (
    checkpoints,
    command_lines,
    maps,
    networks,
    policies,
    routes,
    runs,
    scenario_files,
    sweep_files,
)
from .cases import Case

KINDS = {
    "scenario files and overrides": scenario_files.CASES,
    "sweep files": sweep_files.CASES,
    "networks": networks.CASES,
    "routes": routes.CASES,
    "maps": maps.CASES,
    "checkpoints": checkpoints.CASES,
    "run directories": runs.CASES,
    "command lines": command_lines.CASES,
    "export and deploy": policies.CASES,
}
BATCH = 20  # cases of a test: a test that fails names those that did
LONGEST = 1000  # characters of an answer


def batches(every: int) -> list[Any]:
    """Each one of ``every`` cases, from all over each kind."""
    return [
        pytest.param(cases[::every][first : first + BATCH], id=f"{kind} from {first}")
        for kind, cases in KINDS.items()
        for first in range(0, len(cases[::every]), BATCH)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("cases", batches(1))
def test_every_case_is_answered_in_one_line_and_leaves_nothing(
    cases: list[Case], tmp_path: Path, trained: Path, service: Service
) -> None:
    check(cases, tmp_path, trained, service)


@pytest.mark.parametrize("cases", batches(6))
def test_bad_input_is_answered_in_one_line_and_leaves_nothing(
    cases: list[Case], tmp_path: Path, trained: Path, service: Service
) -> None:
    check(cases, tmp_path, trained, service)


def check(cases: list[Case], folder: Path, trained: Path, service: Service) -> None:
    """Names the cases that are not answered as they should be."""
    wrong = [
        f"{case.name}: {problem}"
        for number, case in enumerate(cases)
        for problem in problems(case, folder / str(number), trained, service)
    ]
    assert not wrong, "\n".join(wrong)


def problems(case: Case, folder: Path, trained: Path, service: Service) -> Iterator[str]:
    """What is wrong with the answer to a case."""
    shutil.copytree(trained, folder / "run")
    case.prepare(folder)
    before = contents(folder)
    answer = service.call(case.arguments, folder)
    if answer.died:
        yield f"it {answer.died}"
        return
    if answer.code != case.code:
        yield f"exit code {answer.code}: {answer.err or answer.out}"
        return
    if case.code:
        lines = answer.err.splitlines()
        if len(lines) != case.lines or not answer.err.startswith("error: "):
            yield f"not in {case.lines} lines: {answer.err}"
        if case.says not in answer.err:
            yield f"does not say {case.says!r}: {answer.err}"
        if "TRAFFICRL_DEBUG" in answer.err:
            yield f"a defect, not an answer: {answer.err}"
        if len(answer.err) > LONGEST * case.lines:
            yield f"is {len(answer.err)} characters long"
    elif "Error" in answer.err:
        yield f"complains all the same: {answer.err}"
    if "Traceback" in answer.err + answer.out:
        yield "shows a traceback"
    if contents(folder) != before:
        yield f"changes {sorted(contents(folder).keys() ^ before.keys()) or 'files'}"
    if list(service.temporary.iterdir()):
        yield f"leaves {[path.name for path in service.temporary.iterdir()]}"


def contents(folder: Path) -> dict[str, bytes | None]:
    """Everything below ``folder``, with what is in files."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        if path.is_file() and not path.is_symlink()
        else None
        for path in folder.rglob("*")
    }


def test_no_half_made_network_stays_in_the_cache(service: Service) -> None:
    """Of all cases before this one."""
    assert not [path for path in service.cache.rglob(".*")]


def test_there_are_cases_of_every_kind_and_each_is_named_once() -> None:
    names = [(kind, case.name) for kind, cases in KINDS.items() for case in cases]
    assert len(names) == len(set(names)) >= 200
    assert all(len(cases) >= 40 for cases in KINDS.values())
