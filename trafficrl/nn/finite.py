"""What a network puts out must be numbers before something is drawn from it."""

from __future__ import annotations

from torch import Tensor

from trafficrl.errors import NumericalError


def no_nan(what: str, values: Tensor) -> Tensor:
    """``values`` (N, S, ...); ``NumericalError`` that names the agent if one of them is NaN."""
    if values.isnan().any():
        agent = int(values.isnan().nonzero()[0, 0])
        raise NumericalError(f"cav_{agent}: what its {what} puts out is nan")
    return values
