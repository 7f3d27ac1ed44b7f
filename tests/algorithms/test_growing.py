"""Rows that grow in place are those that were put there, and files hold no more."""

import io

import pytest
import torch

from trafficrl.algorithms.growing import appended, compact


@pytest.mark.parametrize("seed", range(5))
def test_rows_are_the_newest_of_all_that_came(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    capacity = (7, 1500, 3000, 5000, 10**6)[seed]
    rows = every = torch.rand(3, 2, generator=draw)
    rows = rows.clone()
    for _ in range(30):
        count = int(torch.randint(1, 400, (1,), generator=draw))
        new = torch.rand(count, 2, generator=draw)
        rows = appended(rows, new, max(0, len(rows) + count - capacity), capacity)
        every = torch.cat([every, new])
        assert torch.equal(rows, every[-capacity:])


def test_growing_copies_at_most_half_of_what_may_be_held_and_seldom() -> None:
    capacity = 100_000
    rows, places = torch.zeros(100, 3), []
    while len(rows) < 3 * capacity // 2:
        before = len(rows)
        place = rows.data_ptr()
        drop = max(0, len(rows) + 100 - capacity)
        rows = appended(rows, torch.zeros(100, 3), drop, capacity)
        if rows.data_ptr() != place:
            places.append(before)
        if drop:
            break
    assert max(places) <= capacity // 2
    assert len(places) <= 11
    assert rows.untyped_storage().nbytes() == capacity * 3 * 4


def test_rows_that_fill_their_memory_or_begin_within_it_grow_too() -> None:
    """As those do that were loaded, and those of which the first are left out."""
    for old in (torch.arange(900.0).view(300, 3), torch.arange(909.0).view(303, 3)[3:]):
        rows, expected = old, old.clone()
        for count in (50, 400, 10):
            new = torch.rand(count, 3)
            rows = appended(rows, new, max(0, len(rows) + count - 700), 700)
            expected = torch.cat([expected, new])[-700:]
            assert torch.equal(rows, expected)


def test_a_single_row_has_room_made_for_it() -> None:
    rows = appended(torch.zeros(1, 2), torch.ones(1, 2), 1, 1)
    assert rows.tolist() == [[1.0, 1.0]]
    assert len(appended(torch.zeros(1, 2), torch.ones(1, 2), 0, 2)) == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool, torch.int16])
def test_a_file_of_rows_has_no_room_in_it(dtype: torch.dtype) -> None:
    rows = appended(torch.ones(100, 5, dtype=dtype), torch.ones(10, 5, dtype=dtype), 0, 10**6)
    file = io.BytesIO()
    torch.save(compact(rows), file)
    assert file.tell() < 110 * 5 * rows.element_size() + 4096
    file.seek(0)
    assert torch.equal(torch.load(file), rows)
