"""Settings of each learning algorithm, one class each.

They stand apart from the algorithms so that reading a scenario needs no torch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trafficrl.config.base import Section

Width = Annotated[int, Field(ge=1)]


class PPOSettings(Section):
    """Decentralised PPO with the extended value function (Eq. 5-7 of the paper)."""

    rollout_steps: int = Field(
        600, ge=1, description="simulation steps of each replica between updates"
    )
    epochs: int = Field(10, ge=1, description="passes over the data of an update")
    minibatches: int = Field(4, ge=1, description="gradient steps a pass")
    policy_lr: float = Field(3e-4, gt=0, description="learning rate of the policies")
    value_lr: float = Field(1e-3, gt=0, description="learning rate of the critics")
    lr_schedule: Literal["constant", "linear"] = Field(
        "constant", description="linear: both learning rates fall to 0 at total_steps"
    )
    gamma: float = Field(0.99, gt=0, le=1, description="discount per control interval")
    gae_lambda: float = Field(0.95, ge=0, le=1)
    clip_range: float = Field(0.2, gt=0, lt=1)
    target_kl: float | None = Field(
        0.01, gt=0, description="an agent's policy stops for this update beyond it; null: never"
    )
    value_hops: int = Field(
        1, ge=0, description="kappa: hops that the critic sees and advantages are reduced over"
    )
    entropy_coef: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(0.5, gt=0, description="per agent")
    normalize_advantages: bool = Field(True, description="per agent, over the whole batch")
    normalize_values: bool = Field(
        True, description="critics predict returns in units of their running mean and spread"
    )
    policy_hidden: list[Width] = Field([64, 64], description="widths of the hidden layers")
    value_hidden: list[Width] = Field([64, 64], description="widths of the hidden layers")
    activation: Literal["relu", "tanh"] = "tanh"
    initial_action_mean: float = Field(
        0.0, description="mean action of the fresh policy, in units of the action"
    )
    initial_action_std: float = Field(
        0.5, gt=0, description="exploration of the fresh policy, in units of the action"
    )
    min_action_std: float = Field(1e-3, gt=0, description="in units of the action")
    learn_action_std: bool = Field(True, description="false: the exploration stays as it began")


class AlgorithmSettings(Section):
    """One section for each algorithm that the scenario can be trained with."""

    dppo: PPOSettings = PPOSettings()
