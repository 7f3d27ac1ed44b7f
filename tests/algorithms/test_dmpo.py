"""DMPO: when it imagines, when it does not, and what it keeps."""

from __future__ import annotations

import io
import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from trafficrl.algorithms.rollout import Rollout

from .conftest import streams
from .systems import SMALL_PPO, SMALL_SACBASE, Team, moved, parameters_of

BASES = [{"kind": "dppo", **SMALL_PPO}, SMALL_SACBASE]
GOOD = {"model_state_error_1": 0.01, "model_reward_error_1": 0.02}


def make(kind: str = "line", **changes: Any) -> Team:
    return Team("dmpo", kind, **changes)


def learned_from(one: Team) -> list[Rollout | None]:
    """What the base is given, update by update: imagined rollouts, or None for real data."""
    given: list[Rollout | None] = []
    learn = one.algorithm.base.learn

    def record(imagined: Rollout | None, *rest: Any) -> dict[str, float]:
        given.append(imagined)
        return learn(imagined, *rest)

    one.algorithm.base.learn = record
    return given


def with_errors(one: Team, errors: dict[str, float]) -> Team:
    """The model is as wrong as ``errors`` say."""
    one.algorithm.dynamics.train = lambda generator: dict(errors)
    return one


def policy_of(one: Team) -> dict[str, Tensor]:
    found = parameters_of(one.algorithm.base)
    return {name: weights for name, weights in found.items() if name.startswith("policy")}


def real(one: Team, seed: int = 1) -> Rollout:
    return one.rollout(seed, replicas=2, steps=60)


# --- imagined and real updates


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(("q0", "low", "high"), [(0.0, 0, 0), (1.0, 100, 100), (0.5, 30, 70)])
def test_the_share_of_imagined_updates_is_q0(
    base: dict[str, Any], q0: float, low: int, high: int
) -> None:
    """Within 4 standard errors of 50 in 100 updates where it is one half."""
    fast = {"epochs": 1} if base["kind"] == "dppo" else {"inner_updates": 1}
    one = make(
        base={**base, **fast},
        inner_iterations=100,
        branches=2,
        branch_length=1,
        model_probability=q0,
    )
    with_errors(one, GOOD)
    given = learned_from(one)
    log = one.update(one.rollout())
    imagined = sum(data is not None for data in given)
    assert len(given) == 100 and low <= imagined <= high
    assert log["imagined_share"] == imagined / 100


@pytest.mark.parametrize("inner", [0, 1, 5])
def test_there_are_so_many_policy_updates_an_iteration(inner: int) -> None:
    one = with_errors(make(inner_iterations=inner), GOOD)
    given, before = learned_from(one), policy_of(one)
    one.update(real(one))
    assert len(given) == inner
    assert any(moved(before, policy_of(one), 5)) == (inner > 0)


@pytest.mark.parametrize("base", BASES)
def test_real_updates_use_real_data_alone(base: dict[str, Any]) -> None:
    """After imagined ones too: the newest real rollout, or the replay of real ones."""
    one = with_errors(make(base=base, inner_iterations=1), GOOD)
    algorithm, rollout = one.algorithm, real(one)
    one.update(rollout)
    used = []
    if base["kind"] == "dppo":
        algorithm.base._targets = lambda r, f=algorithm.base._targets: used.append(r.obs) or f(r)
        expected = rollout.obs
    else:
        step = algorithm.base._steps
        algorithm.base._steps = lambda data, *rest: (
            used.append(data.columns["obs"]) or step(data, *rest)
        )
        expected = rollout.obs.flatten(0, 1)
    algorithm.base.learn(None, streams(), 0.0)
    assert len(used) == 1 and torch.equal(used[0], expected)


def test_models_are_trained_on_real_data_alone() -> None:
    one = make(inner_iterations=3)
    for seed in range(2):
        one.update(real(one, seed))
    expected = torch.cat([real(one, seed).obs.flatten(0, 1) for seed in range(2)])
    assert torch.equal(one.algorithm.dynamics.experience.columns["obs"], expected)


def test_each_policy_update_imagines_anew_from_the_newest_rollout() -> None:
    one = with_errors(make(inner_iterations=3, branches=30, branch_length=2), GOOD)
    one.update(real(one, 1))
    given, rollout = learned_from(one), real(one, 2)
    one.update(rollout)
    newest = {tuple(row) for row in rollout.obs.flatten(0, 1).flatten(1).tolist()}
    for data in given:
        assert data is not None and data.obs.shape == (30, 2, 5, 2)
        assert {tuple(row) for row in data.obs[:, 0].flatten(1).tolist()} <= newest
    assert not torch.equal(given[0].obs[:, 0], given[1].obs[:, 0])


# --- the guard


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize(
    ("state", "reward", "limit", "trusted"),
    [
        (0.2, 0.0, 0.1, False),
        (0.0, 0.2, 0.1, False),
        (0.05, 0.05, 0.1, True),
        (0.1, 0.1, 0.1, True),
        (9.0, 9.0, None, True),
        (math.nan, 0.0, 0.1, False),
        (0.0, math.nan, 0.1, False),
        (math.inf, 0.0, 0.1, False),
    ],
)
def test_a_model_that_is_too_wrong_is_not_used(
    base: dict[str, Any], state: float, reward: float, limit: float | None, trusted: bool
) -> None:
    one = make(base=base, max_model_error=limit)
    with_errors(one, {"model_state_error_1": state, "model_reward_error_1": reward})
    given = learned_from(one)
    log = one.update(real(one))
    assert [data is not None for data in given] == [trusted] * 2
    assert log["imagined_share"] == float(trusted)


def test_a_model_is_used_again_once_it_is_right_again() -> None:
    one, shares = make(max_model_error=0.1), []
    for error in (0.5, 0.05, 0.5):
        with_errors(one, {"model_state_error_1": error, "model_reward_error_1": 0.0})
        shares.append(one.update(real(one))["imagined_share"])
    assert shares == [0.0, 1.0, 0.0]


def test_without_data_for_a_model_updates_are_real() -> None:
    one = make(model={"sequence_length": 10})
    log = one.update(one.rollout(replicas=2, steps=6))
    assert log["imagined_share"] == 0.0 and "model_updates" not in log


# --- branch length, model updates, warm-up


def test_the_branch_length_grows_linearly_with_progress() -> None:
    one = with_errors(
        make(initial_branch_length=2, branch_length=10, branch_growth=0.5, branches=2), GOOD
    )
    given = learned_from(one)
    for progress, length in ((0.0, 2), (0.125, 4), (0.25, 6), (0.49, 10), (0.5, 10), (1.0, 10)):
        log = one.update(real(one), progress=progress)
        assert log["branch_length"] == length
        assert given[-1].obs.shape[1] == length


def test_without_a_schedule_branches_are_as_long_as_they_shall_be() -> None:
    one = with_errors(make(branch_length=7, branches=2), GOOD)
    for progress in (0.0, 1.0):
        assert one.update(real(one), progress=progress)["branch_length"] == 7


@pytest.mark.parametrize("every", [1, 3])
def test_models_are_trained_every_so_many_iterations(every: int) -> None:
    one, trained = make(model_every=every), []
    one.algorithm.dynamics.train = lambda generator: trained.append(iteration) or dict(GOOD)
    for iteration in range(7):
        log = one.update(real(one, iteration))
        assert log["model_state_error_1"] == 0.01  # what is known of it, also in between
        assert log["imagined_share"] == 1.0
    assert trained == [n for n in range(7) if n % every == 0]


@pytest.mark.parametrize("base", BASES)
def test_policies_wait_for_the_warm_up_while_models_learn(base: dict[str, Any]) -> None:
    one = make(base=base, warmup_iterations=2)
    policies = [policy_of(one)]
    for iteration in range(3):
        assert "model_updates" in one.update(real(one, iteration))
        policies.append(policy_of(one))
    changed = [any(moved(before, after, 5)) for before, after in pairwise(policies)]
    assert changed == [False, False, True]


# --- errors, acting, saving


def test_errors_are_logged_for_every_horizon_that_the_data_has() -> None:
    one = make(model={"held_out": 0.5})
    log = one.update(one.rollout(replicas=8, steps=100))
    for what in ("state", "reward"):
        for horizon in (1, 5, 10, 25):
            assert math.isfinite(log[f"model_{what}_error_{horizon}"])


@pytest.mark.parametrize("base", BASES)
def test_actions_are_those_of_the_base(base: dict[str, Any]) -> None:
    one = make(base=base)
    obs, nothing, links = one.obs(4), torch.zeros(4, 5, 0), one.links()
    for draw in (None, 3):
        decisions = [
            acting.act(obs, links, nothing, draw and torch.Generator().manual_seed(draw))
            for acting in (one.algorithm, one.algorithm.base)
        ]
        assert torch.equal(decisions[0].action, decisions[1].action)
        assert torch.equal(decisions[0].log_prob, decisions[1].log_prob)
    assert one.algorithm.value_hops == one.settings.value_hops == one.algorithm.base.value_hops
    assert one.algorithm.memory_width == 0


CASES = [
    (base, n_choices, kind)
    for base in BASES
    for n_choices, kind in ((0, "line"), (3, "ring"), (0, "changes"))
]


@pytest.mark.parametrize(("base", "n_choices", "kind"), CASES)
@pytest.mark.parametrize("shared", [False, True])
def test_an_update_moves_models_critics_and_policies(
    base: dict[str, Any], n_choices: int, kind: str, shared: bool
) -> None:
    one = make(kind, base={**base, "share_parameters": shared}, n_choices=n_choices)
    before = parameters_of(one.algorithm)
    for _ in range(2):  # the model only as far as it gets better on held-out data
        log = one.update(real(one))
    assert all(math.isfinite(value) for value in log.values())
    after = parameters_of(one.algorithm)
    for part in ("base.policy", "base.critic", "dynamics.models"):
        names = [name for name in before if name.startswith(part)]
        assert names and any(not torch.equal(before[name], after[name]) for name in names)


@pytest.mark.parametrize(("base", "n_choices", "kind"), CASES)
@pytest.mark.parametrize("model_every", [1, 2])
def test_a_saved_algorithm_learns_on_as_the_original(
    base: dict[str, Any], n_choices: int, kind: str, model_every: int
) -> None:
    settings = {
        "base": base,
        "n_choices": n_choices,
        "model": {"ensemble": 2, "gaussian": True},
        "model_every": model_every,
        "model_probability": 0.5,
        "max_model_error": 5.0,
    }
    one, other = (make(kind, seed=seed, **settings) for seed in (0, 1))
    one.update(real(one))
    file = io.BytesIO()
    torch.save(one.algorithm.state_dict(), file)
    file.seek(0)
    other.algorithm.load_state_dict(torch.load(file, weights_only=True))
    for seed in (5, 6):
        assert one.update(real(one, seed), seed=seed) == other.update(real(one, seed), seed=seed)
    mine, theirs = parameters_of(one.algorithm), parameters_of(other.algorithm)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize("base", BASES)
def test_generators_alone_decide_an_update(base: dict[str, Any]) -> None:
    runs = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        one = make(base=base, model={"ensemble": 2, "gaussian": True})
        log = one.update(real(one))
        runs.append((log, parameters_of(one.algorithm)))
    assert runs[0][0] == runs[1][0] and not any(moved(runs[0][1], runs[1][1], 5))
