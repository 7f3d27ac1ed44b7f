"""Settings of each learning algorithm, one class each.

They stand apart from the algorithms so that reading a scenario needs no torch.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from trafficrl.config.base import Section

WIDEST = 65_536
Width = Annotated[int, Field(ge=1, le=WIDEST)]


class LearnerSettings(Section):
    """What every algorithm has."""

    rollout_steps: int = Field(
        600, ge=1, description="simulation steps of each replica between updates"
    )
    gamma: float = Field(0.99, gt=0, le=1, description="discount per control interval")
    value_hops: int = Field(
        1, ge=0, description="kappa: hops that the critic sees and rewards are summed over"
    )
    max_grad_norm: float = Field(0.5, gt=0, description="per agent")
    policy_hidden: list[Width] = Field([64, 64], description="widths of the hidden layers")
    value_hidden: list[Width] = Field([64, 64], description="widths of the hidden layers")
    activation: Literal["relu", "tanh"] = "tanh"
    share_parameters: bool = Field(
        False, description="one set of weights for all agents; fits any number of vehicles"
    )


class ActorCriticSettings(LearnerSettings):
    """On-policy learners with a value function."""

    policy_lr: float = Field(3e-4, gt=0, description="learning rate of the policies")
    value_lr: float = Field(1e-3, gt=0, description="learning rate of the critics")
    lr_schedule: Literal["constant", "linear"] = Field(
        "constant", description="linear: both learning rates fall to 0 at total_steps"
    )
    gae_lambda: float = Field(0.95, ge=0, le=1)
    entropy_coef: float = Field(0.0, ge=0)
    normalize_advantages: bool = Field(True, description="per agent, over the whole batch")
    normalize_values: bool = Field(
        True, description="critics predict returns in units of their running mean and spread"
    )
    initial_action_mean: float = Field(
        0.0, description="mean action of the fresh policy, in units of the action"
    )
    initial_action_std: float = Field(
        0.5, gt=0, description="exploration of the fresh policy, in units of the action"
    )
    min_action_std: float = Field(1e-3, gt=0, description="in units of the action")
    learn_action_std: bool = Field(True, description="false: the exploration stays as it began")


class PPOSettings(ActorCriticSettings):
    """Decentralised PPO with the extended value function (Eq. 5-7 of the paper)."""

    epochs: int = Field(10, ge=1, description="passes over the data of an update")
    minibatches: int = Field(4, ge=1, description="gradient steps a pass")
    clip_range: float = Field(0.2, gt=0, lt=1)
    target_kl: float | None = Field(
        0.01, gt=0, description="an agent's policy stops for this update beyond it; null: never"
    )


class A2CSettings(ActorCriticSettings):
    """Independent advantage actor-critic: one gradient step a rollout, own rewards alone."""

    rollout_steps: int = Field(
        60, ge=1, description="simulation steps of each replica between gradient steps"
    )
    value_hops: Literal[0] = Field(0, description="always 0: a critic sees its own vehicle alone")
    entropy_coef: float = Field(0.01, ge=0)


class IC3NetSettings(ActorCriticSettings):
    """IC3Net: recurrent policies that learn when to communicate."""

    rollout_steps: int = Field(
        60, ge=1, description="simulation steps of each replica between gradient steps"
    )
    value_hops: Literal[0] = Field(0, description="always 0: the value reads the hidden state")
    share_parameters: bool = Field(True, description="as published; false: own weights each")
    policy_hidden: list[Width] = Field(
        [], description="widths of layers between hidden state and action; published: none"
    )
    value_hidden: list[Width] = Field(
        [], description="widths of layers between hidden state and value; published: none"
    )
    hidden_size: int = Field(64, ge=1, le=WIDEST, description="of the LSTM of each agent")
    gate_lr: float = Field(3e-4, gt=0, description="learning rate of the communication gate")
    value_coef: float = Field(
        0.5, ge=0, description="weight of the value loss where the LSTM learns from both"
    )
    sequence_length: int = Field(
        20, ge=1, description="control intervals that gradients go back in time"
    )


class SACSettings(LearnerSettings):
    """Decentralised soft actor-critic with extended twin Q (discrete or tanh-Gaussian)."""

    activation: Literal["relu", "tanh"] = Field(
        "relu", description="tanh critics saturate where states drift far"
    )
    policy_lr: float = Field(3e-4, gt=0, description="learning rate of the policies")
    value_lr: float = Field(3e-4, gt=0, description="learning rate of the critics")
    temperature_lr: float = Field(3e-4, gt=0, description="learning rate of the temperatures")
    initial_temperature: float = Field(
        0.1, gt=0, description="weight of the entropy, in units of the rewards' spread"
    )
    target_entropy_of_choices: float = Field(
        0.2, ge=0, lt=1, description="what the temperature aims at, as part of the highest entropy"
    )
    target_entropy_per_dim: float = Field(
        -1.0, lt=0.69, description="likewise for continuous actions scaled to [-1, 1], nats"
    )
    target_smoothing: float = Field(
        0.005, gt=0, le=1, description="tau: how fast the target networks follow"
    )
    replay_size: int = Field(100_000, ge=1, description="control intervals that are kept")
    batch_size: int = Field(256, ge=1, description="control intervals of a gradient step")
    updates_per_interval: float = Field(
        1.0, gt=0, description="gradient steps for each control interval collected"
    )
    initial_action_mean: float = Field(
        0.0, description="mean continuous action of the fresh policy, in units of the action"
    )
    initial_action_std: float = Field(
        0.5, gt=0, description="spread of the fresh policy's continuous action, in its units"
    )
    normalize_rewards: bool = Field(
        True, description="critics predict values in units of the rewards' running spread"
    )


class DynamicsSettings(Section):
    """Graph-convolutional dynamics model of each agent (Eq. 2-4) and its training."""

    lr: float = Field(1e-3, gt=0)
    batch_size: int = Field(256, ge=1, description="sub-trajectories of a gradient step")
    sequence_length: int = Field(
        4, ge=1, description="control intervals of the sub-trajectories it is trained on"
    )
    max_updates: int = Field(500, ge=1, description="gradient steps a model update at most")
    check_every: int = Field(50, ge=1, description="gradient steps between checks on held-out data")
    patience: int = Field(
        3, ge=1, description="an agent's training stops after so many checks without improvement"
    )
    held_out: float = Field(0.1, gt=0, lt=1, description="part of the data that is held out")
    replay_size: int = Field(
        100_000, ge=1, description="newest control intervals that are kept to train on"
    )
    node_embedding: int = Field(8, ge=1, le=WIDEST, description="width of the encoded state")
    edge_embedding: int = Field(12, ge=1, le=WIDEST, description="width of a message")
    message_hidden: list[Width] = Field(
        [16], min_length=1, description="widths of the hidden layers of encoders and edges"
    )
    hidden: list[Width] = Field(
        [16, 16], min_length=1, description="widths of the hidden layers of the nodes"
    )
    activation: Literal["relu", "tanh"] = "relu"
    gaussian: bool = Field(False, description="also predict a variance for each feature")
    ensemble: int = Field(1, ge=1, description="models; imagined steps draw one of them")
    max_grad_norm: float = Field(10.0, gt=0, description="per agent")


class PPOBase(PPOSettings):
    """DMPO on decentralised PPO."""

    kind: Literal["dppo"]


class SACBase(SACSettings):
    """DMPO on decentralised SAC."""

    kind: Literal["dsac"]
    inner_updates: int = Field(10, ge=1, description="gradient steps of a policy update of DMPO")


class DMPOSettings(Section):
    """Decentralised model-based policy optimisation (Algorithm 1)."""

    base: Annotated[PPOBase | SACBase, Field(discriminator="kind")] = PPOBase(kind="dppo")
    model: DynamicsSettings = DynamicsSettings()
    model_every: int = Field(1, ge=1, description="iterations between model updates")
    warmup_iterations: int = Field(
        0,
        ge=0,
        description="iterations before the policies learn; models and the critics of PPO do",
    )
    inner_iterations: int = Field(10, ge=0, description="B: policy updates an iteration")
    model_probability: float = Field(
        1.0, ge=0, le=1, description="q0: part of the policy updates on imagined data"
    )
    branches: int = Field(2048, ge=1, description="imagined rollouts of a policy update")
    branch_length: int = Field(25, ge=1, description="T: control intervals of a branch")
    initial_branch_length: int | None = Field(
        None, ge=1, description="length at the start; null: branch_length"
    )
    branch_growth: float = Field(
        0.5, gt=0, le=1, description="part of the training in which the length grows linearly"
    )
    branch_rollouts: int = Field(
        1, ge=1, description="newest real rollouts whose states branches start from"
    )
    max_model_error: float | None = Field(
        None,
        gt=0,
        description="policy updates use real data while the held-out one-step error of state "
        "or reward (MSE / variance) is above; null: never",
    )

    @property
    def rollout_steps(self) -> int:
        """Simulation steps of each replica between updates."""
        return self.base.rollout_steps

    @property
    def gamma(self) -> float:
        """Discount per control interval."""
        return self.base.gamma

    @property
    def value_hops(self) -> int:
        """Kappa."""
        return self.base.value_hops

    @property
    def share_parameters(self) -> bool:
        """Whether all agents have one set of weights."""
        return self.base.share_parameters


class AlgorithmSettings(Section):
    """One section for each algorithm that the scenario can be trained with."""

    dppo: PPOSettings = PPOSettings()
    cppo: PPOSettings = PPOSettings()
    ia2c: A2CSettings = A2CSettings()
    ic3net: IC3NetSettings = IC3NetSettings()
    dsac: SACSettings = SACSettings()
    dmpo: DMPOSettings = DMPOSettings()
