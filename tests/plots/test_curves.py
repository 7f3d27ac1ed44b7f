"""Learning curves and errors of models: the points are what was logged."""

from __future__ import annotations

import numpy as np
import pytest

from trafficrl.errors import TrafficRLError
from trafficrl.evaluation.statistics import estimate
from trafficrl.plots import horizon_error, learning_curves, model_error
from trafficrl.plots.curves import curve_over_seeds, labelled
from trafficrl.plots.style import short_number

from .conftest import MakeRun

STEPS = (1000, 2000, 3000, 4000)
HORIZONS = (1, 5, 10, 25)


def returns(*values: float, steps: tuple[int, ...] = STEPS) -> list[dict[str, float]]:
    """Validations, with updates between them."""
    rows: list[dict[str, float]] = []
    for number, (step, value) in enumerate(zip(steps, values, strict=True), 1):
        rows.append({"iteration": number, "sim_steps": step, "kl": 0.01 * number})
        rows.append({"iteration": number, "sim_steps": step, "validation_return": value})
    return rows


def errors(scale: float, moments: int = 3) -> list[dict[str, float]]:
    return [
        {
            "iteration": moment,
            "sim_steps": 1000 * moment,
            **{f"model_state_error_{h}": scale * h / moment for h in HORIZONS},
            **{f"model_reward_error_{h}": 2 * scale * h / moment for h in HORIZONS},
        }
        for moment in range(1, moments + 1)
    ]


# Learning -----------------------------------------------------------------------------


def test_seeds_make_one_line_with_the_interval_of_the_statistics(make_run: MakeRun) -> None:
    scores = np.random.default_rng(1).normal(size=(3, 4))
    runs = [make_run(returns(*row), f"r{s}", f"training.seed={s}") for s, row in enumerate(scores)]
    ((one,),) = labelled(runs).values()
    curve = one.curve("validation_return")
    assert curve is not None and curve.steps.tolist() == list(STEPS) and not curve.tails
    for place, at in enumerate(scores.T):
        expected = estimate(at[:, None])
        assert (curve.mean[place], curve.low[place], curve.high[place]) == expected
    (axes,) = learning_curves(runs).axes
    (line,) = axes.get_lines()
    assert line.get_label() == "dmpo, 3 seeds"
    np.testing.assert_array_equal(line.get_xydata(), np.column_stack([STEPS, scores.mean(axis=0)]))
    (band,) = axes.collections
    corners = band.get_paths()[0].vertices
    assert corners[:, 1].min() == curve.low.min() and corners[:, 1].max() == curve.high.max()


def test_a_single_run_is_what_it_logged(make_run: MakeRun) -> None:
    run = make_run(returns(1.0, float("nan"), 3.0, 2.0), "one", "training.seed=7")
    (axes,) = learning_curves([run]).axes
    (line,) = axes.get_lines()
    assert line.get_xydata().tolist() == [[1000, 1.0], [3000, 3.0], [4000, 2.0]], "without the NaN"
    assert line.get_label() == "dmpo, seed 7"
    other = learning_curves([run], "kl").axes[0]
    assert other.get_lines()[0].get_ydata().tolist() == [0.01, 0.02, 0.03, 0.04]
    assert other.get_ylabel() == "kl"


def test_the_mean_ends_with_the_first_seed_that_does_and_the_others_go_on() -> None:
    long = np.array([1000.0, 2000.0, 3000.0, 4000.0]), np.array([0.0, 1.0, 2.0, 3.0])
    short = np.array([1500.0, 2500.0]), np.array([10.0, 20.0])
    curve = curve_over_seeds([long, short])
    assert curve is not None
    assert curve.steps.tolist() == [2000.0], "where both are"
    assert curve.mean.tolist() == [(1.0 + 15.0) / 2], "interpolated between what was logged"
    ((steps, values),) = curve.tails
    assert (steps.tolist(), values.tolist()) == ([3000.0, 4000.0], [2.0, 3.0])


def test_scenarios_have_panels_and_algorithms_lines(make_run: MakeRun) -> None:
    rows = returns(1.0, 2.0, 3.0, 4.0)
    runs = [
        make_run(rows, "a"),
        make_run(rows, "b", "training.algorithm=dppo"),
        make_run(rows, "c", scenario="catchup"),
    ]
    figure = learning_curves(runs)
    assert [axes.get_title() for axes in figure.axes] == ["ring", "catchup"]
    lines = [[line.get_label() for line in axes.get_lines()] for axes in figure.axes]
    assert lines == [["dmpo, seed 0", "dppo, seed 0"], ["dmpo, seed 0"]]
    first, second = figure.axes[0].get_lines()
    for trait in ("get_color", "get_linestyle", "get_marker"):
        assert getattr(first, trait)() != getattr(second, trait)()


def test_runs_of_one_algorithm_with_other_settings_are_told_by_their_paths(
    make_run: MakeRun,
) -> None:
    rows = returns(1.0, 2.0, 3.0, 4.0)
    runs = [make_run(rows, "a"), make_run(rows, "b", "algorithms.dmpo.branches=4")]
    (axes,) = learning_curves(runs).axes
    labels = [line.get_label() for line in axes.get_lines()]
    assert labels == [f"{run.path}, seed 0" for run in runs]


def test_what_nobody_logged_is_refused_and_what_some_did_is_drawn(make_run: MakeRun) -> None:
    one = make_run(returns(1.0, 2.0, 3.0, 4.0), "a")
    other = make_run(errors(1.0), "b", "training.algorithm=dppo")
    with pytest.raises(TrafficRLError, match=r"a: nothing is logged as 'colour' \(there are: kl, "):
        learning_curves([one], "colour")
    assert len(learning_curves([one, other]).axes[0].get_lines()) == 1
    with pytest.raises(TrafficRLError, match="no run"):
        learning_curves([])


def test_ticks_are_short() -> None:
    shown = [short_number(value) for value in (0.0, 0.3 - 0.1, 500.0, 50_000.0, -1_500_000.0)]
    assert shown == ["0", "0.2", "500", "50k", "\N{MINUS SIGN}1.5M"]


# Models -------------------------------------------------------------------------------


def test_errors_over_training_are_those_logged_one_interval_ahead(make_run: MakeRun) -> None:
    figure = model_error([make_run(errors(0.3), "a")])
    state, reward = figure.axes
    assert (state.get_title(), reward.get_title()) == ("ring: state", "ring: reward")
    for axes, factor in ((state, 0.3), (reward, 0.6)):
        (line,) = axes.get_lines()
        assert axes.get_yscale() == "log"
        np.testing.assert_array_equal(line.get_xdata(), [1000, 2000, 3000])
        np.testing.assert_allclose(line.get_ydata(), factor / np.array([1, 2, 3]))


def test_horizons_are_those_logged_at_the_first_the_middle_and_the_last_moment(
    make_run: MakeRun,
) -> None:
    state, reward = horizon_error([make_run(errors(0.3), "a")]).axes
    for axes, factor in ((state, 0.3), (reward, 0.6)):
        drawn = [bar.lines[0] for bar in axes.containers]
        assert len(drawn) == 3
        # Half-way of 3000 steps, 1000 and 2000 are equally near; the earlier counts.
        for line, moment in zip(drawn, (1, 1, 3), strict=True):
            np.testing.assert_allclose(line.get_xdata(), HORIZONS, atol=0.3)
            np.testing.assert_array_equal(line.get_ydata(), [factor * h / moment for h in HORIZONS])
    assert state.get_xticks().tolist() == list(HORIZONS)
    labels = [text.get_text() for text in reward.get_legend().get_texts()]
    assert labels == ["dmpo, seed 0", "first model", "half-way", "end of training"]


def test_bars_of_horizons_are_intervals_over_seeds(make_run: MakeRun) -> None:
    runs = [make_run(errors(s + 1.0), f"r{s}", f"training.seed={s}") for s in range(3)]
    state, _ = horizon_error(runs).axes
    last = state.containers[-1]
    ends = last.lines[2][0].get_segments()
    for h, segment in zip(HORIZONS, ends, strict=True):
        expected = estimate([[s * h / 3] for s in (1.0, 2.0, 3.0)])
        np.testing.assert_allclose(sorted(segment[:, 1]), [expected.low, expected.high])


def test_a_horizon_that_was_never_logged_is_left_out(make_run: MakeRun) -> None:
    rows = [
        {name: value for name, value in row.items() if not name.endswith("25")}
        for row in errors(1.0)
    ]
    state, _ = horizon_error([make_run(rows, "a")]).axes
    assert state.get_xticks().tolist() == [1, 5, 10]


@pytest.mark.parametrize("draw", [model_error, horizon_error])
def test_runs_without_a_model_say_so(make_run: MakeRun, draw) -> None:  # type: ignore[no-untyped-def]
    without = make_run(returns(1.0, 2.0, 3.0, 4.0), "plain", "training.algorithm=dppo")
    with pytest.raises(
        TrafficRLError, match="plain: no errors of a dynamics model are logged"
    ) as caught:
        draw([without])
    assert "\n" not in str(caught.value)
    figure = draw([without, make_run(errors(1.0), "a")])
    assert len(figure.axes) == 2, "only of the other run"
