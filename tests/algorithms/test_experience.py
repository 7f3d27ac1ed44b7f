"""What is kept of real data, in which order, and which part is held out."""

from __future__ import annotations

import copy
import io
import random
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from trafficrl.algorithms.experience import BLOCK, COLUMNS, Experience
from trafficrl.algorithms.rollout import Links, Rollout

from .systems import Team

AGENTS = 3


@dataclass(frozen=True)
class Row:
    """Where a row comes from, and whether an episode goes on after it."""

    rollout: int
    replica: int
    step: int
    active: bool
    ended: bool


def marked_rollout(number: int, replicas: int, steps: int, *, messy: bool = True) -> Rollout:
    """Each observation names its rollout, replica and step; ends and waiting are random."""
    draw = torch.Generator().manual_seed(number)
    rollout = Team("dppo", agents=AGENTS).rollout(number, replicas, steps)
    rollout.obs = torch.zeros(replicas, steps, AGENTS, 3)
    rollout.obs[..., 0] = number
    rollout.obs[..., 1] = torch.arange(replicas)[:, None, None]
    rollout.obs[..., 2] = torch.arange(steps)[:, None]
    rollout.next_obs = torch.zeros_like(rollout.obs)
    if messy:
        rollout.terminated = torch.rand(replicas, steps, generator=draw) < 0.05
        rollout.truncated = torch.rand(replicas, steps, generator=draw) < 0.05
        rollout.active = torch.rand(replicas, steps, generator=draw) < 0.9
    return rollout


def rows_of(rollout: Rollout) -> list[Row]:
    replicas, steps = rollout.active.shape
    return [
        Row(
            int(rollout.obs[b, t, 0, 0]),
            b,
            t,
            bool(rollout.active[b, t]),
            bool(rollout.terminated[b, t] or rollout.truncated[b, t]),
        )
        for b in range(replicas)
        for t in range(steps)
    ]


def follows(one: Row, other: Row) -> bool:
    same = (one.rollout, one.replica, one.step + 1) == (other.rollout, other.replica, other.step)
    return same and not one.ended


def brute_windows(rows: list[Row], parts: list[bool], length: int, held_out: bool) -> list[int]:
    found = []
    for first in range(len(rows) - length + 1):
        stretch = range(first, first + length)
        inside = all(rows[r].active and parts[r] == held_out for r in stretch)
        if inside and all(follows(rows[r], rows[r + 1]) for r in stretch[:-1]):
            found.append(first)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_windows_stay_in_one_episode_rollout_replica_and_part(seed: int) -> None:
    """Against brute force, with random ends, waiting replicas and a capacity that cuts."""
    dice, draw = random.Random(seed), torch.Generator().manual_seed(seed)
    capacity = dice.choice([250, 400, 10_000])
    kept, rows = Experience(capacity, held_out=0.4), []
    for number in range(4):
        rollout = marked_rollout(10 * seed + number, dice.randint(1, 3), dice.randint(20, 120))
        kept.add(rollout, draw)
        rows = (rows + rows_of(rollout))[-capacity:]
        parts = kept.columns["held_out"].tolist()
        assert len(kept) == len(rows)
        for length in (1, 2, 4, 10, 25):
            for held_out in (False, True):
                found = kept.windows(length, held_out).tolist()
                assert found == brute_windows(rows, parts, length, held_out)
    assert len(kept.windows(2, False)) > 0 and len(kept.windows(2, True)) > 0


def test_a_window_longer_than_everything_does_not_exist() -> None:
    kept = Experience(1000)
    kept.add(marked_rollout(0, 1, 5, messy=False))
    assert kept.windows(5, False).tolist() == [0]
    assert kept.windows(6, False).tolist() == [] and kept.windows(5, True).tolist() == []


# --- what is kept


@pytest.mark.parametrize("kind", ["line", "changes"])
def test_checkpoints_with_what_followed_every_row_are_read(kind: str) -> None:
    """As they were before only what followed the ends of stretches was kept."""
    team, kept, other = Team("dppo", kind, value_hops=2), Experience(25), Experience(25)
    for seed in range(3):
        kept.add(team.rollout(seed, replicas=2, steps=6))
    every, state = torch.arange(25), kept.state_dict()
    del state["final_obs"], state["final_links"]
    columns = {name: state["columns"][name] for name in (*COLUMNS, "last", "held_out")}
    state["columns"] = {**columns, "next_obs": kept.next_obs(every)}
    next_links = kept.next_links(every)
    state["next_links"] = [*next_links.policy, *next_links.value]
    other.load_state_dict(state)
    assert torch.equal(kept.next_obs(every), other.next_obs(every))
    for a, b in zip((*next_links.policy, *next_links.value), _links(other, every), strict=True):
        assert torch.equal(a, b)


def _links(kept: Experience, rows: Tensor) -> list[Tensor]:
    links = kept.next_links(rows)
    return [*links.policy, *links.value]


@pytest.mark.parametrize("kind", ["line", "changes"])
def test_the_newest_rows_are_kept_with_their_links(kind: str) -> None:
    team, kept = Team("dppo", kind, value_hops=2), Experience(25)
    rollouts = [team.rollout(seed, replicas=2, steps=6) for seed in range(4)]
    for number, rollout in enumerate(rollouts):
        rollout.terminated[0, number] = True
        if kind == "changes":  # links that tell rollouts apart
            for links in (rollout.links, rollout.next_links):
                for index, _ in (links.policy, links.value):
                    index += 100 * number
        kept.add(rollout)
        assert len(kept) == min(25, 12 * (number + 1))
    assert kept.rollouts == [1, 12, 12]
    for name in COLUMNS:
        every = torch.cat([getattr(rollout, name).flatten(0, 1) for rollout in rollouts])
        assert torch.equal(kept.columns[name], every[-25:])
    every = torch.cat([rollout.next_obs.flatten(0, 1) for rollout in rollouts])
    assert torch.equal(kept.next_obs(torch.arange(25)), every[-25:])
    found = {"links": kept.links, "next_links": kept.next_links(torch.arange(25))}
    for name in ("policy", "value"):
        for place in (0, 1):
            for which in ("links", "next_links"):
                own = getattr(found[which], name)[place]
                parts = [getattr(getattr(rollout, which), name)[place] for rollout in rollouts]
                if kind == "line":
                    assert torch.equal(own, parts[0])
                else:
                    assert torch.equal(own, torch.cat([x.flatten(0, 1) for x in parts])[-25:])


@pytest.mark.parametrize("kind", ["line", "changes"])
@pytest.mark.parametrize("first", [4, 10])
def test_what_a_full_one_moves_is_not_what_another_holds(kind: str, first: int) -> None:
    """Whether the first rollout fills it or a later one."""
    team, small, large = Team("dppo", kind, value_hops=2), Experience(5), Experience(100)
    rollouts = [team.rollout(seed, 1, steps) for seed, steps in enumerate((first, 10, 3, 3))]
    copies = copy.deepcopy(rollouts)
    for rollout in rollouts:
        large.add(rollout)
        small.add(rollout)
    for name in COLUMNS:
        every = torch.cat([getattr(one, name).flatten(0, 1) for one in copies])
        assert torch.equal(large.columns[name], every)
        assert torch.equal(small.columns[name], every[-5:])
    for rollout, before in zip(rollouts, copies, strict=True):
        assert torch.equal(rollout.obs, before.obs)
        assert torch.equal(rollout.links.value[0], before.links.value[0])


def test_a_rollout_larger_than_the_capacity_is_cut() -> None:
    kept = Experience(7)
    for number in range(2):
        kept.add(marked_rollout(number, 2, 6, messy=False))
        assert len(kept) == 7 and kept.rollouts == [7]
        assert (kept.columns["obs"][:, 0, 0] == number).all()


def test_rows_that_count_are_active_and_of_the_newest_rollouts_on_request() -> None:
    kept, rollouts = Experience(1000), [marked_rollout(number, 2, 30) for number in range(3)]
    for rollout in rollouts:
        kept.add(rollout)
    rows = [row for rollout in rollouts for row in rows_of(rollout)]
    for newest in (None, 1, 2, 3, 9):
        first = 0 if newest is None else 3 - newest
        expected = [r for r, row in enumerate(rows) if row.active and row.rollout >= first]
        assert kept.rows(newest).tolist() == expected


# --- what is held out


def held_blocks(kept: Experience, replicas: int, steps: int) -> Tensor:
    """Whether each block of the newest rollout is held out, after checking that it is as one."""
    grid = kept.columns["held_out"][-replicas * steps :].view(replicas, steps)
    blocks = []
    for block in grid.split(BLOCK, dim=1):
        assert (block == block[:, :1]).all()
        blocks.append(block[:, 0])
    return torch.stack(blocks, 1)


def test_whole_blocks_are_held_out_in_the_proportion_asked_for() -> None:
    kept, draw = Experience(10**6, held_out=0.2), torch.Generator().manual_seed(0)
    found = []
    for number in range(20):
        kept.add(marked_rollout(number, 8, 220), draw)
        found.append(held_blocks(kept, 8, 220))
    share = torch.stack(found).float()  # 20 rollouts of 8 x 5 blocks
    assert share.mean().item() == pytest.approx(0.2, abs=5 * (0.16 / share.numel()) ** 0.5)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("part", [1e-9, 1 - 1e-9])
def test_from_the_first_rollout_on_there_is_something_of_both_parts(seed: int, part: float) -> None:
    kept, draw = Experience(10**6, held_out=part), torch.Generator().manual_seed(seed)
    kept.add(marked_rollout(0, 1, 2 * BLOCK, messy=False), draw)
    assert held_blocks(kept, 1, 2 * BLOCK).sum() == 1


@pytest.mark.parametrize("seed", range(10))
def test_a_phase_is_held_out_only_once_it_has_been_trained_on(seed: int) -> None:
    kept, draw = Experience(10**6, held_out=0.9), torch.Generator().manual_seed(seed)
    trained = torch.zeros(4, dtype=torch.bool)
    for number in range(6):
        kept.add(marked_rollout(number, 1, 4 * BLOCK, messy=False), draw)
        held = held_blocks(kept, 1, 4 * BLOCK)[0]
        late = torch.arange(4) == 3  # the first rollout holds out its end
        assert not (held & ~trained & ~(late & (number == 0))).any()
        trained |= ~held
    assert trained.all()


def test_once_held_out_is_held_out_for_good() -> None:
    kept, draw = Experience(500, held_out=0.5), torch.Generator().manual_seed(0)
    parts: dict[tuple[float, ...], bool] = {}
    for number in range(5):
        kept.add(marked_rollout(number, 2, 120), draw)
        names = [tuple(row) for row in kept.columns["obs"][:, 0].tolist()]
        for name, held_out in zip(names, kept.columns["held_out"].tolist(), strict=True):
            assert parts.setdefault(name, held_out) == held_out
    assert len(parts) == 5 * 240


def test_without_a_generator_nothing_is_held_out() -> None:
    kept = Experience(1000, held_out=0.5)
    kept.add(marked_rollout(0, 2, 200))
    assert not kept.columns["held_out"].any()


# --- saving


@pytest.mark.parametrize("kind", ["line", "changes"])
def test_a_saved_one_goes_on_as_the_original(kind: str) -> None:
    team = Team("dppo", kind)
    kept = Experience(30, held_out=0.5)
    kept.add(team.rollout(0), torch.Generator().manual_seed(0))
    file = io.BytesIO()
    torch.save(kept.state_dict(), file)
    file.seek(0)
    other = Experience(30, held_out=0.5)
    other.load_state_dict(torch.load(file, weights_only=True))
    for one in (kept, other):
        one.add(team.rollout(1), torch.Generator().manual_seed(1))
    assert kept.rollouts == other.rollouts == [12, 18]
    for name, column in kept.columns.items():
        assert torch.equal(column, other.columns[name])
    every = torch.arange(len(kept))
    assert torch.equal(kept.next_obs(every), other.next_obs(every))
    for a, b in (
        (kept.links, other.links),
        (kept.next_links(every), other.next_links(every)),
    ):
        assert isinstance(a, Links) and isinstance(b, Links)
        for x, y in zip((*a.policy, *a.value), (*b.policy, *b.value), strict=True):
            assert torch.equal(x, y)


@pytest.mark.parametrize("kind", ["line", "changes"])
def test_a_file_holds_what_there_is_and_not_what_there_may_be(kind: str) -> None:
    team, kept, exact = Team("dppo", kind), Experience(71), Experience(36)
    sizes = []
    for one in (kept, exact):
        for seed in range(2):
            one.add(team.rollout(seed))
        file = io.BytesIO()
        torch.save(one.state_dict(), file)
        sizes.append(file.tell())
    held = [one.columns["obs"].untyped_storage().nbytes() for one in (kept, exact)]
    assert held[0] > 1.9 * held[1] and sizes[0] < 1.05 * sizes[1]


def test_an_empty_one_can_be_saved() -> None:
    other = Experience(30)
    other.load_state_dict(Experience(30).state_dict())
    assert len(other) == 0 and other.links is None
