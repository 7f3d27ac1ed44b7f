"""Random streams: repeatable, and never the same for two purposes."""

from __future__ import annotations

from itertools import product
from typing import get_args

import torch

from trafficrl.training.seeding import Purpose, numpy_stream, torch_stream

PURPOSES = get_args(Purpose)


def test_a_stream_repeats() -> None:
    for purpose in PURPOSES:
        first, second = (numpy_stream(purpose, 3, 1).random(5).tolist() for _ in range(2))
        assert first == second
        first, second = (torch.rand(5, generator=torch_stream(purpose, 3)) for _ in range(2))
        assert torch.equal(first, second)


def test_streams_of_purposes_seeds_and_indices_are_distinct() -> None:
    keys = list(product(PURPOSES, range(6), range(6)))
    starts = {numpy_stream(*key).integers(2**63) for key in keys}
    assert len(starts) == len(keys)


def test_torch_streams_of_purposes_and_seeds_are_distinct() -> None:
    keys = list(product(PURPOSES, range(20)))
    starts = {torch_stream(*key).initial_seed() for key in keys}
    assert len(starts) == len(keys)


def test_drawing_from_one_stream_does_not_shift_another() -> None:
    alone = numpy_stream("environment", 0).random(3).tolist()
    environment, validation = numpy_stream("environment", 0), numpy_stream("validation", 0)
    validation.random(100)
    torch.rand(3, generator=torch_stream("policy", 0))
    assert environment.random(3).tolist() == alone


def test_large_seeds_are_seeds() -> None:
    big = 2**63 - 1
    assert numpy_stream("policy", big).random() != numpy_stream("policy", big - 1).random()
    assert torch_stream("policy", big).initial_seed() != torch_stream("policy", 0).initial_seed()
