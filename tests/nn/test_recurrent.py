"""Stacked LSTM cells against N separate ones of torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from trafficrl.nn.recurrent import StackedLSTMCell

AGENTS, SAMPLES, INPUTS, HIDDEN = 3, 7, 5, 4


def stacked(sets: int = AGENTS) -> StackedLSTMCell:
    cell = StackedLSTMCell(sets, INPUTS, HIDDEN, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        cell.gates.bias.normal_(generator=torch.Generator().manual_seed(1))
    return cell


def separate(cell: StackedLSTMCell, agent: int) -> nn.LSTMCell:
    """The agent's own cell, with its slice of the stacked weights."""
    own = nn.LSTMCell(INPUTS, HIDDEN)
    weight, bias = cell.gates.weight[agent].T, cell.gates.bias[agent, 0]
    with torch.no_grad():
        own.weight_ih.copy_(weight[:, :INPUTS])
        own.weight_hh.copy_(weight[:, INPUTS:])
        own.bias_ih.copy_(bias)
        own.bias_hh.zero_()
    return own


def inputs() -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(2)
    x = torch.randn(AGENTS, SAMPLES, INPUTS, generator=draw)
    hidden, cell = torch.randn(2, AGENTS, SAMPLES, HIDDEN, generator=draw)
    return x, hidden, cell


@pytest.mark.parametrize("sets", [AGENTS, 1])
def test_every_agent_has_the_states_of_a_cell_of_its_own(sets: int) -> None:
    one, (x, hidden, cell) = stacked(sets), inputs()
    found = one(x, hidden, cell)
    for agent in range(AGENTS):
        expected = separate(one, agent % sets)(x[agent], (hidden[agent], cell[agent]))
        for mine, theirs in zip(found, expected, strict=True):
            torch.testing.assert_close(mine[agent], theirs)


def test_gradients_through_time_are_those_of_cells_of_their_own() -> None:
    one, (x, hidden, cell) = stacked(), inputs()
    h, c = hidden, cell
    for _ in range(3):
        h, c = one(x, h, c)
    h.square().mean((1, 2)).sum().backward()
    for agent in range(AGENTS):
        own, state = separate(one, agent), (hidden[agent], cell[agent])
        for _ in range(3):
            state = own(x[agent], state)
        state[0].square().mean().backward()
        expected = torch.cat([own.weight_ih.grad, own.weight_hh.grad], 1).T
        torch.testing.assert_close(one.gates.weight.grad[agent], expected)
        torch.testing.assert_close(one.gates.bias.grad[agent, 0], own.bias_ih.grad)


def test_a_fresh_cell_keeps_most_of_what_it_holds() -> None:
    one = StackedLSTMCell(AGENTS, INPUTS, HIDDEN, generator=torch.Generator().manual_seed(0))
    nothing = torch.zeros(AGENTS, SAMPLES, HIDDEN)
    held = torch.ones_like(nothing)
    _, cell = one(torch.zeros(AGENTS, SAMPLES, INPUTS), nothing, held)
    torch.testing.assert_close(cell, torch.full_like(cell, 0.7310586))  # sigmoid(1)
