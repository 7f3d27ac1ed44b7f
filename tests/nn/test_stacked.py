"""Stacked weights against N separate networks of torch, and neighbourhoods against loops."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from trafficrl.nn.stacked import (
    StackedLinear,
    StackedMLP,
    neighbourhood_values,
    per_set,
    picked,
)

AGENTS, SAMPLES, INPUTS, OUTPUTS = 3, 7, 5, 2


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def stacked(activation: str = "tanh") -> StackedMLP:
    return StackedMLP(
        AGENTS,
        INPUTS,
        [6, 4],
        OUTPUTS,
        activation=activation,
        output_gain=1.0,
        generator=generator(),
    )


def separate(network: StackedMLP, agents: int = AGENTS) -> list[nn.Sequential]:
    """Each agent's own network, with its slice of the stacked weights."""
    copies = []
    for agent in range(agents):
        layers: list[nn.Module] = []
        for layer in network.layers:
            if not isinstance(layer, StackedLinear):
                layers.append(type(layer)())
                continue
            own = nn.Linear(*layer.weight.shape[1:])
            with torch.no_grad():
                own.weight.copy_(layer.weight[agent].T)
                own.bias.copy_(layer.bias[agent, 0])
            layers.append(own)
        copies.append(nn.Sequential(*layers))
    return copies


def stacked_like(per_agent: list[list[Tensor]]) -> list[Tensor]:
    """Parameters (or gradients) of separate networks in the layout of the stacked one."""
    columns = zip(*per_agent, strict=True)
    return [
        torch.stack([own.T if own.dim() == 2 else own[None] for own in column])
        for column in columns
    ]


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_outputs_and_gradients_equal_those_of_separate_networks(activation: str) -> None:
    network = stacked(activation)
    alone = separate(network)
    x = torch.randn(AGENTS, SAMPLES, INPUTS, generator=generator(1))
    target = torch.randn(AGENTS, SAMPLES, OUTPUTS, generator=generator(2))

    out = network(x)
    (out - target).square().mean((1, 2)).sum().backward()
    for agent, own in enumerate(alone):
        result = own(x[agent])
        (result - target[agent]).square().mean().backward()
        torch.testing.assert_close(out[agent], result)
    gradients = stacked_like([[p.grad for p in own.parameters()] for own in alone])
    for parameter, gradient in zip(network.parameters(), gradients, strict=True):
        assert gradient.abs().max() > 0
        torch.testing.assert_close(parameter.grad, gradient)


def test_every_agent_starts_orthogonal_and_different() -> None:
    layer = StackedLinear(AGENTS, INPUTS, INPUTS, gain=2.0, generator=generator())
    products = layer.weight @ layer.weight.transpose(1, 2)
    torch.testing.assert_close(products, 4.0 * torch.eye(INPUTS).expand_as(products))
    assert not torch.equal(layer.weight[0], layer.weight[1])
    assert layer.bias.abs().max() == 0


def test_the_generator_alone_decides_the_first_weights() -> None:
    torch.manual_seed(1)
    one = stacked()
    torch.manual_seed(2)
    other = stacked()
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


# --- one set of weights for all


def test_one_set_gives_what_the_same_weights_for_every_agent_give() -> None:
    one = StackedMLP(
        1, INPUTS, [6], OUTPUTS, activation="tanh", output_gain=1.0, generator=generator()
    )
    own = separate(one, agents=1)[0]
    x = torch.randn(AGENTS, SAMPLES, INPUTS, generator=generator(1))
    assert one(x).shape == (AGENTS, SAMPLES, OUTPUTS)
    torch.testing.assert_close(one(x), torch.stack([own(rows) for rows in x]))


def test_means_are_over_the_agents_of_a_set() -> None:
    values = torch.tensor([[1.0, 10.0], [3.0, 30.0]])
    assert torch.equal(per_set(values, 2), values)
    assert per_set(values, 1).tolist() == [[2.0, 20.0]]
    assert per_set(values[:, 0], 1).tolist() == [2.0]


# --- neighbourhoods


def neighbourhoods(*leading: int) -> tuple[Tensor, Tensor]:
    """Random neighbours and masks, (*leading, N, K); the agent itself is always there."""
    draw, width = generator(3), 3
    index = torch.randint(0, AGENTS, (*leading, AGENTS, width), generator=draw)
    index[..., 0] = torch.arange(AGENTS)
    mask = torch.rand(*leading, AGENTS, width, generator=draw) < 0.6
    mask[..., 0] = True
    return index, mask


def plain(obs: Tensor, index: Tensor, mask: Tensor) -> Tensor:
    """(S, N, O) and (S, N, K) by loops, to (S, N, K, O)."""
    samples, agents, width = index.shape
    out = torch.zeros(samples, agents, width, obs.shape[-1])
    for s in range(samples):
        for i in range(agents):
            for k in range(width):
                if mask[s, i, k]:
                    out[s, i, k] = obs[s, index[s, i, k]]
    return out


@pytest.mark.parametrize("leading", [(4,), (2, 3)])
@pytest.mark.parametrize("static", [True, False])
def test_values_are_what_a_loop_over_neighbours_finds(
    leading: tuple[int, ...], static: bool
) -> None:
    obs = torch.randn(*leading, AGENTS, 2, generator=generator(4))
    index, mask = neighbourhoods(*(() if static else leading))
    flat = obs.reshape(-1, AGENTS, 2)
    every = (len(flat), AGENTS, index.shape[-1])
    own_index, own_mask = (x.expand(every) if static else x.reshape(every) for x in (index, mask))
    expected = plain(flat, own_index, own_mask)
    assert torch.equal(neighbourhood_values(obs, index, mask), expected)


@pytest.mark.parametrize("leading", [(), (2,)])
def test_what_lies_outside_the_neighbourhood_never_reaches_the_result(
    leading: tuple[int, ...],
) -> None:
    index = torch.tensor([[0, 1], [1, 0], [2, 2]]).expand(*leading, 3, 2)
    mask = torch.tensor([[True, False], [True, True], [True, False]]).expand(*leading, 3, 2)
    values = torch.ones(2, 3, 1, requires_grad=True)
    poisoned = torch.where(torch.tensor([False, True, False])[:, None], torch.nan, values)
    found = neighbourhood_values(poisoned, index, mask)
    assert found[:, [0, 2]].isfinite().all() and found[:, 1, 0].isnan().all()
    found[:, [0, 2]].sum().backward()
    assert torch.equal(values.grad, torch.tensor([1.0, 0.0, 1.0])[:, None].expand(2, 3, 1))


def test_picked_sets_are_copies_in_the_order_asked_for() -> None:
    network = stacked()
    chosen = picked(network, torch.tensor([2, 0, 2, 1]))
    x = torch.randn(4, SAMPLES, INPUTS, generator=generator(1))
    each = separate(network)
    expected = torch.stack([each[i](x[k]) for k, i in enumerate([2, 0, 2, 1])])
    torch.testing.assert_close(chosen(x), expected)
    assert not chosen(x).requires_grad and network(x[:3]).requires_grad
    with torch.no_grad():
        network.layers[0].weight.zero_()
    torch.testing.assert_close(chosen(x), expected)


def test_one_set_that_all_share_is_picked_as_it_is() -> None:
    layer = StackedLinear(1, INPUTS, OUTPUTS, gain=1.0, generator=generator())
    x = torch.randn(6, SAMPLES, INPUTS, generator=generator(1))
    assert torch.equal(picked(layer, torch.zeros(6, dtype=torch.int64))(x), layer(x))


@pytest.mark.parametrize("agents", [1, AGENTS])
def test_changing_activations_in_place_gives_the_same_bits(agents: int) -> None:
    """Outputs and all gradients, where agents share the weights and where they do not."""
    network = StackedMLP(
        agents,
        INPUTS,
        [6, 4],
        OUTPUTS,
        activation="relu",
        output_gain=1.0,
        generator=generator(),
    )
    found, expected = (
        torch.randn(AGENTS, SAMPLES, INPUTS, generator=generator(1), requires_grad=True)
        for _ in range(2)
    )
    out, plain = network(found), expected
    for layer in network.layers:
        plain = layer(plain) if isinstance(layer, StackedLinear) else torch.relu(plain)
    assert torch.equal(out, plain) and torch.equal(found, expected)
    wanted = [expected, *network.parameters()]
    gradients = torch.autograd.grad(plain.square().sum(), wanted)
    for one, other in zip(
        torch.autograd.grad(out.square().sum(), [found, *network.parameters()]),
        gradients,
        strict=True,
    ):
        assert torch.equal(one, other)
