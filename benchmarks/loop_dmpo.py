"""DMPO on SAC as a loop over agents, which the stacked implementation is timed against.

The same algorithm as ``trafficrl.algorithms.dmpo`` in the way that one would write it
first: every agent has modules and optimisers of its own, and whatever all agents do is
a Python loop over them. It is batched over samples and steps the same environment.
Only what catch-up needs: choices of actions, a graph that stays, one model an agent.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from trafficrl.algorithms import DMPO, Decision, Streams
from trafficrl.algorithms.dsac import DSAC
from trafficrl.algorithms.dynamics import ERROR_WINDOWS
from trafficrl.algorithms.experience import Experience
from trafficrl.algorithms.rollout import Links, Rollout
from trafficrl.benchmarks.loop_agent import Agent, Prediction
from trafficrl.config.algorithms import SACBase
from trafficrl.errors import TrafficRLError

Each = list[Tensor]  # one tensor for each agent
Data = dict[str, Each]  # obs, action, reward, next_obs: (R, ...) each
Draw = Callable[[Each, torch.Generator], Each]  # choices (S,) for probabilities (S, C)


def draw_each(probabilities: Each, generator: torch.Generator) -> Each:
    """A choice for each row, agent by agent."""
    return [torch.multinomial(p, 1, generator=generator)[:, 0] for p in probabilities]


class LoopDMPO:
    """Starts from the weights, settings and data of ``dmpo``, which it shares nothing with after.

    ``draw`` draws choices; ``fused`` takes the kernel of torch that does a step of
    Adam at once, which is not what one gets by default. Raises ``TrafficRLError``
    for settings that it has no counterpart of.
    """

    memory_width = 0

    def __init__(
        self, dmpo: DMPO, links: Links, *, draw: Draw = draw_each, fused: bool = False
    ) -> None:
        base, spec = dmpo.base, dmpo.dynamics.spec
        fits = isinstance(base, DSAC) and spec.n_choices and not base.settings.share_parameters
        model = dmpo.settings.model
        if not fits or model.ensemble > 1 or model.gaussian or links.policy[0].dim() > 2:
            raise TrafficRLError(
                "loop over agents: algorithms.dmpo must have base.kind dsac with choices of "
                "actions, separate parameters, one model without variances and a graph that stays"
            )
        assert isinstance(base, DSAC) and isinstance(base.settings, SACBase)
        self.spec, self.settings, self.base_settings = spec, dmpo.settings, base.settings
        self.near, self.far = _neighbours(*links.policy), _neighbours(*links.value)
        self.agents = [Agent(dmpo, i, near, fused=fused) for i, near in enumerate(self.near)]
        self.draw = draw
        self.experience = Experience(model.replay_size, model.held_out)
        self._iteration = 0

    # Acting -----------------------------------------------------------------------

    @torch.no_grad()
    def act(
        self, obs: Tensor, links: Links, memory: Tensor, generator: torch.Generator | None
    ) -> Decision:
        """As ``Actor.act``, so that the same collector drives both."""
        assert generator is not None
        log_p = self.log_p(list(obs.unbind(1)))
        action = self.draw([one.exp() for one in log_p], generator)
        taken = [own.gather(1, a[:, None])[:, 0] for own, a in zip(log_p, action, strict=True)]
        return Decision(torch.stack(action, 1), torch.stack(taken, 1), memory)

    def log_p(self, obs: Each) -> Each:
        """Log-probabilities (S, C) of every agent's choices in states (S, O)."""
        return [
            agent.log_p(_side_by_side(obs, near))
            for agent, near in zip(self.agents, self.near, strict=True)
        ]

    # Learning ---------------------------------------------------------------------

    def update(self, rollout: Rollout, streams: Streams) -> None:
        """One iteration of Algorithm 1 after the real rollout."""
        self.remember(rollout, streams)
        if self._iteration % self.settings.model_every == 0:
            self.train_model(streams.model)
        self._iteration += 1
        for _ in range(self.settings.inner_iterations):
            if float(torch.rand((), generator=streams.model)) < self.settings.model_probability:
                rows = self.branching_rows(streams.model)
                self.learn(*self.imagine(rows, streams.model), streams)
            else:
                alive = (~self.experience.columns["terminated"]).float()
                self.learn(self.real, alive, self.experience.rows(), streams)

    def remember(self, rollout: Rollout, streams: Streams) -> None:
        """Take in real data."""
        self.experience.add(rollout, streams.model)
        self.real = _split(self.experience)
        reward = rollout.reward[rollout.active].unbind(-1)
        for agent, far in zip(self.agents, self.far, strict=True):
            agent.rescale(self._sum(reward, far))

    def learn(self, data: Data, alive: Tensor, rows: Tensor, streams: Streams) -> None:
        """Gradient steps on transitions (R, ...), of which ``rows`` count."""
        for _ in range(self.base_settings.inner_updates):
            size = (self.base_settings.batch_size,)
            draw = rows[torch.randint(len(rows), size, generator=streams.minibatches)]
            batch = {name: [one[draw] for one in each] for name, each in data.items()}
            self.step(batch, alive[draw], streams.actions)

    def step(self, batch: Data, alive: Tensor, generator: torch.Generator) -> None:
        """One gradient step of critics, policies and temperatures; the targets follow."""
        targets = self._targets(batch, alive, generator)
        choices = zip(self.agents, self._heard(batch["obs"], batch["action"]), strict=True)
        for (agent, x), action, target in zip(choices, batch["action"], targets, strict=True):
            agent.value_step(x, action, target)
        log_p = self.log_p(batch["obs"])
        drawn = self.draw([one.detach().exp() for one in log_p], generator)
        aim = self.base_settings.target_entropy_of_choices * math.log(self.spec.n_choices)
        heard = self._heard(batch["obs"], drawn)
        for agent, own, x in zip(self.agents, log_p, heard, strict=True):
            agent.policy_step(own, x, aim)
            agent.follow()

    @torch.no_grad()
    def _targets(self, batch: Data, alive: Tensor, generator: torch.Generator) -> Each:
        log_p = self.log_p(batch["next_obs"])
        action = self.draw([one.exp() for one in log_p], generator)
        heard = self._heard(batch["next_obs"], action)
        each = zip(self.agents, heard, log_p, self.far, strict=True)
        return [
            agent.soft_target(x, own, self._sum(batch["reward"], far), alive)
            for agent, x, own, far in each
        ]

    def _heard(self, obs: Each, action: Each) -> Each:
        """What the critics see: states and the others' choices over kappa hops."""
        one_hot = self._one_hot(action)
        nobody = torch.zeros_like(one_hot[0])
        return [
            torch.cat(
                [
                    _side_by_side(obs, far),
                    *(nobody if other is None else one_hot[other] for other in far[1:]),
                ],
                -1,
            )
            for far in self.far
        ]

    def _sum(self, reward: Each | tuple[Tensor, ...], far: list[int | None]) -> Tensor:
        """Eq. 6: (1/n) times the sum over a neighbourhood."""
        total = sum(reward[other] for other in far if other is not None)
        assert isinstance(total, Tensor)
        return total / self.spec.n_agents

    def _one_hot(self, action: Each) -> Each:
        return [nn.functional.one_hot(one.long(), self.spec.n_choices).float() for one in action]

    # Model ------------------------------------------------------------------------

    def predict(self, obs: Each, action: Each) -> list[Prediction]:
        """One step ahead of states (S, O) and choices (S,), with one exchange of h0."""
        h0 = [agent.model.encode(own) for agent, own in zip(self.agents, obs, strict=True)]
        sent = [one.detach() for one in h0]
        predictions = []
        for i, one_hot in enumerate(self._one_hot(action)):
            heard = [sent[other] for other in self.near[i] if other is not None]
            predictions.append(self.agents[i].model(obs[i], h0[i], heard, one_hot))
        return predictions

    def branching_rows(self, generator: torch.Generator) -> Tensor:
        """States of the newest real rollouts, drawn with replacement."""
        rows = self.experience.rows(newest=self.settings.branch_rollouts)
        return rows[torch.randint(len(rows), (self.settings.branches,), generator=generator)]

    @torch.no_grad()
    def imagine(self, rows: Tensor, generator: torch.Generator) -> tuple[Data, Tensor, Tensor]:
        """Branches from real states: transitions, which did not end, and the rows that count."""
        obs = [own[rows] for own in self.real["obs"]]
        active = torch.ones(len(rows), dtype=torch.bool)
        steps: dict[str, list[Each]] = {
            name: [] for name in ("obs", "action", "reward", "next_obs")
        }
        ends, counts = [], []
        for _ in range(self.settings.branch_length):
            action = self.draw([one.exp() for one in self.log_p(obs)], generator)
            predicted = self.predict(obs, action)
            done = torch.stack([one.done > 0.0 for one in predicted]).any(0)
            pairs = list(zip(self.agents, predicted, strict=True))
            following = [agent.model.bounded(one.next_obs) for agent, one in pairs]
            reward = [agent.model.rewards(one.reward, done) for agent, one in pairs]
            for name, each in zip(steps, (obs, action, reward, following), strict=True):
                steps[name].append(each)
            ends.append(done & active)
            counts.append(active)
            active, obs = active & ~done, following
        data = {
            name: [torch.stack(one, 1).flatten(0, 1) for one in zip(*each, strict=True)]
            for name, each in steps.items()
        }
        alive = (~torch.stack(ends, 1)).float().flatten()
        return data, alive, torch.stack(counts, 1).flatten().nonzero()[:, 0]

    def train_model(self, generator: torch.Generator) -> None:
        """Gradient steps on sub-trajectories, each agent to its own best on held-out data."""
        s, take = self.settings.model, self.experience
        starts = take.windows(s.sequence_length, held_out=False)
        self._fit_normalisation()
        held = take.windows(s.sequence_length, held_out=True)
        held = held[torch.randperm(len(held), generator=generator)[:ERROR_WINDOWS]]
        for agent, loss in zip(self.agents, self._held_out(held), strict=True):
            agent.begin_training(loss)
        for update in range(1, s.max_updates + 1):
            draw = torch.randint(len(starts), (s.batch_size,), generator=generator)
            training = [agent.waited < s.patience for agent in self.agents]
            losses = self.model_losses(starts[draw])
            for agent, loss, learns in zip(self.agents, losses, training, strict=True):
                if learns:
                    agent.model_step(loss)
            checks = update % s.check_every == 0 or update == s.max_updates
            if checks and len(held):
                for agent, loss in zip(self.agents, self._held_out(held), strict=True):
                    agent.check(loss)
                if not any(agent.waited < s.patience for agent in self.agents):
                    break
        if len(held):
            for agent in self.agents:
                agent.end_training()

    def model_losses(self, starts: Tensor) -> Each:
        """Each agent's errors along sub-trajectories, own predictions fed back."""
        columns, length = self.experience.columns, self.settings.model.sequence_length
        obs = [own[starts] for own in self.real["obs"]]
        totals: Each = [torch.zeros(()) for _ in self.agents]
        for step in range(length):
            rows = starts + step
            now = {name: [own[rows] for own in each] for name, each in self.real.items()}
            done = columns["terminated"][rows].float()
            predicted = self.predict(obs, now["action"])
            each = zip(self.agents, predicted, now["next_obs"], now["reward"], strict=True)
            losses = [agent.model.loss(p, after, r, done) for agent, p, after, r in each]
            totals = [total + loss for total, loss in zip(totals, losses, strict=True)]
            pairs = zip(self.agents, predicted, strict=True)
            obs = [agent.model.bounded(one.next_obs) for agent, one in pairs]
        return [total / length for total in totals]

    @torch.no_grad()
    def _held_out(self, held: Tensor) -> Each:
        return self.model_losses(held)

    def _fit_normalisation(self) -> None:
        columns = self.experience.columns
        counts = columns["active"] & ~columns["held_out"]
        ended, going = counts & columns["terminated"], counts & ~columns["terminated"]
        for i, agent in enumerate(self.agents):
            reward = self.real["reward"][i]
            if ended.any():
                agent.model.end_reward = reward[ended].mean()
            obs, following = (self.real[name][i][going] for name in ("obs", "next_obs"))
            agent.model.fit_normalisation(obs, following, reward[going])


def _neighbours(index: Tensor, mask: Tensor) -> list[list[int | None]]:
    """Who is in each place of each agent's closed neighbourhood."""
    return [
        [other if there else None for other, there in zip(*row, strict=True)]
        for row in zip(index.tolist(), mask.tolist(), strict=True)
    ]


def _side_by_side(obs: Each, places: list[int | None]) -> Tensor:
    """The own features, then the differences of each neighbour's to them: (S, K*O)."""
    own = obs[places[0] or 0]
    nobody = torch.zeros_like(own)
    others = (nobody if other is None else obs[other] - own for other in places[1:])
    return torch.cat([own, *others], -1)


def _split(experience: Experience) -> Data:
    """Each agent's own columns."""
    columns = {name: experience.columns[name] for name in ("obs", "action", "reward")}
    columns["next_obs"] = experience.next_obs(torch.arange(len(experience)))
    return {
        name: [own.contiguous() for own in column.unbind(1)] for name, column in columns.items()
    }
