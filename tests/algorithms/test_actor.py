"""Policies that are picked by an index act as the agents do that have learned them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from trafficrl.algorithms import ALGORITHMS
from trafficrl.algorithms.rollout import Links

from .systems import SMALL_SACBASE, Team, parameters_of

AGENTS = 5
DEAL = [2, 2, 0, 4, 1]
KINDS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in sorted(ALGORITHMS)),
    ("dmpo", {"base": SMALL_SACBASE}),
]


def team(name: str, changes: dict[str, Any], n_choices: int = 0, shared: bool = False) -> Team:
    """Agents on a line who have learned something, each with a will of its own."""
    changes = {**changes}
    if name == "dmpo":
        changes["base"] = {**changes.get("base", {}), "share_parameters": shared}
    else:
        changes["share_parameters"] = shared
    one = Team(name, "line", AGENTS, n_choices=n_choices, **changes)
    draw = torch.Generator().manual_seed(7)
    learner = getattr(one.algorithm, "base", one.algorithm)
    with torch.no_grad():
        for part in learner.acting:
            for parameter in getattr(learner, part).parameters():
                parameter.add_(0.5 * torch.randn(parameter.shape, generator=draw))
    return one


def memory_of(one: Team) -> Tensor:
    draw = torch.Generator().manual_seed(3)
    shape = (4, AGENTS, one.algorithm.memory_width)
    return torch.rand(shape, generator=draw).round(decimals=1)


def swapped(x: Tensor, i: int, j: int) -> Tensor:
    """``x`` (B, N, ...) with agents i and j in each other's place."""
    order = torch.arange(AGENTS)
    order[[i, j]] = order[[j, i]]
    return x[:, order]


def links_swapped(links: Links, i: int, j: int) -> Links:
    order = torch.arange(AGENTS)
    order[[i, j]] = order[[j, i]]
    a, b, c, d = (x[order] for x in (*links.policy, *links.value))
    return Links((order[a], b), (order[c], d))


@pytest.mark.parametrize("n_choices", [0, 3])
@pytest.mark.parametrize(("name", "changes"), KINDS)
def test_a_vehicle_acts_as_the_agent_would_in_its_place(
    name: str, changes: dict[str, Any], n_choices: int
) -> None:
    one = team(name, changes, n_choices)
    obs, links, memory = one.obs(4), one.links(), memory_of(one)
    got = one.algorithm.actor(torch.tensor(DEAL)).act(obs, links, memory, None)
    for vehicle, policy in enumerate(DEAL):
        places = vehicle, policy
        expected = one.algorithm.act(
            swapped(obs, *places), links_swapped(links, *places), swapped(memory, *places), None
        )
        torch.testing.assert_close(got.action[:, vehicle], expected.action[:, policy])
        torch.testing.assert_close(got.memory[:, vehicle], expected.memory[:, policy])
    own = one.algorithm.act(obs, links, memory, None).action
    assert not torch.equal(got.action, own)


@pytest.mark.parametrize(("name", "changes"), KINDS)
def test_own_policies_in_order_are_the_same_bits(name: str, changes: dict[str, Any]) -> None:
    one = team(name, changes)
    obs, links, memory = one.obs(4), one.links(), memory_of(one)
    got = one.algorithm.actor(torch.arange(AGENTS)).act(obs, links, memory, None)
    expected = one.algorithm.act(obs, links, memory, None)
    assert torch.equal(got.action, expected.action) and torch.equal(got.memory, expected.memory)


@pytest.mark.parametrize(("name", "changes"), KINDS)
def test_a_shared_policy_drives_any_number(name: str, changes: dict[str, Any]) -> None:
    one, more = team(name, changes, shared=True), Team(name, "line", 9, **changes)
    actor = one.algorithm.actor(torch.zeros(9, dtype=torch.int64))
    obs, memory = more.obs(2), torch.zeros(2, 9, one.algorithm.memory_width)
    got = actor.act(obs, more.links(), memory, None).action
    expected = one.algorithm.act(obs[:, :5], one.links(), memory[:, :5], None).action
    assert got.shape == (2, 9, 1)
    # The first three of a line hear nobody behind the fourth.
    torch.testing.assert_close(got[:, :3], expected[:, :3])


@pytest.mark.parametrize(("name", "changes"), KINDS)
def test_what_was_picked_stays_apart_from_what_learns_on(
    name: str, changes: dict[str, Any]
) -> None:
    one = team(name, changes)
    before = parameters_of(one.algorithm)
    actor = one.algorithm.actor(torch.tensor(DEAL))
    obs, links, memory = one.obs(4), one.links(), memory_of(one)
    first = actor.act(obs, links, memory, None).action
    after = parameters_of(one.algorithm)
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    one.update(one.rollout())
    assert torch.equal(first, actor.act(obs, links, memory, None).action)


@pytest.mark.parametrize(("name", "changes"), KINDS)
def test_who_is_not_there_changes_nothing(name: str, changes: dict[str, Any]) -> None:
    """Slots without a neighbour, as another graph may have them, may name anybody."""
    one = team(name, changes)
    obs, links, memory = one.obs(4), one.links(), memory_of(one)
    index, mask = links.policy
    assert not mask.all()
    elsewhere = torch.where(mask, index, (index + 2) % AGENTS)
    got = one.algorithm.act(obs, Links((elsewhere, mask), links.value), memory, None).action
    assert torch.equal(got, one.algorithm.act(obs, links, memory, None).action)
