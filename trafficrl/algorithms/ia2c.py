"""IA2C: independent advantage actor-critic (Mnih et al., 2016), one learner for each agent.

Nothing is exchanged in learning: agent i's critic sees s_i alone and predicts
its own discounted reward, and its policy follows its own advantage,
grad log pi_i(a_i | s over 1 hop) A_i, with an entropy bonus. One gradient step
a rollout, as the data is of the present policy for that one step only.
"""

from __future__ import annotations

from torch import Tensor

from trafficrl.algorithms.actor_critic import ActorCritic
from trafficrl.algorithms.base import Streams
from trafficrl.algorithms.log import average
from trafficrl.algorithms.parts import Batch
from trafficrl.algorithms.rollout import Links, Rollout
from trafficrl.nn.stacked import per_set


class IA2C(ActorCritic):
    """Policies, critics and their update. Implements ``Algorithm``."""

    def update(self, rollout: Rollout, streams: Streams, progress: float) -> dict[str, float]:
        """One step of policies and critics on the whole rollout."""
        self._set_rates(progress)
        data = self._prepare(rollout)
        step = {**self._policy_step(data), **self._value_step(data)}
        self._policy_optim.check()
        self._value_optim.check()
        return average({name: [value] for name, value in step.items()})

    def _policy_step(self, batch: Batch) -> dict[str, Tensor]:
        log_prob, entropy = self.policy.evaluate(batch["policy_inputs"], batch["action"])
        gain = log_prob * batch["advantage"] + self.common.entropy_coef * entropy
        loss = per_set(-gain.mean(1), self.sets)
        norms = self._policy_optim.descend(loss)
        return {
            "policy_loss": loss.detach().mean(),
            "policy_grad_norm": norms,
            "entropy": entropy.detach().mean(),
        }

    def _reduce(self, values: Tensor, links: Links) -> Tensor:
        """Own rewards and own values alone."""
        return values
