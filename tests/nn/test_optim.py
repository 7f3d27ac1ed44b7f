"""Adam over stacked weights against N separate optimisers of torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from trafficrl.errors import NumericalError
from trafficrl.nn.optim import StackedAdam

AGENTS = 3
SHAPES = [(5, 6), (1, 6), (6, 2)]
MAX_NORM = 0.5


def draws(seed: int) -> list[Tensor]:
    """A tensor (N, ...) for each parameter."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(AGENTS, *shape, generator=generator) for shape in SHAPES]


def active_agents(step: int) -> Tensor:
    return torch.tensor([True, step % 2 == 0, step != 1])


def test_it_equals_separate_optimisers_with_their_own_clipping() -> None:
    stacked = [nn.Parameter(x) for x in draws(0)]
    separate = [[nn.Parameter(x[agent].clone()) for x in draws(0)] for agent in range(AGENTS)]
    optimiser = StackedAdam(stacked, 0.01, max_grad_norm=MAX_NORM)
    alone = [torch.optim.Adam(parameters, lr=0.01) for parameters in separate]
    sizes = torch.tensor([1e-3, 0.1, 30.0])  # the first agent's gradients are never clipped
    for step in range(1, 7):
        gradients = [x * sizes.view(-1, 1, 1) for x in draws(step)]
        for parameter, gradient in zip(stacked, gradients, strict=True):
            parameter.grad = gradient.clone()
        norms = optimiser.step(active_agents(step))
        for agent, parameters in enumerate(separate):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient[agent].clone()
            norm = nn.utils.clip_grad_norm_(parameters, MAX_NORM)
            assert (norm > MAX_NORM) == (agent > 0)
            expected = norm if active_agents(step)[agent] else torch.tensor(torch.nan)
            torch.testing.assert_close(norms[agent], expected, equal_nan=True)
            if active_agents(step)[agent]:
                alone[agent].step()
    for agent, parameters in enumerate(separate):
        for own, parameter in zip(parameters, stacked, strict=True):
            torch.testing.assert_close(parameter[agent], own, rtol=1e-4, atol=1e-5)


def test_without_a_choice_every_agent_steps() -> None:
    one, other = ([nn.Parameter(x) for x in draws(0)] for _ in range(2))
    for parameters, active in ((one, None), (other, torch.ones(AGENTS, dtype=torch.bool))):
        optimiser = StackedAdam(parameters, 0.01, max_grad_norm=MAX_NORM)
        for parameter, gradient in zip(parameters, draws(1), strict=True):
            parameter.grad = gradient
        optimiser.step(active)
    for a, b, before in zip(one, other, draws(0), strict=True):
        assert torch.equal(a, b) and (a != before).all()


def adam(parameter: nn.Parameter) -> StackedAdam:
    return StackedAdam([parameter], 0.1, max_grad_norm=1.0)


def state_of(optimiser: StackedAdam, agent: int) -> list[Tensor]:
    state = optimiser.state_dict()
    return [x[agent].clone() for x in (*state["mean"], *state["square"], state["steps"])]


@pytest.mark.parametrize("gradient", [1.0, float("inf"), float("nan")])
def test_an_agent_left_out_keeps_weights_and_moments(gradient: float) -> None:
    parameter = nn.Parameter(torch.ones(2, 3))
    optimiser = adam(parameter)
    parameter.grad = torch.ones(2, 3)
    optimiser.step()
    weights, state = parameter.detach().clone(), state_of(optimiser, 1)
    parameter.grad = torch.tensor([[1.0], [gradient]]).expand(2, 3).clone()
    optimiser.step(torch.tensor([True, False]))
    assert torch.equal(parameter[1], weights[1])
    assert all(torch.equal(a, b) for a, b in zip(state_of(optimiser, 1), state, strict=True))
    assert not torch.equal(parameter[0], weights[0])


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
@pytest.mark.parametrize("where", ["gradient", "loss"])
def test_what_is_not_finite_changes_nothing_of_its_agent_and_is_told(
    where: str, value: float
) -> None:
    parameter = nn.Parameter(torch.ones(4, 3))
    optimiser = StackedAdam([parameter], 0.1, max_grad_norm=1.0, name="critics", agents=2)
    optimiser.descend(parameter.square().sum(1))
    loss = torch.tensor([1.0, 1.0, 1.0, value])  # the second set of the second agent
    with pytest.raises(NumericalError, match=rf"^cav_1: the {where} of the critics is -?(inf|nan)"):
        if where == "gradient":
            parameter.grad = loss[:, None].expand(4, 3)
            optimiser.step()
        else:
            optimiser.descend(parameter.sum(1) + loss)
        optimiser.descend(parameter.sum(1))  # nobody has asked yet
        optimiser.check()
    optimiser.check()  # it has been told


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_an_agent_whose_gradient_is_not_finite_stays_as_it_is(value: float) -> None:
    parameter = nn.Parameter(torch.ones(2, 3))
    optimiser = adam(parameter)
    optimiser.descend(parameter.square().sum(1))
    weights, state = parameter.detach().clone(), state_of(optimiser, 1)
    parameter.grad = torch.tensor([[1.0], [value]]).expand(2, 3).clone()
    optimiser.step()
    assert torch.equal(parameter[1], weights[1]) and not torch.equal(parameter[0], weights[0])
    assert all(torch.equal(a, b) for a, b in zip(state_of(optimiser, 1), state, strict=True))


def test_a_part_of_an_optimiser_steps_as_the_whole_does() -> None:
    whole, apart = (nn.Parameter(torch.ones(6, 3)) for _ in range(2))
    one, other = (
        StackedAdam([parameter], 0.1, max_grad_norm=1.0, name="policy")
        for parameter in (whole, apart)
    )
    factors = torch.arange(1.0, 7.0)
    for step in range(3):
        norms = one.descend(whole.square().sum(1) * factors * (step + 1))
        for sets in (slice(0, 2), slice(2, 6)):
            own = nn.Parameter(apart.data[sets])
            part = other.part([own], sets)
            found = part.descend(own.square().sum(1) * factors[sets] * (step + 1))
            assert torch.equal(found, norms[sets])
    assert torch.equal(whole, apart)
    for row in range(6):
        pairs = zip(state_of(one, row), state_of(other, row), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    own = nn.Parameter(apart.data[2:])
    part = other.part([own], slice(2, 6))
    part.descend(own.sum(1) * torch.tensor([1.0, 1.0, float("nan"), 1.0]))
    with pytest.raises(NumericalError, match=r"^cav_4: the loss of the policy is nan$"):
        part.check()


def test_a_loss_of_an_agent_left_out_may_be_anything() -> None:
    parameter = nn.Parameter(torch.ones(2, 3))
    optimiser = adam(parameter)
    loss = parameter.sum(1) * torch.tensor([1.0, float("nan")])
    norms = optimiser.descend(loss, torch.tensor([True, False]))
    assert norms.isnan().tolist() == [False, True]
    assert torch.equal(parameter[1], torch.ones(3)) and not torch.equal(parameter[0], torch.ones(3))


def test_weights_that_all_share_have_no_agent_to_name() -> None:
    parameter = nn.Parameter(torch.ones(1, 3))
    optimiser = StackedAdam([parameter], 0.1, max_grad_norm=1.0, name="policy")
    parameter.grad = torch.full((1, 3), float("nan"))
    with pytest.raises(NumericalError, match=r"^all agents: the gradient of the policy is nan$"):
        optimiser.step()
        optimiser.check()


def test_a_parameter_without_gradient_stays() -> None:
    parameter, fixed = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(2, 1))
    optimiser = StackedAdam([parameter, fixed], 0.1, max_grad_norm=1.0)
    for _ in range(3):
        optimiser.zero_grad()
        parameter.square().sum().backward()
        optimiser.step()
    assert torch.equal(fixed, torch.ones(2, 1)) and not torch.equal(parameter, torch.ones(2, 3))


def test_a_saved_optimiser_goes_on_as_the_original() -> None:
    first, second = nn.Parameter(torch.ones(2, 3)), nn.Parameter(torch.ones(2, 3))
    optimiser, other = adam(first), adam(second)

    def step(one: StackedAdam, parameter: nn.Parameter) -> None:
        parameter.grad = torch.cos(parameter.detach())
        one.step()

    for _ in range(3):
        step(optimiser, first)
        optimiser.lr *= 0.9  # a schedule
    with torch.no_grad():
        second.copy_(first)
    other.load_state_dict(optimiser.state_dict())
    step(optimiser, first)
    step(other, second)
    assert torch.equal(first, second)
    assert all(
        torch.equal(a, b)
        for agent in (0, 1)
        for a, b in zip(state_of(optimiser, agent), state_of(other, agent), strict=True)
    )
