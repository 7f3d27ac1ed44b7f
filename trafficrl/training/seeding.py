"""One seed, many independent streams: one for each purpose.

Adding draws to one stream never shifts another, and streams of different
purposes cannot meet, whatever the seeds: training never sees the episodes of
validation, nor validation those of evaluation.
"""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch

from trafficrl.algorithms.base import Streams

Purpose = Literal[
    "environment",
    "policy",
    "weights",
    "minibatches",
    "validation",
    "evaluation",
    "actions",
    "model",
]


def numpy_stream(purpose: Purpose, seed: int, index: int = 0) -> np.random.Generator:
    """Stream ``index`` of a purpose, as a NumPy generator."""
    return np.random.default_rng(_sequence(purpose, seed, index))


def torch_stream(
    purpose: Purpose, seed: int, device: str = "cpu", *, index: int = 0
) -> torch.Generator:
    """Stream ``index`` of a purpose, as a torch generator."""
    words = _sequence(purpose, seed, index).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(words[0] >> np.uint64(1)))


def update_streams(seed: int, device: str = "cpu") -> Streams:
    """The streams of a learner's updates."""
    return Streams(
        minibatches=torch_stream("minibatches", seed),
        actions=torch_stream("actions", seed, device),
        model=torch_stream("model", seed, device),
    )


def _sequence(purpose: Purpose, seed: int, index: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed, spawn_key=(get_args(Purpose).index(purpose), index))
