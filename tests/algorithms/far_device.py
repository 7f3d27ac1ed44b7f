"""A device that is not the CPU's, on machines that have no other.

``meta`` tensors have shapes and a device, but no values: what mixes them with
tensors of the CPU fails, as it would on a GPU. Where a GPU would have to be
waited for, as values are asked for, ``FarDevice`` counts and makes an answer up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

FAR = "meta"
ANSWERS: dict[str, Any] = {"__bool__": True, "item": 0.5, "__float__": 0.5, "__int__": 1}


class FarDevice(TorchFunctionMode):
    """While it is entered, asking for values on ``FAR`` is counted in ``waits`` by kind."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: Counter[str] = Counter()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name, kwargs = getattr(func, "__name__", ""), kwargs or {}
        if args and _is_far(args[0]):
            if name in ANSWERS:
                self.waits[name] += 1
                return ANSWERS[name]
            if name in ("cpu", "to") and not _is_far_device(args, kwargs, name):
                self.waits["cpu"] += 1
                return torch.zeros(args[0].shape, dtype=args[0].dtype)
            if name == "nonzero":
                self.waits[name] += 1
                return torch.arange(len(args[0]), device=FAR)[:, None]
            if name in ("__getitem__", "__setitem__") and _masks(args[1]):
                self.waits[name] += 1
                index = tuple(part for one in _tuple(args[1]) for part in _everywhere(one))
                return func(args[0], index, *args[2:], **kwargs)
        return func(*args, **kwargs)


def _is_far(value: Any) -> bool:
    return isinstance(value, Tensor) and value.device.type == FAR


def _is_far_device(args: Any, kwargs: Any, name: str) -> bool:
    wanted = [*args[1:], *kwargs.values()]
    named = [one for one in wanted if isinstance(one, str | torch.device)]
    return name == "to" and (not named or torch.device(named[0]).type == FAR)


def _tuple(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def _masks(index: Any) -> bool:
    return any(isinstance(one, Tensor) and one.dtype == torch.bool for one in _tuple(index))


def _everywhere(one: Any) -> list[Any]:
    """As if a mask chose all."""
    if not (isinstance(one, Tensor) and one.dtype == torch.bool):
        return [one]
    grid = torch.meshgrid(*(torch.arange(n, device=FAR) for n in one.shape), indexing="ij")
    return [part.flatten() for part in grid]
