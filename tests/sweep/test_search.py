"""Optuna's points: that they find an optimum, repeat, and depend on what the pages say."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import pytest

from trafficrl.errors import TrafficRLError
from trafficrl.sweep.plan import Plan, Point, show_point
from trafficrl.sweep.search import Search, make_search

from .sweeps import KINDS, LAMBDA, LR, ROLLOUT, Scripted, plan_of, session

RANGES = {
    LR: {"low": 1e-5, "high": 1e-1, "log": True},
    LAMBDA: {"low": 0, "high": 1},
    ROLLOUT: {"low": 20, "high": 100, "step": 20},
    KINDS: {"choices": ["dppo", "cppo"]},
}


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    search = {"kind": "optuna", "trials": 60, "seed": 3, "ranges": RANGES}
    return plan_of(tmp_path, search=search, seeds=[0])


def height(point: Point, seed: int = 0) -> float:
    """0 at a learning rate of 1e-3, lambda 0.7, rollouts of 60 steps and dppo; less elsewhere."""
    return -(
        math.log10(point[LR] / 1e-3) ** 2
        + 4 * (point[LAMBDA] - 0.7) ** 2
        + ((point[ROLLOUT] - 60) / 40) ** 2
        + (point[KINDS] != "dppo")
    )


def asked(search: Search, count: int) -> list[Point]:
    points = []
    for number in range(count):
        points.append(search.ask(number))
        search.tell(number, height(points[-1]))
    return points


def test_it_finds_the_optimum_of_a_known_function(plan: Plan, tmp_path: Path) -> None:
    executor = Scripted(height)
    runner = session(plan, tmp_path / "s", executor)
    assert len(executor.started) == 60 and not runner.stopped_early
    scores = [height(point) for point, _ in executor.started]
    assert max(scores) > -0.1
    # Later points are better: it learns from scores.
    assert sum(scores[40:]) / 20 > sum(scores[:10]) / 10 + 1.0


def test_minimising_finds_the_other_end(plan: Plan, tmp_path: Path) -> None:
    objective = plan.config.objective.model_copy(update={"direction": "minimise"})
    config = plan.config.model_copy(update={"objective": objective})
    executor = Scripted(lambda point, seed: -height(point))
    session(Plan(config, plan.base, plan.whole), tmp_path / "s", executor)
    assert max(height(point) for point, _ in executor.started) > -0.1


def test_points_are_of_their_ranges(plan: Plan) -> None:
    points = asked(make_search(plan), 30)
    assert all(list(point) == list(RANGES) for point in points)
    assert all(1e-5 <= point[LR] <= 1e-1 and 0 <= point[LAMBDA] <= 1 for point in points)
    assert {point[ROLLOUT] for point in points} <= {20, 40, 60, 80, 100}
    assert {point[KINDS] for point in points} == {"dppo", "cppo"}
    assert any(0 < point[LAMBDA] < 1 for point in points)


def test_the_seed_of_the_sampler_decides(plan: Plan) -> None:
    def first(seed: int) -> list[Point]:
        search = plan.config.search.model_copy(update={"seed": seed})
        config = plan.config.model_copy(update={"search": search})
        return asked(make_search(Plan(config, plan.base, plan.whole)), 15)

    assert first(1) == first(1) != first(2)


@pytest.mark.parametrize("known", [1, 12, 20])
def test_recalled_points_lead_to_the_same_next_ones(plan: Plan, known: int) -> None:
    whole = asked(make_search(plan), 25)
    search = make_search(plan)
    for number, point in enumerate(whole[:known]):
        search.recall(number, point)
    for number, point in enumerate(whole[:known]):
        search.tell(number, height(point))
    rest = []
    for number in range(known, 25):
        rest.append(search.ask(number))
        search.tell(number, height(rest[-1]))
    assert rest == whole[known:]


def test_a_point_of_another_search_is_not_recalled(plan: Plan) -> None:
    [point] = asked(make_search(plan), 1)
    for other in ({**point, KINDS: "dmpo"}, {LR: 1e-3}):
        with pytest.raises(TrafficRLError, match=r"point 0 of trials\.jsonl .* is none of"):
            make_search(plan).recall(0, other)


def test_choices_may_be_lists_and_mappings(tmp_path: Path) -> None:
    choices: list[Any] = [[8], [16, 16], None]
    ranges = {"algorithms.dppo.policy_hidden": {"choices": choices[:2]}}
    search = make_search(
        plan_of(tmp_path, search={"kind": "optuna", "trials": 9, "ranges": ranges})
    )
    found = [search.ask(number)["algorithms.dppo.policy_hidden"] for number in range(9)]
    assert all(one in choices for one in found) and [8] in found and [16, 16] in found
    assert show_point({"policy_hidden": [16, 16], LR: 0.1, KINDS: "dppo"}) == [
        *("policy_hidden=[16, 16]", f"{LR}=0.1", f"{KINDS}='dppo'")
    ]


def test_without_optuna_it_is_one_line(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(TrafficRLError, match=r"not installed \(pip install 'trafficrl\[optuna\]'"):
        make_search(plan)
