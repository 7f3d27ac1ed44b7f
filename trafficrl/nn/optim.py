"""Adam over stacked weights in which every agent is on its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

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
        self._steps = torch.zeros(self.sets, device=self.parameters[0].device)

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

        The norms are from before clipping, NaN for agents that were left out.
        Raises ``NumericalError``, with nothing changed, where the gradient or the
        ``loss`` (N,) of one that was not is NaN or infinite.
        """
        gradients = [_gradient(parameter).view(self.sets, -1) for parameter in self.parameters]
        norms: Tensor = torch.stack([g.norm(dim=1) for g in gradients]).norm(dim=0)
        if active is None:
            active = torch.ones_like(norms, dtype=torch.bool)
        left_out = ~active
        sound = (norms if loss is None else norms + loss).isfinite()
        if not (sound | left_out).all():
            self._refuse(norms, loss, int((~sound & active).nonzero()[0, 0]))
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
            # where, not a product: the gradient of an agent left out may be NaN.
            gradient = torch.where(active[:, None], gradient * scale[:, None], 0.0)
            mean.lerp_(gradient, first[:, None].expand_as(mean))
            square.lerp_(gradient.square(), second[:, None].expand_as(square))
            denominator = (square.sqrt() / correction[:, None]).add_(self.eps)
            rows.sub_(rate[:, None] * mean / denominator)
        return norms.masked_fill(left_out, torch.nan)

    def _refuse(self, norms: Tensor, loss: Tensor | None, first: int) -> None:
        what, value = "gradient", float(norms[first])
        if loss is not None and not loss[first].isfinite():
            what, value = "loss", float(loss[first])
        whose = "all agents" if self.agents == 1 else f"cav_{first % self.agents}"
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
