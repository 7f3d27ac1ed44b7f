"""Learning the dynamics model from real data, and how wrong it is (Section 4.1, Figure 3)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from trafficrl.algorithms.base import AgentSpec
from trafficrl.algorithms.experience import Experience
from trafficrl.algorithms.log import average
from trafficrl.algorithms.rollout import Rollout, at_steps
from trafficrl.config.algorithms import DynamicsSettings
from trafficrl.nn.dynamics import DynamicsModel, Prediction
from trafficrl.nn.optim import StackedAdam
from trafficrl.nn.stacked import per_set

HORIZONS = (1, 5, 10, 25)  # control intervals ahead at which errors are logged
MIN_GAIN = 0.01  # relative, of the held-out loss, to count as an improvement
ERROR_WINDOWS = 256  # held-out stretches that an error is measured on


class DynamicsLearner:
    """The models of all agents (an ensemble of E of them), their data and their training."""

    def __init__(
        self,
        spec: AgentSpec,
        settings: DynamicsSettings,
        *,
        shared: bool,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self.spec = spec
        self.settings = settings
        self.device = device
        self.models = nn.ModuleList(
            DynamicsModel(
                spec.n_agents,
                spec.features,
                spec.action_width,
                spec.policy_width,
                settings,
                choices=spec.n_choices > 0,
                shared=shared,
                generator=generator,
            )
            for _ in range(settings.ensemble)
        ).to(device)
        self.experience = Experience(settings.replay_size, settings.held_out, device=device)
        self._optims = [
            StackedAdam(
                model.parameters(),
                settings.lr,
                max_grad_norm=settings.max_grad_norm,
                name="dynamics model",
            )
            for model in self.models
        ]

    def add(self, rollout: Rollout, generator: torch.Generator) -> None:
        """Take in real data, a part of which is held out from training for good."""
        self.experience.add(rollout.to(self.device), generator)

    def actions(self, action: Tensor) -> Tensor:
        """Actions as the models see them: choices (...,) as one-hot (..., C)."""
        if not self.spec.n_choices:
            return action
        return nn.functional.one_hot(action.long(), self.spec.n_choices).float()

    # Training -------------------------------------------------------------------

    def train(self, generator: torch.Generator) -> dict[str, float]:
        """Gradient steps until held-out data are predicted no better; errors afterwards."""
        log: dict[str, float] = {}
        starts = self.experience.windows(self.settings.sequence_length, held_out=False)
        if not len(starts):
            return log
        norms: list[Tensor] = []
        for model, optim in zip(self.models, self._optims, strict=True):
            assert isinstance(model, DynamicsModel)
            self._fit_normalisation(model)
            norms += self._fit(model, optim, starts, generator)
        log["model_updates"] = len(norms) / len(self.models)
        return {**log, **average({"model_grad_norm": norms}), **self.errors(generator)}

    def _fit_normalisation(self, model: DynamicsModel) -> None:
        columns = self.experience.columns
        counts = columns["active"] & ~columns["held_out"]
        ends = columns["reward"][counts & columns["terminated"]]
        model.end_reward.copy_(ends.mean(0)[:, None] if len(ends) else model.end_reward)
        rows = (counts & ~columns["terminated"]).nonzero()[:, 0]
        obs, action, reward = (
            column[rows].transpose(0, 1)
            for column in (columns["obs"], columns["action"], columns["reward"])
        )
        next_obs = self.experience.next_obs(rows).transpose(0, 1)
        model.fit_normalisation(obs, self.actions(action), next_obs, reward)

    def _fit(
        self, model: DynamicsModel, optim: StackedAdam, starts: Tensor, generator: torch.Generator
    ) -> list[Tensor]:
        """Returns the gradient norms (N,) of each step."""
        s = self.settings
        norms: list[Tensor] = []
        held = _drawn(self.experience.windows(s.sequence_length, True), ERROR_WINDOWS, generator)
        best = [p.detach().clone() for p in model.parameters()]
        training = torch.ones(model.sets, dtype=torch.bool, device=self.device)
        best_loss, waited = (
            self._held_out_loss(model, held),
            torch.zeros_like(training, dtype=torch.int),
        )
        for update in range(1, s.max_updates + 1):
            rows = _drawn(starts, s.batch_size, generator, replace=True)
            loss = per_set(self._loss(model, rows), model.sets)
            norms.append(optim.descend(loss, training))
            checks = update % s.check_every == 0 or update == s.max_updates
            if checks:
                optim.check()
            if checks and len(held):
                now = self._held_out_loss(model, held)
                better = now < best_loss - MIN_GAIN * best_loss.abs()
                _keep_where(better, best, model)
                best_loss = torch.where(better, now, best_loss)
                waited = torch.where(better, 0, waited + 1)
                training &= waited < s.patience
                if not training.any():
                    break
        if len(held):
            with torch.no_grad():
                for parameter, kept in zip(model.parameters(), best, strict=True):
                    parameter.copy_(kept)
        return norms

    def _loss(self, model: DynamicsModel, starts: Tensor) -> Tensor:
        """Errors (N,) along sub-trajectories under the real actions, own predictions fed back.

        Neighbours' predicted states arrive without gradient, as everything
        that neighbours send.
        """
        columns = self.experience.columns
        links = self.experience.links
        assert links is not None
        obs = columns["obs"][starts].transpose(0, 1)
        total = obs.new_zeros(self.spec.n_agents)
        for step in range(self.settings.sequence_length):
            rows = starts + step
            action = self.actions(columns["action"][rows]).transpose(0, 1)
            prediction = model(obs, action, *at_steps(links, rows).policy)
            target = self.experience.next_obs(rows).transpose(0, 1)
            reward = columns["reward"][rows].transpose(0, 1)
            done = columns["terminated"][rows].float().expand(self.spec.n_agents, -1)
            total = total + self._step_loss(model, prediction, target, reward, done)
            obs = model.bounded(prediction.next_obs)
        return total / self.settings.sequence_length

    @staticmethod
    def _step_loss(
        model: DynamicsModel, prediction: Prediction, target: Tensor, reward: Tensor, done: Tensor
    ) -> Tensor:
        """State, reward and end of the episode, in units of what is predicted: (N,)."""
        # A prediction beyond the bounds is right where the target stands at them.
        beyond = (model.bounded(prediction.next_obs) == target) & (model.wrap == 0.0)
        error = model.difference(prediction.next_obs, target) / model.delta_std
        state = torch.where(beyond, 0.0, error).square()
        gain = (prediction.reward - model.normalised_rewards(reward)).square()
        if prediction.state_log_var is not None and prediction.reward_log_var is not None:
            state = state * (-prediction.state_log_var).exp() + prediction.state_log_var
            gain = gain * (-prediction.reward_log_var).exp() + prediction.reward_log_var
        # What the end costs is of another order and has a figure of its own.
        gain = torch.where(done > 0.0, 0.0, gain)
        end = nn.functional.binary_cross_entropy_with_logits(
            prediction.done, done, reduction="none"
        )
        return (state.mean(-1) + gain + end).mean(1)

    @torch.no_grad()
    def _held_out_loss(self, model: DynamicsModel, starts: Tensor) -> Tensor:
        if not len(starts):
            return torch.full((model.sets,), torch.inf, device=self.device)
        return per_set(self._loss(model, starts), model.sets)

    # Errors ---------------------------------------------------------------------

    @torch.no_grad()
    def errors(self, generator: torch.Generator) -> dict[str, float]:
        """MSE over variance of state and reward on held-out real data, at each of HORIZONS.

        The ratio is taken for each agent and feature, then averaged; the first
        model of an ensemble speaks for all.
        """
        log = {}
        for horizon in HORIZONS:
            starts = self.experience.windows(horizon, held_out=True)
            # The price of a crash is of another order, and would be all of the variance.
            starts = starts[~self.experience.columns["terminated"][starts + horizon - 1]]
            starts = _drawn(starts, ERROR_WINDOWS, generator)
            if len(starts) > 1:
                state, reward = self._error(starts, horizon)
                log[f"model_state_error_{horizon}"] = state
                log[f"model_reward_error_{horizon}"] = reward
        return log

    def _error(self, starts: Tensor, horizon: int) -> tuple[float, float]:
        model, columns, links = self.models[0], self.experience.columns, self.experience.links
        assert isinstance(model, DynamicsModel) and links is not None
        obs = columns["obs"][starts].transpose(0, 1)
        for step in range(horizon):
            rows = starts + step
            action = self.actions(columns["action"][rows]).transpose(0, 1)
            prediction = model(obs, action, *at_steps(links, rows).policy)
            obs = model.bounded(prediction.next_obs)
        target = self.experience.next_obs(rows).transpose(0, 1)
        reward = columns["reward"][rows].transpose(0, 1)
        rows = self.experience.rows()
        rows = rows[~columns["terminated"][rows]]
        state_var = self.experience.next_obs(rows).transpose(0, 1).var(1).clamp(min=1e-8)
        reward_var = columns["reward"][rows].transpose(0, 1).var(1).clamp(min=1e-8)
        state = model.difference(obs, target).square().mean(1) / state_var
        gain = (model.rewards(prediction.reward) - reward).square().mean(1) / reward_var
        return float(state.mean()), float(gain.mean())

    # Saving ---------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimisers and data."""
        return {
            "models": dict(self.models.state_dict()),
            "optims": [optim.state_dict() for optim in self._optims],
            "experience": self.experience.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a saved state."""
        self.models.load_state_dict(state["models"])
        for optim, saved in zip(self._optims, state["optims"], strict=True):
            optim.load_state_dict(saved)
        self.experience.load_state_dict(state["experience"])


def _drawn(
    rows: Tensor, count: int, generator: torch.Generator, *, replace: bool = False
) -> Tensor:
    """``count`` of the rows at random, all of them where there are fewer and none is repeated."""
    device = generator.device
    if replace:
        places = torch.randint(len(rows), (count,), generator=generator, device=device)
    else:
        places = torch.randperm(len(rows), generator=generator, device=device)[:count]
    return rows[places.to(rows.device)]


def _keep_where(better: Tensor, best: list[Tensor], model: nn.Module) -> None:
    """Copy the weights of the agents (or the one set) that got better."""
    for kept, parameter in zip(best, model.parameters(), strict=True):
        rows = kept.view(len(better), -1)
        rows.copy_(torch.where(better[:, None], parameter.detach().view_as(rows), rows))
