"""IC3Net: learning when to communicate (Singh, Jain and Sukhbaatar, ICLR 2019).

Every agent has an LSTM with hidden state h and cell s, and a gate g that says
whether the neighbours hear it. In each step

    c_i^t            = C mean_j g_j^t h_j^t, over the 1-hop neighbours j of i
    h_i^t+1, s_i^t+1 = LSTM(e(o_i^t) + c_i^t, h_i^t, s_i^t)
    a_i^t            ~ pi(h_i^t+1),   g_i^t+1 ~ f_g(h_i^t+1),   V_i^t = V(h_i^t+1)

so a gate opens the way for the next step. The gate is an action like the other
one: both follow the policy gradient with the advantage of the agent's own
reward. Published for a complete graph and individual rewards; here an agent
hears its neighbours in the vehicle graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from trafficrl.algorithms.acting import make_policy
from trafficrl.algorithms.actor_critic import agent_first, standardized
from trafficrl.algorithms.advantages import bootstrapped_returns, gae
from trafficrl.algorithms.base import AgentSpec, Decision, Policies, Saved, Streams
from trafficrl.algorithms.log import average
from trafficrl.algorithms.rollout import Links, Rollout
from trafficrl.config.algorithms import IC3NetSettings
from trafficrl.nn.encoding import ObsEncoder
from trafficrl.nn.finite import no_nan
from trafficrl.nn.normalization import ValueNormalizer
from trafficrl.nn.optim import StackedAdam
from trafficrl.nn.policies import OUTPUT_GAIN
from trafficrl.nn.recurrent import StackedLSTMCell
from trafficrl.nn.stacked import StackedLinear, StackedMLP, neighbourhood_values, per_set

Hearing = tuple[Tensor, Tensor]  # index and mask, (N, K) or (..., N, K)


class Memory(NamedTuple):
    """What agents keep from step to step, agent-first; side by side it is ``Decision.memory``."""

    hidden: Tensor  # (N, S, H)
    cell: Tensor  # (N, S, H)
    gate: Tensor  # (N, S, 1), 1 where the neighbours will hear the hidden state


class CommunicatingLSTM(nn.Module):
    """The encoder e, the communication matrix C and the LSTM."""

    def __init__(self, sets: int, inputs: int, hidden: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.shared = sets == 1
        self.encoder = StackedLinear(sets, inputs, hidden, gain=1.0, generator=generator)
        self.communication = StackedLinear(sets, hidden, hidden, gain=1.0, generator=generator)
        self.lstm = StackedLSTMCell(sets, hidden, hidden, generator=generator)

    def forward(self, inputs: Tensor, memory: Memory, hearing: Hearing) -> tuple[Tensor, Tensor]:
        """The next hidden and cell states for inputs (N, S, W)."""
        x = self.encoder(inputs) + self.communication(self._heard(memory, *hearing))
        hidden, cell = self.lstm(x, memory.hidden, memory.cell)
        return hidden, cell

    def _heard(self, memory: Memory, index: Tensor, mask: Tensor) -> Tensor:
        """Mean of what the neighbours let through, (N, S, H); a closed gate counts as 0."""
        messages = memory.gate * memory.hidden
        # What to say is learned from its use to the listeners, through their losses: with one set
        # of weights that is published. An agent with weights of its own is not trained by others.
        if not self.shared:
            messages = messages.detach()
        found = neighbourhood_values(messages.transpose(0, 1), index, mask)  # (S, N, K, H)
        neighbours = mask[..., 1:].sum(-1, keepdim=True).clamp(min=1)  # the first is the agent
        return (found[:, :, 1:].sum(2) / neighbours).transpose(0, 1)


class IC3Net(Policies, Saved):
    """Recurrent agents, their gates and their update. Implements ``Algorithm``."""

    acting = ("net", "policy", "gate")

    def __init__(
        self, spec: AgentSpec, settings: IC3NetSettings, *, generator: torch.Generator, device: str
    ) -> None:
        self.settings = s = settings
        self.value_hops: int = s.value_hops
        self.memory_width = 2 * s.hidden_size + 1
        self.device = torch.device(device)
        self.sets = 1 if s.share_parameters else spec.n_agents
        self.encoder = ObsEncoder(spec.features).to(self.device)
        sets, size = self.sets, s.hidden_size
        self.net = CommunicatingLSTM(sets, self.encoder.width, size, generator=generator)
        # The heads see the hidden state in place of a neighbourhood.
        self.policy = make_policy(replace(spec, policy_width=1), s, sets, size, generator)
        self.gate = StackedLinear(sets, size, 1, gain=OUTPUT_GAIN, generator=generator)
        self.critic = StackedMLP(
            sets,
            size,
            s.value_hidden,
            1,
            activation=s.activation,
            output_gain=1.0,
            generator=generator,
        )
        self.value_norm = ValueNormalizer(sets)
        for part in (self.net, self.policy, self.gate, self.critic, self.value_norm):
            part.to(self.device)
        acting = [*self.net.parameters(), *self.policy.parameters()]
        clip = s.max_grad_norm
        self._policy_optim = StackedAdam(acting, s.policy_lr, max_grad_norm=clip, name="policy")
        self._gate_optim = StackedAdam(
            self.gate.parameters(), s.gate_lr, max_grad_norm=clip, name="gate"
        )
        self._value_optim = StackedAdam(
            self.critic.parameters(), s.value_lr, max_grad_norm=clip, name="critic"
        )

    # Acting -------------------------------------------------------------------

    @staticmethod
    def speaks(memory: Tensor) -> Tensor:
        """1 for agents that are heard in the step that they begin with ``memory``, (B, N)."""
        return memory[..., -1]

    @torch.no_grad()
    def act(
        self, obs: Tensor, links: Links, memory: Tensor, generator: torch.Generator | None
    ) -> Decision:
        """Actions (B, N, A) or (B, N) for obs (B, N, O), and the new memory with its gates."""
        own = self.encoder.own(obs.to(self.device)).transpose(0, 1)
        index, mask = links.policy
        hearing = index.to(self.device), mask.to(self.device)
        hidden, cell = self.net(own, self._remembered(memory.to(self.device)), hearing)
        logits = self.gate(hidden)
        if generator is None:
            action = self.policy.mode(hidden)
            log_prob = torch.zeros(action.shape[:2])
            gate = (logits > 0).to(hidden.dtype)
        else:
            action, log_prob = self.policy.sample(hidden, generator)
            gate = torch.bernoulli(no_nan("gate", logits).sigmoid(), generator=generator)
        kept = torch.cat(Memory(hidden, cell, gate), -1)
        action, log_prob, kept = (
            x.transpose(0, 1).to(obs.device) for x in (action, log_prob, kept)
        )
        return Decision(action, log_prob, kept)

    def _remembered(self, memory: Tensor) -> Memory:
        """Memories (S, N, M) with their parts told apart."""
        own, size = memory.transpose(0, 1), self.settings.hidden_size
        return Memory(own[..., :size], own[..., size:-1], own[..., -1:])

    @torch.no_grad()
    def values(self, obs: Tensor, memory: Tensor, links: Links) -> Tensor:
        """V_i for obs (B, T, N, O) with the memory (B, T, N, M) of that moment: (B, T, N)."""
        hearing = _each(links.policy, lambda x: x.flatten(0, 1))
        own = agent_first(self.encoder.own(obs))
        hidden, _ = self.net(own, self._remembered(memory.flatten(0, 1)), hearing)
        out = self.value_norm.denormalize(self.critic(hidden)[..., 0])
        return out.transpose(0, 1).reshape(obs.shape[:3])

    # Learning -----------------------------------------------------------------

    def update(self, rollout: Rollout, streams: Streams, progress: float) -> dict[str, float]:
        """One step of everything on the whole rollout, waiting samples left out."""
        s = self.settings
        self._set_rates(progress)
        r = rollout.to(self.device)
        keep = r.active.flatten()
        advantage, returns = self._targets(r, keep)
        hidden = self.unrolled(r)[:, keep]
        log_prob, entropy = self.policy.evaluate(hidden, agent_first(r.action)[:, keep])
        gate = agent_first(r.next_memory)[:, keep, -1]
        gate_log_prob, gate_entropy = bernoulli(self.gate(hidden)[..., 0], gate)
        losses = {
            "policy_loss": -(log_prob * advantage + s.entropy_coef * entropy),
            "gate_loss": -(gate_log_prob * advantage + s.entropy_coef * gate_entropy),
            "value_loss": (self.critic(hidden)[..., 0] - returns).square(),
        }
        weights = {"policy_loss": 1.0, "gate_loss": 1.0, "value_loss": s.value_coef}
        total = sum(weights[name] * loss.mean(1) for name, loss in losses.items())
        return {
            **{name: float(loss.detach().mean()) for name, loss in losses.items()},
            **self._step(per_set(total, self.sets)),
            "entropy": float(entropy.detach().mean()),
            "gate_open": float(gate.mean()),
        }

    @torch.no_grad()
    def _targets(self, r: Rollout, keep: Tensor) -> tuple[Tensor, Tensor]:
        """Advantages and value targets of each agent's own reward, (N, kept samples)."""
        s = self.settings
        value = self.values(r.obs, r.memory, r.links)
        next_value = self.values(r.next_obs, r.next_memory, r.next_links)
        ends = r.terminated, r.ended
        steps = gae(r.reward, value, next_value, *ends, gamma=s.gamma, gae_lambda=s.gae_lambda)
        advantage = agent_first(steps)[:, keep]
        returns = agent_first(bootstrapped_returns(r.reward, next_value, *ends, gamma=s.gamma))
        returns = returns[:, keep]
        if s.normalize_advantages:
            advantage = standardized(advantage, self.sets)
        if s.normalize_values:
            self.value_norm.update(returns)
            returns = self.value_norm.normalize(returns)
        return advantage, returns

    def unrolled(self, r: Rollout) -> Tensor:
        """The hidden states h^t+1 of a rollout under the present weights, (N, B*T, H).

        Gradients go back to the start of a sequence or of an episode, where the
        memory is the one that the agents acted with.
        """
        replicas, steps = r.active.shape
        length = min(self.settings.sequence_length, steps)

        def cut(x: Tensor) -> Tensor:
            return sequences(x, length)

        own, stored = cut(self.encoder.own(r.obs)), cut(r.memory)
        hearing = _each(r.links.policy, cut)
        # After an end, and after waiting for the others, an episode begins.
        begins = cut(r.ended | ~r.active).roll(1, dims=1)
        begins[:, 0] = True
        hidden, cell, _ = self._remembered(stored[:, 0])
        states = []
        for t in range(length):
            acted_with, begin = self._remembered(stored[:, t]), begins[:, t, None]
            memory = Memory(
                torch.where(begin, acted_with.hidden, hidden),
                torch.where(begin, acted_with.cell, cell),
                acted_with.gate,
            )
            now = _each(hearing, partial(torch.select, dim=1, index=t))
            hidden, cell = self.net(own[:, t].transpose(0, 1), memory, now)
            states.append(hidden)
        whole = torch.stack(states, 2)  # (N, S, length, H)
        whole = whole.reshape(len(whole), replicas, -1, whole.shape[-1])
        return whole[:, :, :steps].flatten(1, 2)

    def _set_rates(self, progress: float) -> None:
        s = self.settings
        decay = 1.0 - progress if s.lr_schedule == "linear" else 1.0
        self._policy_optim.lr = s.policy_lr * decay
        self._gate_optim.lr, self._value_optim.lr = s.gate_lr * decay, s.value_lr * decay

    def _step(self, loss: Tensor) -> dict[str, float]:
        """Step down the losses of each set of weights; returns the norms of the gradients."""
        optimisers = {
            "policy_grad_norm": self._policy_optim,
            "gate_grad_norm": self._gate_optim,
            "value_grad_norm": self._value_optim,
        }
        for optimiser in optimisers.values():
            optimiser.zero_grad()
        loss.sum().backward()  # type: ignore[no-untyped-call]
        norms = {name: [one.step(loss=loss.detach())] for name, one in optimisers.items()}
        for optimiser in optimisers.values():
            optimiser.check()
        return average(norms)

    def _parts(self) -> dict[str, Any]:
        return {
            "net": self.net,
            "policy": self.policy,
            "gate": self.gate,
            "critic": self.critic,
            "value_norm": self.value_norm,
            "policy_optim": self._policy_optim,
            "gate_optim": self._gate_optim,
            "value_optim": self._value_optim,
        }


def bernoulli(logits: Tensor, outcome: Tensor) -> tuple[Tensor, Tensor]:
    """Log-probabilities of outcomes 0 or 1, and entropies, shaped like ``logits``."""
    log_prob = -binary_cross_entropy_with_logits(logits, outcome, reduction="none")
    entropy = binary_cross_entropy_with_logits(logits, logits.sigmoid(), reduction="none")
    return log_prob, entropy


def sequences(x: Tensor, length: int) -> Tensor:
    """(B, T, ...) cut into (B * ceil(T / length), length, ...), the last filled up with zeros."""
    missing = -x.shape[1] % length
    x = torch.cat([x, x.new_zeros(len(x), missing, *x.shape[2:])], 1)
    return x.reshape(-1, length, *x.shape[2:])


def _each(hearing: Hearing, change: Callable[[Tensor], Tensor]) -> Hearing:
    """A graph that changes, with both its tensors changed; a fixed one (N, K) as it is."""
    index, mask = hearing
    return hearing if index.dim() == 2 else (change(index), change(mask))
