"""Messages between processes: tensors and plain containers, as checkpoints have them.

Nothing that comes in can run code.
"""

from __future__ import annotations

import io
from dataclasses import fields, is_dataclass
from typing import Any

import torch

from trafficrl.algorithms.rollout import Links, Rollout
from trafficrl.simulation.sumo_warnings import SumoWarning, Tally
from trafficrl.training.collector import Collected
from trafficrl.training.episodes import EpisodeSummary
from trafficrl.training.shard import Haul, Opening, Validated

KIND = "dataclass"  # the key that says which one a mapping was
KINDS = {
    kind.__name__: kind
    for kind in (
        *(Collected, EpisodeSummary, Haul, Links, Opening),
        *(Rollout, SumoWarning, Tally, Validated),
    )
}


def pack(message: Any) -> bytes:
    """Anything made of tensors, plain containers and the dataclasses of ``KINDS``, as bytes."""
    stream = io.BytesIO()
    torch.save(_plain(message), stream)
    return stream.getvalue()


def unpack(data: bytes) -> Any:
    """The message again."""
    return _rebuilt(torch.load(io.BytesIO(data), weights_only=True))


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        kind = type(value).__name__
        content = {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
        return {KIND: kind, **content}
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(one) for one in value)
    return value


def _rebuilt(value: Any) -> Any:
    if isinstance(value, dict):
        content = {key: _rebuilt(one) for key, one in value.items()}
        kind = content.pop(KIND, None)
        return content if kind is None else KINDS[kind](**content)
    if isinstance(value, list | tuple):
        return type(value)(_rebuilt(one) for one in value)
    return value
