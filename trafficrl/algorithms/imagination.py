"""Branched rollouts in the learned model (Section 4.3, Algorithm 1)."""

from __future__ import annotations

import torch
from torch import Tensor

from trafficrl.algorithms.base import ModelBased
from trafficrl.algorithms.dynamics import DynamicsLearner
from trafficrl.algorithms.experience import Experience
from trafficrl.algorithms.rollout import Links, Rollout, at_steps
from trafficrl.nn.dynamics import DynamicsModel, Prediction


@torch.no_grad()
def imagine(
    base: ModelBased,
    dynamics: DynamicsLearner,
    rows: Tensor,
    length: int,
    generator: torch.Generator,
) -> Rollout:
    """Branch from the real states ``rows`` (S,) and drive all agents ``length`` steps on.

    In each step every agent acts on, and predicts from, the states that its
    1-hop neighbours have predicted. Who hears whom stays as it was at the
    branching point. A branch stops where the episode's end is predicted.
    """
    experience = dynamics.experience
    obs, links = start_states(experience, rows)
    agents = obs.shape[1]
    active = torch.ones(len(rows), dtype=torch.bool, device=obs.device)
    memory = obs.new_zeros(len(rows), agents, base.memory_width)
    columns: dict[str, list[Tensor]] = {name: [] for name in Rollout.__slots__}
    for _ in range(length):
        decision = base.act(obs, links, memory, generator)
        prediction, model = _predicted(dynamics, obs, decision.action, links, generator)
        next_obs = model.bounded(prediction.next_obs).transpose(0, 1)
        done = (prediction.done > 0.0).any(0)
        step = {
            "obs": obs,
            "action": decision.action,
            "log_prob": decision.log_prob,
            "reward": model.rewards(prediction.reward, done).transpose(0, 1),
            "next_obs": next_obs,
            "terminated": done & active,
            "truncated": torch.zeros_like(done),
            "active": active,
            "memory": memory,
            "next_memory": decision.memory,
        }
        for name, value in step.items():
            columns[name].append(value)
        active = active & ~done
        obs, memory = next_obs, decision.memory
    through = Links.stack([links] * length)
    stacked = {name: torch.stack(values, 1) for name, values in columns.items() if values}
    return Rollout(**stacked, links=through, next_links=through)


def start_states(experience: Experience, rows: Tensor) -> tuple[Tensor, Links]:
    """Observations (S, N, O) and links of the real states ``rows`` (S,)."""
    assert experience.links is not None, "no real data yet"
    return experience.columns["obs"][rows], at_steps(experience.links, rows)


def _predicted(
    dynamics: DynamicsLearner,
    obs: Tensor,
    action: Tensor,
    links: Links,
    generator: torch.Generator,
) -> tuple[Prediction, DynamicsModel]:
    """What one model of the ensemble, drawn for this step, says of (S, N, ...), agent-first."""
    number = 0
    if len(dynamics.models) > 1:
        draw = torch.randint(
            len(dynamics.models), (1,), generator=generator, device=generator.device
        )
        number = int(draw)
    model = dynamics.models[number]
    assert isinstance(model, DynamicsModel)
    actions = dynamics.actions(action).transpose(0, 1)
    prediction: Prediction = model(obs.transpose(0, 1), actions, *links.policy)
    if prediction.state_log_var is None or prediction.reward_log_var is None:
        return prediction, model
    state = _noise(prediction.next_obs, generator) * (0.5 * prediction.state_log_var).exp()
    reward = _noise(prediction.reward, generator) * (0.5 * prediction.reward_log_var).exp()
    sampled = prediction._replace(
        next_obs=prediction.next_obs + state * model.delta_std,
        reward=prediction.reward + reward,
    )
    return sampled, model


def _noise(like: Tensor, generator: torch.Generator) -> Tensor:
    return torch.empty_like(like).normal_(generator=generator)
