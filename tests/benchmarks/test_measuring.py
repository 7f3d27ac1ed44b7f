"""Ratios are taken within rounds, cases take turns, and tables say what was measured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from trafficrl.benchmarks import running
from trafficrl.benchmarks.environment import PREPARED, ring
from trafficrl.benchmarks.measuring import Case, Done, Group, Ratio, Timed, compare, measure
from trafficrl.benchmarks.tables import as_markdown
from trafficrl.cli.main import main


def timed(*seconds: float) -> Timed:
    return Timed("steps", "cpu", list(seconds))


def test_a_ratio_is_the_median_of_the_ratios_within_rounds() -> None:
    # Each round on a slower machine: the ratio of medians would be 9 / 2, too.
    both = {"slow": timed(3.0, 30.0, 9.0), "fast": timed(1.0, 15.0, 2.0)}
    compared = compare(Ratio("r", "slow", "fast", target=3.5), both)
    assert compared.spread.median == 3.0
    assert compared.holds is True
    assert compare(Ratio("r", "slow", "fast", target=2.9), both).holds is False


def test_a_ratio_of_speeds_is_the_inverse_and_has_a_lower_bound() -> None:
    both = {"two": timed(1.0, 2.0), "one": timed(1.5, 4.0)}
    compared = compare(Ratio("r", "two", "one", target=1.7, faster=True), both)
    assert compared.spread.median == 1.75
    assert compared.holds is True


def test_cases_take_turns_and_the_first_block_of_each_does_not_count() -> None:
    order: list[str] = []

    def case(name: str, *, warm: bool) -> Case:
        @contextmanager
        def prepare() -> Iterator[object]:
            order.append(f"open {name}")
            blocks = iter(range(2))

            def block() -> Done:
                order.append(name)
                return Done(10, {"block": next(blocks)})

            yield block
            order.append(f"close {name}")

        return Case(name, "steps", prepare, warm=warm)

    group = Group([case("a", warm=True), case("b", warm=False)])
    figures, _ = measure(group, rounds=2)
    turn = ["open a", "a", "a", "close a", "open b", "b", "close b"]
    assert order == turn * 2
    assert figures["a"].figures["block"] == [1, 1]
    assert figures["b"].figures["block"] == [0, 0]


@pytest.mark.parametrize("kind", PREPARED)
def test_a_block_has_simulated_what_it_says(kind: str) -> None:
    import libsumo

    with PREPARED[kind](ring(2))() as block:
        block()
        before = libsumo.simulation.getTime()
        count = block()
        # Of 0.1 s each.
        assert round(10 * (libsumo.simulation.getTime() - before)) == count > 0


def test_an_unknown_benchmark_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "learing"]) == 2
    assert "no benchmark 'learing' (one of environment," in capsys.readouterr().err


def test_a_benchmark_that_fails_leaves_the_figures_of_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Of its own process, which does not know it.
    monkeypatch.setitem(running.GROUPS, "nothing", lambda: Group([]))
    arguments = ["bench", "nothing", "train-catchup-dppo", "--rounds", "1"]
    assert main([*arguments, "--output", str(tmp_path)]) == 1
    assert (
        capsys.readouterr().err.splitlines()[-1] == "error: failed: nothing (KeyError: 'nothing')"
    )
    table = (tmp_path / "bench.md").read_text(encoding="utf-8")
    assert "Failed: KeyError: 'nothing'" in table
    assert "| catchup, dppo | cpu |" in table


def test_figures_and_table_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["bench", "train-catchup-dppo", "--rounds", "1", "--output", str(tmp_path)]
    assert main(arguments) == 0
    table = (tmp_path / "bench.md").read_text(encoding="utf-8")
    content = json.loads((tmp_path / "bench.json").read_text(encoding="utf-8"))
    assert as_markdown(content) == table == capsys.readouterr().out
    (case,) = content["groups"]["train-catchup-dppo"]["cases"].values()
    shares = [spread["median"] for spread in case["figures"].values()]
    assert sum(shares) == pytest.approx(1.0)
    assert f"| {case['units_per_second']:,.4g} |" in table
