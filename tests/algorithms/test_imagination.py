"""Imagined rollouts: what a right model imagines is what happens."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from trafficrl.algorithms.advantages import bootstrapped_returns
from trafficrl.algorithms.imagination import imagine
from trafficrl.algorithms.rollout import Links, Rollout, at_steps
from trafficrl.nn.encoding import FeatureSpec

from .conftest import streams
from .systems import AGENTS, SMALL_SACBASE, Team, linear_data, make_perfect, price, system

PLAIN = [FeatureSpec()]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def perfect(end: float = torch.inf, **changes: Any) -> Team:
    """DMPO whose model is the linear system, with real data to branch from."""
    one = Team("dmpo", features=PLAIN, **changes)
    one.algorithm.dynamics.add(linear_data(generator(), replicas=4, steps=20), generator())
    make_perfect(one.algorithm.dynamics.models[0], *one.links().policy, end=end)
    return one


def branched(one: Team, count: int = 50, length: int = 6, seed: int = 1) -> Rollout:
    rows = torch.randint(80, (count,), generator=generator(seed))
    return imagine(one.algorithm.base, one.algorithm.dynamics, rows, length, generator(seed))


def trained(kind: str = "line", *, base: dict[str, Any] | None = None, **changes: Any) -> Team:
    """DMPO with a model of random experience."""
    settings = {"base": base} if base else {}
    one = Team("dmpo", kind, model=changes.pop("model", {}), **settings, **changes)
    one.algorithm.dynamics.add(one.rollout(replicas=4, steps=60), generator())
    one.algorithm.dynamics.train(generator())
    return one


# --- a model that is right


def test_under_a_perfect_model_imagined_rollouts_are_real_ones() -> None:
    rollout = branched(perfect())
    x = rollout.obs[:, 0, :, 0]
    for t in range(6):
        a = rollout.action[:, t, :, 0]
        torch.testing.assert_close(rollout.obs[:, t, :, 0], x, rtol=1e-4, atol=1e-4)
        x = x @ system().T + a
        torch.testing.assert_close(rollout.next_obs[:, t, :, 0], x, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(rollout.reward[:, t], price(x), rtol=1e-4, atol=1e-3)
    assert not rollout.terminated.any() and not rollout.truncated.any() and rollout.active.all()


def test_each_step_begins_where_the_last_one_led() -> None:
    rollout = branched(trained())
    assert torch.equal(rollout.obs[:, 1:], rollout.next_obs[:, :-1])


@pytest.mark.parametrize("n_choices", [0, 3])
def test_actions_are_those_of_the_present_policies_in_what_is_imagined(n_choices: int) -> None:
    one = trained(n_choices=n_choices)
    base, rollout = one.algorithm.base, branched(one)
    inputs = base.encoder.neighbourhood(rollout.obs, *rollout.links.policy)
    action = rollout.action.flatten(0, 1).transpose(0, 1)
    log_prob, _ = base.policy.evaluate(inputs, action)
    expected = rollout.log_prob.flatten(0, 1).transpose(0, 1)
    torch.testing.assert_close(log_prob, expected, rtol=1e-4, atol=1e-5)
    assert len(action.unique()) > (2 if n_choices else 100)


# --- the end of an episode


def test_a_branch_stops_where_the_end_is_predicted() -> None:
    one = perfect(end=0.8)
    one.algorithm.dynamics.models[0].end_reward[:] = -100.0
    rollout = branched(one)
    over = (rollout.next_obs[..., 0] > 0.8).any(-1)
    before = over.long().cumsum(1) - over.long() > 0  # an earlier step was the last
    assert torch.equal(rollout.active, ~before)
    assert torch.equal(rollout.terminated, over & ~before)
    assert (rollout.terminated.sum(1) <= 1).all() and not rollout.truncated.any()
    share = rollout.terminated.any(1).float().mean()
    assert 0.1 < share < 0.9
    assert (rollout.reward[rollout.terminated] == -100.0).all()
    goes_on = rollout.active & ~rollout.terminated
    torch.testing.assert_close(
        rollout.reward[goes_on], price(rollout.next_obs[goes_on][..., 0]), rtol=1e-4, atol=1e-3
    )


def test_branches_are_bootstrapped_where_they_do_not_end() -> None:
    """Targets of V against the sums of rewards written out."""
    one = perfect(end=0.8, base={"kind": "dppo", "normalize_values": False})
    base, gamma = one.algorithm.base, one.settings.base.gamma
    rollout = branched(one)
    _, following = base._values_and_next(rollout)
    ends = rollout.terminated, rollout.ended
    found = bootstrapped_returns(rollout.reward, following, *ends, gamma=gamma)
    kinds = set()
    for b in range(len(found)):
        steps = int(rollout.active[b].sum())
        ended = bool(rollout.terminated[b, steps - 1])
        kinds.add(ended)
        total = torch.zeros(AGENTS)
        if not ended:
            links = at_steps(rollout.next_links, torch.tensor(0))
            total = base.values(rollout.next_obs[b, -1:], links)[0].detach()
        for t in reversed(range(steps)):
            total = rollout.reward[b, t] + gamma * total
        torch.testing.assert_close(found[b, 0], total, rtol=1e-4, atol=1e-3)
    assert kinds == {True, False}


def test_what_follows_an_imagined_end_is_not_learned_from() -> None:
    runs = []
    for poison in (0.0, 1e3):
        one = perfect(end=0.8)
        rollout = branched(one)
        assert not rollout.active.all()
        for name in ("obs", "next_obs", "reward", "action"):
            getattr(rollout, name)[~rollout.active] += poison
        one.algorithm.base.learn(rollout, streams(), 0.0)
        runs.append(one.algorithm.base.policy.state_dict())
    assert all(torch.equal(weights, runs[1][name]) for name, weights in runs[0].items())


# --- where branches begin


@pytest.mark.parametrize("newest", [1, 2])
def test_branches_start_from_the_newest_rollouts(newest: int) -> None:
    one = Team("dmpo", branches=400, branch_rollouts=newest)
    for number in range(3):
        rollout = one.rollout(number, replicas=2, steps=6)
        rollout.obs[..., 0] = number
        rollout.active[0, 3:] = False
        one.algorithm.dynamics.add(rollout, generator())
    rows = one.algorithm._branching_rows(streams())
    columns = one.algorithm.dynamics.experience.columns
    assert len(rows) == 400 and columns["active"][rows].all()
    numbers = columns["obs"][rows][:, 0, 0].unique().tolist()
    assert numbers == ([2.0] if newest == 1 else [1.0, 2.0])
    assert len(rows.unique()) == 9 * newest  # every state that counts is as good


def test_a_branch_begins_in_its_real_state() -> None:
    one = trained()
    rows = torch.tensor([5, 17, 5])
    rollout = imagine(one.algorithm.base, one.algorithm.dynamics, rows, 3, generator())
    real = one.algorithm.dynamics.experience.columns["obs"]
    assert torch.equal(rollout.obs[:, 0], real[rows])
    assert not torch.equal(rollout.action[0], rollout.action[2])  # each branch on its own


@pytest.mark.parametrize("kind", ["ring", "changes"])
def test_links_stay_those_of_the_branching_state(kind: str) -> None:
    one, rows = trained(kind, base={"kind": "dppo", "value_hops": 2}), torch.tensor([5, 17, 100])
    dynamics = one.algorithm.dynamics
    rollout = imagine(one.algorithm.base, dynamics, rows, 4, generator())
    real = at_steps(dynamics.experience.links, rows)
    for links in (rollout.links, rollout.next_links):
        for own, expected in zip((*links.policy, *links.value), tensors(real), strict=True):
            if kind == "changes":
                expected = expected[:, None].expand_as(own)
            assert torch.equal(own, expected)
    # and they are what predictions go by
    model = dynamics.models[0]
    for t in range(4):
        found = model(
            rollout.obs[:, t].transpose(0, 1), rollout.action[:, t].transpose(0, 1), *real.policy
        )
        torch.testing.assert_close(found.next_obs.transpose(0, 1), rollout.next_obs[:, t])
    if kind == "changes":
        assert not torch.equal(real.policy[1][0], real.policy[1][1])


def tensors(links: Links) -> tuple[Tensor, ...]:
    return (*links.policy, *links.value)


# --- chance


BASES = [{"kind": "dppo"}, SMALL_SACBASE]


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("n_choices", [0, 3])
def test_the_generator_alone_decides_what_is_imagined(base: dict[str, Any], n_choices: int) -> None:
    one = trained(base=base, n_choices=n_choices, model={"ensemble": 2, "gaussian": True})
    torch.manual_seed(1)
    first = branched(one)
    torch.manual_seed(2)
    again, other = branched(one), branched(one, seed=2)
    for name in ("obs", "action", "log_prob", "reward", "next_obs", "terminated", "active"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert not torch.equal(first.next_obs, other.next_obs)


def test_an_ensemble_is_drawn_from_anew_in_each_step() -> None:
    one = trained(model={"ensemble": 3})
    models, rollout = one.algorithm.dynamics.models, branched(one, length=40)
    used = []
    for t in range(40):
        obs, action = (x[:, t].transpose(0, 1) for x in (rollout.obs, rollout.action))
        says = [model(obs, action, *one.links().policy).next_obs for model in models]
        fits = [torch.allclose(x.transpose(0, 1), rollout.next_obs[:, t]) for x in says]
        assert sum(fits) == 1
        used.append(fits.index(True))
    assert set(used) == {0, 1, 2} and used != sorted(used)


def test_a_gaussian_model_imagines_its_spread() -> None:
    """State deviations 0.3 times the unit 2 of a change; rewards 0.5 in their own units."""
    one = Team("dmpo", features=PLAIN, model={"gaussian": True})
    dynamics = one.algorithm.dynamics
    dynamics.add(linear_data(generator(), replicas=1, steps=2), generator())
    model = dynamics.models[0]
    with torch.no_grad():
        for parameter in model.f_out.parameters():
            parameter.zero_()
        model.f_out.bias[..., 2] = -50.0
        model.f_out.bias[..., 3] = 2 * torch.tensor(0.3).log()
        model.f_out.bias[..., 4] = 2 * torch.tensor(0.5).log()
    model.delta_std.fill_(2.0)
    rollout = imagine(one.algorithm.base, dynamics, torch.zeros(20_000).long(), 1, generator())
    change = (rollout.next_obs - rollout.obs)[:, 0, :, 0]
    reward = model.normalised_rewards(rollout.reward[:, 0].T).T
    for values, spread in ((change, 0.6), (reward, 0.5)):
        torch.testing.assert_close(values.mean(0), torch.zeros(AGENTS), rtol=0, atol=0.02)
        torch.testing.assert_close(
            values.std(0), torch.full((AGENTS,), spread), rtol=0.03, atol=0.0
        )
    both = torch.corrcoef(change.T) - torch.eye(AGENTS)
    assert both.abs().max() < 0.04  # each agent's noise is its own


def test_what_is_imagined_keeps_to_bounds_and_laps() -> None:
    features = [FeatureSpec(low=-0.1, high=0.1), FeatureSpec(period=1.0)]
    one = trained(features=features, model={"gaussian": True})
    rollout = branched(one, length=5)
    clipped, lap = rollout.next_obs[..., 0], rollout.next_obs[..., 1]
    assert clipped.min() == pytest.approx(-0.1) and clipped.max() == pytest.approx(0.1)
    assert lap.min() >= 0.0 and lap.max() <= 1.0


def test_nothing_of_what_is_imagined_carries_gradient() -> None:
    rollout = branched(trained(base=SMALL_SACBASE))
    for name in ("obs", "action", "log_prob", "reward", "next_obs"):
        assert not getattr(rollout, name).requires_grad


def test_shapes_are_those_of_a_real_rollout() -> None:
    for n_choices in (0, 3):
        one = trained(n_choices=n_choices)
        imagined, real = branched(one, count=7, length=6), one.rollout(replicas=7, steps=6)
        for name in Rollout.__slots__:
            if "links" not in name:
                assert getattr(imagined, name).shape == getattr(real, name).shape, name
                assert getattr(imagined, name).dtype == getattr(real, name).dtype, name
