"""What a dynamics model may not see in training: when it stops by it, and its errors there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from trafficrl.algorithms.dynamics import DynamicsLearner

from .learners import generator, make, scripted
from .systems import (
    AGENTS,
    SMALL_MODEL,
    Net,
    linear_data,
    moved,
    parameters_of,
    recorded,
    system,
)

# --- data that is held out


@pytest.fixture
def ever_better(monkeypatch: pytest.MonkeyPatch) -> None:
    """Held-out losses that fall from check to check, whatever the data."""
    seen = iter(range(1, 10**6))

    def falling(self: DynamicsLearner, model: Any, starts: Tensor) -> Tensor:
        return torch.full((model.sets,), 1.0 / next(seen))

    monkeypatch.setattr(DynamicsLearner, "_held_out_loss", falling)


@pytest.mark.parametrize("shared", [False, True])
def test_held_out_rows_are_never_trained_on(ever_better: None, shared: bool) -> None:
    runs = []
    for poison in (0.0, 1e6):
        one, draw = make(**SMALL_MODEL, shared=shared), generator()
        one.add(linear_data(draw, replicas=4, steps=150), draw)
        columns, held_out = one.experience.columns, one.experience.columns["held_out"]
        assert 0.05 < held_out.float().mean() < 0.9
        # What follows the last row before is the first one's state: seen in training too.
        inside = held_out & held_out.roll(1)
        for name, rows in (("obs", inside), ("action", held_out), ("reward", held_out)):
            columns[name][rows] += poison
        one.experience.final_obs[held_out[columns["apart"]]] += poison
        runs.append((one.train(draw), one.models.state_dict()))
    (log, weights), (other_log, others) = runs
    for name in weights:
        assert torch.equal(weights[name], others[name]), name
    assert all(log[name] != other_log[name] for name in log if "error" in name)


def test_rows_that_are_not_held_out_are_trained_on(ever_better: None) -> None:
    runs = []
    for change in (0.0, 1.0):
        one, draw = make(**SMALL_MODEL), generator()
        one.add(linear_data(draw, replicas=4, steps=150), draw)
        columns = one.experience.columns
        columns["reward"][~columns["held_out"]] += change
        one.train(draw)
        runs.append(parameters_of(one))
    assert all(moved(*runs, AGENTS))


# --- early stopping


def stopped(
    losses: Callable[[int], list[float]], kind: str = "line", **settings: Any
) -> tuple[dict[str, Tensor], dict[str, Tensor], float]:
    """Weights before and after, and gradient steps, under scripted held-out losses."""
    settings = {**SMALL_MODEL, "max_updates": 20, "patience": 2, **settings}
    one, draw = make(kind, **settings), generator()
    rollout = linear_data(draw, replicas=4, steps=150)
    rollout.links = rollout.next_links = Net(kind, AGENTS).links(1)
    one.add(rollout, draw)
    scripted(one, losses)
    before = parameters_of(one)
    updates = one.train(draw)["model_updates"]
    return before, parameters_of(one), updates


def test_an_agent_that_never_gets_better_keeps_its_weights_while_others_learn() -> None:
    before, after, updates = stopped(lambda n: [1.0 + n, *([1.0 / (1 + n)] * (AGENTS - 1))])
    assert moved(before, after, AGENTS) == [False] + [True] * (AGENTS - 1)
    assert updates == 20


def test_when_one_agent_stops_is_no_matter_to_the_others() -> None:
    """To those who do not hear it, that is: what it says changes with its encoder."""
    better = [[1.0 / (1 + n) for _ in range(AGENTS)] for n in range(99)]
    worse = [[1.0 + n, *row[1:]] for n, row in enumerate(better)]
    (_, one, _), (_, other, _) = (
        stopped(script.__getitem__, "alone") for script in (better, worse)
    )
    assert moved(one, other, AGENTS) == [True] + [False] * (AGENTS - 1)


def test_an_agent_that_has_stopped_is_trained_no_more_while_others_go_on() -> None:
    """Agent 0 waits for two checks, after updates 4 and 6: a gain seen later is not of training."""
    others = [[1.0 / (1 + n)] * (AGENTS - 1) for n in range(20)]
    own = [1.0, 0.5, 0.6, 0.6, *[0.1] * 20]
    long = [[loss, *row] for loss, row in zip(own, others, strict=False)]
    short = [*long[:3], [0.1] * AGENTS]
    _, stayed, _ = stopped(long.__getitem__, "alone")
    _, expected, _ = stopped(short.__getitem__, "alone", max_updates=6)
    assert moved(stayed, expected, AGENTS) == [False] + [True] * (AGENTS - 1)


def test_training_stops_when_all_agents_have_waited_long_enough() -> None:
    """Checks after 2, 4, ... updates; the last to improve does so at the second; patience 2."""
    script = [[1.0] * AGENTS, [0.5] * AGENTS, [0.6, 0.4, 0.6, 0.6, 0.6], *[[0.7] * AGENTS] * 20]
    assert stopped(script.__getitem__)[2] == 8


def test_the_best_weights_are_kept_not_the_last() -> None:
    script = [[1.0] * AGENTS, [0.5] * AGENTS, *[[0.6] * AGENTS] * 20]
    _, kept, updates = stopped(script.__getitem__)
    _, first, _ = stopped([[1.0] * AGENTS, [0.5] * AGENTS].__getitem__, max_updates=2)
    assert updates == 6 and not any(moved(kept, first, AGENTS))


def test_fewer_updates_than_between_checks_are_not_lost() -> None:
    before, after, updates = stopped(lambda n: [1.0 / (1 + n)] * AGENTS, check_every=50)
    assert updates == 20 and all(moved(before, after, AGENTS))


def test_a_gain_of_less_than_a_percent_is_none_also_where_losses_are_negative() -> None:
    for sign in (1.0, -1.0):
        barely = [[sign * (1.0 - sign * 0.005)] * AGENTS] * 20
        assert stopped([[sign] * AGENTS, *barely].__getitem__)[2] == 4


def test_without_held_out_data_all_updates_are_made() -> None:
    one, draw = make(**{**SMALL_MODEL, "held_out": 1e-9}), generator()
    one.add(linear_data(draw, replicas=1, steps=30), draw)
    before = parameters_of(one)
    log = one.train(draw)
    assert log["model_updates"] == 4.0 and not [name for name in log if "error" in name]
    assert all(moved(before, parameters_of(one), AGENTS))


# --- errors


def test_errors_are_those_of_the_horizons_that_the_data_has() -> None:
    for steps, expected in ((60, [1, 5, 10, 25]), (12, [1, 5, 10]), (4, [1])):
        one, draw = make(**{**SMALL_MODEL, "held_out": 0.5}), generator()
        for _ in range(2):  # of the first rollout nearly all is trained on
            one.add(linear_data(draw, replicas=20, steps=steps), draw)
        names = {f"model_{what}_error_{h}" for what in ("state", "reward") for h in expected}
        assert set(one.errors(draw)) == names


def test_an_error_is_the_mean_square_over_the_variance_of_the_target() -> None:
    """x' = -x of x = 1 or 3 in turns, predicted to stay: errors 4 and 36; variance of x' is 4."""
    one, draw = make(agents=2, **{**SMALL_MODEL, "held_out": 0.999}), generator()
    sizes = torch.tensor([1.0, 3.0]).repeat(100).view(1, 200, 1, 1).expand(-1, -1, 2, -1)
    turn = torch.tensor([1.0, 1.0, -1.0, -1.0]).repeat(50).view(1, 200, 1, 1)
    states = sizes * turn  # next: -x, of mean 0 and variance 5
    one.add(
        recorded(
            states,
            torch.zeros_like(states),
            states[..., 0],
            Net("line", 2).links(1),
            next_states=-states,
        ),
        draw,
    )
    model = one.models[0]
    with torch.no_grad():
        for parameter in model.f_out.parameters():
            parameter.zero_()  # nothing changes, and the reward is 0
    log = one.errors(draw)
    held = one.experience.columns["held_out"]
    square = states[0][held].square().mean().item()
    variance = states.var(1).mean().item()
    assert log["model_state_error_1"] == pytest.approx(4 * square / variance, rel=1e-4)
    assert log["model_reward_error_1"] == pytest.approx(square / variance, rel=1e-4)


def test_a_perfect_model_has_no_error() -> None:
    one, draw = make(**SMALL_MODEL), generator()
    one.add(linear_data(draw, replicas=4, steps=150), draw)
    real = one.models[0].forward

    def true_system(obs: Tensor, action: Tensor, index: Tensor, mask: Tensor) -> Any:
        x, a = obs[..., 0], action[..., 0]
        reward = one.models[0].normalised_rewards(-(x.square() + 0.1 * a.square()))
        following = (system() @ x + a)[..., None]
        return real(obs, action, index, mask)._replace(next_obs=following, reward=reward)

    one.models[0].forward = true_system  # type: ignore[method-assign]
    one._fit_normalisation(one.models[0])
    log = one.errors(draw)
    assert len(log) == 8 and max(log.values()) < 1e-6
