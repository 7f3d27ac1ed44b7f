"""Recurrent cells on stacked weights, agent-first."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from trafficrl.nn.stacked import StackedLinear


class StackedLSTMCell(nn.Module):
    """``sets`` LSTM cells: inputs (N, S, I), hidden and cell states (N, S, H).

    The gates stand in the order of ``torch.nn.LSTMCell``, whose equations these are.
    """

    def __init__(self, sets: int, inputs: int, hidden: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.gates = StackedLinear(sets, inputs + hidden, 4 * hidden, gain=1.0, generator=generator)
        with torch.no_grad():
            # A fresh cell remembers (Jozefowicz et al., 2015).
            self.gates.bias[..., hidden : 2 * hidden] = 1.0

    def forward(self, x: Tensor, hidden: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
        """The next hidden and cell states."""
        gates: Tensor = self.gates(torch.cat([x, hidden], -1))
        take, keep, new, show = gates.chunk(4, -1)
        cell = keep.sigmoid() * cell + take.sigmoid() * new.tanh()
        return show.sigmoid() * cell.tanh(), cell
