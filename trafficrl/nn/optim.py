"""Adam over stacked weights in which every agent is on its own."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any, Self

import torch
from torch import Tensor, nn

from trafficrl.errors import NumericalError


class StackedAdam:
    """Adam (Kingma and Ba, 2015) for parameters whose first dimension is the agent.

    A parameter with several entries an agent (its edges) has them in a row.

    It equals N separate optimisers: gradients are clipped by each agent's own
    norm, step counts are each agent's own, and an agent that is left out of a
    step keeps weights and moments (with torch's Adam its momentum would go on).
    ``name`` says in errors what it optimises; with several sets of weights an
    agent, those of all agents come one after the other.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        *,
        max_grad_norm: float,
        name: str = "weights",
        agents: int | None = None,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        self.parameters = list(parameters)
        self.lr = lr
        self.max_grad_norm = max_grad_norm
        self.betas = betas
        self.eps = eps
        self._mean = [torch.zeros_like(p) for p in self.parameters]
        self._square = [torch.zeros_like(p) for p in self.parameters]
        self.sets = min(len(parameter) for parameter in self.parameters)
        self.name = name
        self.agents = agents or self.sets
        self.first = 0  # of the sets, among those of all agents
        self._steps = torch.zeros(self.sets, device=self.parameters[0].device)
        # Of the steps since the last check: norms, losses and whose were not finite.
        self._unchecked: list[tuple[Tensor, Tensor | None, Tensor]] = []

    def part(self, parameters: Iterable[nn.Parameter], sets: slice) -> Self:
        """The optimiser of some sets, whose ``parameters`` are: the moments are this one's.

        Errors name agents by their place among all.
        """
        one = copy.copy(self)
        one.parameters = list(parameters)
        one._mean = [mean.view(self.sets, -1)[sets] for mean in self._mean]
        one._square = [square.view(self.sets, -1)[sets] for square in self._square]
        one._steps = self._steps[sets]
        one.sets, one.first = len(one._steps), self.first + (sets.start or 0)
        one._unchecked = []
        return one

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def descend(self, loss: Tensor, active: Tensor | None = None) -> Tensor:
        """A ``step`` down the losses (N,) of the agents, of which only this gradient counts."""
        self.zero_grad()
        loss.sum().backward()  # type: ignore[no-untyped-call]
        return self.step(active, loss=loss.detach())

    @torch.no_grad()
    def step(self, active: Tensor | None = None, *, loss: Tensor | None = None) -> Tensor:
        """Update the agents of ``active`` (N,) bool (None: all); returns gradient norms (N,).

        The norms are from before clipping, NaN for agents that were left out. An
        agent whose gradient or ``loss`` (N,) is NaN or infinite is left as it is,
        and the next ``check`` says so.
        """
        gradients = [_gradient(parameter).view(self.sets, -1) for parameter in self.parameters]
        norms: Tensor = torch.stack([g.norm(dim=1) for g in gradients]).norm(dim=0)
        sound = (norms if loss is None else norms + loss).isfinite()
        left_out = torch.zeros_like(sound) if active is None else ~active
        self._unchecked.append((norms, loss, ~(sound | left_out)))
        active = sound & ~left_out
        scale = (self.max_grad_norm / (norms + 1e-6)).clamp(max=1.0)
        chosen = active.float()
        self._steps += chosen
        steps = self._steps.clamp(min=1.0)
        beta1, beta2 = self.betas
        # With weight 0 an agent's moments and weights stay as they are.
        first, second = (1 - beta1) * chosen, (1 - beta2) * chosen
        correction = (1 - beta2**steps).sqrt()
        rate = self.lr * chosen / (1 - beta1**steps)
        for parameter, gradient, mean, square in zip(
            self.parameters, gradients, self._mean, self._square, strict=True
        ):
            rows = parameter.view(self.sets, -1)
            mean, square = mean.view_as(rows), square.view_as(rows)
            # Filled, not multiplied: the gradient of an agent left out may be NaN.
            own = (gradient * scale[:, None]).masked_fill_(~active[:, None], 0.0)
            mean.lerp_(own, first[:, None].expand_as(mean))
            # In place from here on: memory is what steps of many agents wait for.
            square.lerp_(own.square_(), second[:, None].expand_as(square))
            denominator = torch.sqrt(square, out=own).div_(correction[:, None]).add_(self.eps)
            rows.sub_((rate[:, None] * mean).div_(denominator))
        return norms.masked_fill(left_out, torch.nan)

    def check(self) -> None:
        """``NumericalError`` if a gradient or a loss was not finite since the last check.

        To ask after each step would have a GPU wait for the question.
        """
        steps, self._unchecked = self._unchecked, []
        if not steps or not torch.stack([wrong for *_, wrong in steps]).any():
            return
        norms, loss, wrong = next(step for step in steps if step[-1].any())
        first = int(wrong.nonzero()[0, 0])
        what, value = "gradient", float(norms[first])
        if loss is not None and not loss[first].isfinite():
            what, value = "loss", float(loss[first])
        agent = (self.first + first) % self.agents
        whose = "all agents" if self.agents == 1 else f"cav_{agent}"
        raise NumericalError(f"{whose}: the {what} of the {self.name} is {value}")

    def state_dict(self) -> dict[str, Any]:
        """Moments, step counts and the present rate, for a checkpoint."""
        return {"mean": self._mean, "square": self._square, "steps": self._steps, "lr": self.lr}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state."""
        for own, saved in zip(
            [*self._mean, *self._square, self._steps],
            [*state["mean"], *state["square"], state["steps"]],
            strict=True,
        ):
            own.copy_(saved)
        self.lr = state.get("lr", self.lr)  # checkpoints of before have none


def _gradient(parameter: nn.Parameter) -> Tensor:
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.contiguous()
