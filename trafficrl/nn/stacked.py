"""Layers that hold the weights of N agents and apply all of them in one product.

Inputs and outputs are agent-first, (N, S, features) with S samples. Agent i's
output depends on its own weights and inputs alone, so the gradient of a sum of
losses over agents is each agent's own gradient. With one set of weights all
agents share it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

Stacked = TypeVar("Stacked", bound=nn.Module)

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh}
# Of what nobody else sees: half the memory to go through.
IN_PLACE: dict[str, Callable[[], nn.Module]] = {
    **ACTIVATIONS,
    "relu": partial(nn.ReLU, inplace=True),
}


class StackedLinear(nn.Module):
    """``sets`` linear layers: (N, S, inputs) -> (N, S, outputs), orthogonal at the start.

    ``sets`` is N, or 1 where all agents share the layer.
    """

    def __init__(
        self, sets: int, inputs: int, outputs: int, *, gain: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        weight = torch.empty(sets, inputs, outputs)
        for own in weight:
            nn.init.orthogonal_(own, gain, generator=generator)
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.zeros(sets, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(self.weight.shape[0], -1, x.shape[-1])
        return self.product(rows).view(*x.shape[:-1], -1)

    def product(self, rows: Tensor) -> Tensor:
        """The same for inputs in the shape of the weights, (sets, samples, inputs)."""
        return torch.baddbmm(self.bias, rows, self.weight)


class StackedMLP(nn.Module):
    """``sets`` multilayer perceptrons: (N, S, inputs) -> (N, S, outputs)."""

    def __init__(
        self,
        sets: int,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        *,
        activation: str,
        output_gain: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in hidden:
            layer = StackedLinear(sets, inputs, width, gain=2**0.5, generator=generator)
            layers += [layer, IN_PLACE[activation]()]
            inputs = width
        layers.append(StackedLinear(sets, inputs, outputs, gain=output_gain, generator=generator))
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(self.sets(), -1, x.shape[-1])
        for layer in self.layers:
            rows = layer.product(rows) if isinstance(layer, StackedLinear) else layer(rows)
        return rows.view(*x.shape[:-1], -1)

    def sets(self) -> int:
        """Sets of weights."""
        last = self.layers[-1]
        assert isinstance(last, StackedLinear)
        return last.weight.shape[0]


def neighbour_states(values: Tensor, index: Tensor) -> Tensor:
    """What each agent's neighbours have, agent-first: (..., N, F) to (N, K, S, F).

    S are the leading dimensions together; ``index`` is (N, K), or (..., N, K)
    where the graph changes. Padded places hold the agent's own.
    """
    n_agents, features = values.shape[-2:]
    first = values.reshape(-1, n_agents, features).transpose(0, 1).contiguous()
    if index.dim() == 2:
        return first[index.long()]
    assert index.shape[:-2] == values.shape[:-2], "one graph for each set of states"
    samples = torch.arange(first.shape[1], device=values.device)
    return first[slots_first(index).long(), samples]


def neighbourhood_values(values: Tensor, index: Tensor, mask: Tensor) -> Tensor:
    """The same sample-first, (S, N, K, F), and 0 in padded places, whatever stands there."""
    found = neighbour_states(values, index).permute(2, 0, 1, 3)
    # where, not a product: what lies outside the neighbourhood may be NaN.
    return torch.where(mask.reshape(-1, *mask.shape[-2:])[..., None], found, 0.0)


def slots_first(x: Tensor) -> Tensor:
    """Links (..., N, K) as (N, K, S)."""
    return x.reshape(-1, *x.shape[-2:]).permute(1, 2, 0)


def per_set(values: Tensor, sets: int) -> Tensor:
    """Means over the agents of each set of weights: (N, ...) to (sets, ...)."""
    return values.reshape(sets, -1, *values.shape[1:]).mean(1)


def picked(module: Stacked, sets: Tensor) -> Stacked:
    """A copy of ``module`` that holds the weights of ``sets`` (M,), to act with, not to learn.

    Every parameter and buffer of the module has one entry a set. One set that
    all share stays one, as it serves any number.
    """
    taken = copy.deepcopy(module).requires_grad_(False)
    for values in (*taken.parameters(), *taken.buffers()):
        if len(values) > 1:
            values.data = values.data[sets]
    return taken


def part_of(module: Stacked, sets: slice) -> Stacked:
    """``module`` for some of its sets, on the same weights: what changes here changes there.

    Gradients are its own.
    """
    shared: dict[int, object] = {
        id(p): nn.Parameter(p.data[sets], p.requires_grad) for p in module.parameters()
    }
    shared |= {id(b): b[sets] if len(b) > 1 else b for b in module.buffers()}
    return copy.deepcopy(module, shared)
