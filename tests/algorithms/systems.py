"""Small systems whose behaviour is known, and agents on graphs to drive and to model them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from trafficrl.algorithms import ALGORITHMS, AgentSpec
from trafficrl.algorithms.rollout import Links, Rollout
from trafficrl.config.algorithms import AlgorithmSettings
from trafficrl.graph import Neighbourhood, VehicleGraph, padded_neighbourhoods
from trafficrl.nn.encoding import FeatureSpec

from .conftest import SMALL, SMALL_PPO, streams

# --- graphs


class Net:
    """A ``line``, a ``ring``, nobody linked (``alone``), or another random graph in each state.

    The last is the kind ``changes``.
    """

    def __init__(self, kind: str, agents: int) -> None:
        self.kind, self.agents = kind, agents

    def graphs(self, shape: tuple[int, ...]) -> list[VehicleGraph]:
        """The graph of each state (one for all of them where it is fixed)."""
        n = self.agents
        if self.kind == "changes":
            draw = np.random.default_rng(0)
            return [self._graph(_random_edges(n, draw)) for _ in range(int(np.prod(shape)))]
        ahead = {"alone": range(0), "line": range(1, n), "ring": range(n)}[self.kind]
        edges = np.array([[i, (i - 1) % n] for i in ahead], dtype=np.int64)
        return [self._graph(edges.reshape(-1, 2))]

    def _graph(self, edges: np.ndarray) -> VehicleGraph:
        """A vehicle's leader is the one before it, linked or not."""
        leader = np.arange(self.agents) - 1
        if self.kind == "ring":
            leader %= self.agents
        return VehicleGraph([f"cav_{i}" for i in range(self.agents)], edges, leader)

    def links(self, value_hops: int, shape: tuple[int, ...] = ()) -> Links:
        """(N, K), or (*shape, N, K) where the graph changes."""
        graphs = self.graphs(shape)
        if self.kind != "changes":
            near, far = graphs[0].neighbourhood(1), graphs[0].neighbourhood(value_hops)
            return Links(_tensors(near), _tensors(far))
        near, far = (padded_neighbourhoods(graphs, hops) for hops in (1, value_hops))
        a, b, c, d = (x.unflatten(0, shape) for x in (*_tensors(near), *_tensors(far)))
        return Links((a, b), (c, d))

    def within(self, hops: int, shape: tuple[int, ...]) -> Tensor:
        """Who is at most ``hops`` away from whom in each state, (*shape, N, N) bool."""
        near = np.stack([graph.hops(hops) <= hops for graph in self.graphs(shape)])
        flat = torch.from_numpy(near).expand(int(np.prod(shape)), -1, -1)
        return flat.unflatten(0, shape)


def _random_edges(agents: int, draw: np.random.Generator) -> np.ndarray:
    """Each link of a line with probability 0.8, and one more somewhere."""
    kept = [[i, i + 1] for i in range(agents - 1) if draw.random() < 0.8]
    return np.array([*kept, draw.integers(agents, size=2)])


def _tensors(neighbourhood: Neighbourhood) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(neighbourhood.index), torch.from_numpy(neighbourhood.mask)


# --- agents

SMALL_MODEL = {
    "batch_size": 16,
    "sequence_length": 2,
    "max_updates": 4,
    "check_every": 2,
    "held_out": 0.3,
    "message_hidden": [4],
    "hidden": [8],
}
SMALL_SETTINGS: dict[str, dict[str, Any]] = {
    "dppo": SMALL_PPO,
    "cppo": SMALL_PPO,
    "ia2c": SMALL,
    "ic3net": {"hidden_size": 4},
    "dsac": {**SMALL, "batch_size": 16, "activation": "tanh", "updates_per_interval": 0.2},
    "dmpo": {
        "base": {"kind": "dppo", **SMALL_PPO},
        "model": SMALL_MODEL,
        "inner_iterations": 2,
        "branches": 8,
        "branch_length": 3,
    },
}
SMALL_SACBASE = {"kind": "dsac", **SMALL, "batch_size": 16, "inner_updates": 3}


def small_settings(name: str, **changes: Any) -> Any:
    """Settings of an algorithm that is fast and learns little; ``changes`` merge one level deep."""
    section = {**SMALL_SETTINGS[name]}
    for key, value in changes.items():
        merges = isinstance(value, dict) and "kind" not in value
        section[key] = {**section[key], **value} if merges else value
    return getattr(AlgorithmSettings.model_validate({name: section}), name)


class Team:
    """Agents on a graph with the algorithm that drives them, fed with random experience."""

    def __init__(
        self,
        name: str,
        kind: str = "line",
        agents: int = 5,
        *,
        n_choices: int = 0,
        features: Sequence[FeatureSpec] = (FeatureSpec(), FeatureSpec()),
        action_center: float = 0.0,
        action_scale: float = 1.0,
        seed: int = 0,
        **changes: Any,
    ) -> None:
        self.settings = small_settings(name, **changes)
        self.net = Net(kind, agents)
        links = self.net.links(self.settings.value_hops, (1, 1))
        self.spec = AgentSpec(
            n_agents=agents,
            features=tuple(features),
            action_dim=0 if n_choices else 1,
            n_choices=n_choices,
            action_center=action_center,
            action_scale=action_scale,
            policy_width=links.policy[0].shape[-1],
            value_width=links.value[0].shape[-1],
        )
        draw = torch.Generator().manual_seed(seed)
        self.algorithm: Any = ALGORITHMS[name](
            self.spec, self.settings, generator=draw, device="cpu"
        )

    def links(self, *shape: int) -> Links:
        return self.net.links(self.settings.value_hops, shape)

    def obs(self, *shape: int, seed: int = 1) -> Tensor:
        """Random observations (*shape, N, O), those that wrap within one lap."""
        draw = torch.Generator().manual_seed(seed)
        obs = torch.randn(*shape, self.spec.n_agents, self.spec.obs_dim, generator=draw)
        for feature, spec in enumerate(self.spec.features):
            if spec.period:
                obs[..., feature] %= spec.period
        return obs

    def rollout(self, seed: int = 1, replicas: int = 3, steps: int = 6) -> Rollout:
        """Random states, rewards and actions; nothing ends."""
        draw = torch.Generator().manual_seed(seed)
        shape, n = (replicas, steps), self.spec.n_agents
        obs = self.obs(replicas, steps + 1, seed=seed)
        if self.spec.n_choices:
            action = torch.randint(self.spec.n_choices, (*shape, n), generator=draw)
        else:
            noise = torch.rand(*shape, n, 1, generator=draw) - 0.5
            action = self.spec.action_center + self.spec.action_scale * noise
        never = torch.zeros(shape, dtype=torch.bool)
        memory = torch.zeros(*shape, n, self.algorithm.memory_width)
        links = self.links(replicas, steps)
        return Rollout(
            obs=obs[:, :-1].clone(),
            action=action,
            log_prob=-torch.rand(*shape, n, generator=draw),
            reward=torch.randn(*shape, n, generator=draw),
            next_obs=obs[:, 1:].clone(),
            terminated=never.clone(),
            truncated=never.clone(),
            active=~never,
            memory=memory,
            next_memory=memory,
            links=links,
            next_links=rolled(links),
        )

    def update(self, rollout: Rollout, seed: int = 2, progress: float = 0.0) -> dict[str, float]:
        return self.algorithm.update(rollout, streams(seed), progress)


def rolled(links: Links) -> Links:
    """The links of the states that follow, (B, T, N, K); fixed ones as they are."""
    if links.policy[0].dim() == 2:
        return links
    a, b, c, d = (x.roll(-1, 1) for x in (*links.policy, *links.value))
    return Links((a, b), (c, d))


def parameters_of(algorithm: Any) -> dict[str, Tensor]:
    """Copies of all parameters of an algorithm, agent-first, by name."""
    found = {}
    for name, part in _modules(algorithm):
        for key, parameter in part.named_parameters():
            found[f"{name}.{key}"] = parameter.detach().clone()
    return found


def _modules(algorithm: Any) -> list[tuple[str, torch.nn.Module]]:
    parts = [(name, part) for name, part in vars(algorithm).items()]
    modules = [(name, part) for name, part in parts if isinstance(part, torch.nn.Module)]
    for name in ("base", "dynamics"):
        if name in vars(algorithm):
            modules += [(f"{name}.{key}", part) for key, part in _modules(vars(algorithm)[name])]
    loose = {key: part for key, part in parts if isinstance(part, torch.nn.Parameter)}
    return [*modules, ("", torch.nn.ParameterDict(loose))] if loose else modules


def moved(before: dict[str, Tensor], after: dict[str, Tensor], agents: int) -> list[bool]:
    """Which agents' parameters differ."""
    changed = torch.zeros(agents, dtype=torch.bool)
    for name, old in before.items():
        differs = old != after[name]
        if "f_edge" in name:  # an agent's edges are in a row
            differs = differs.unflatten(0, (agents, -1))
        elif len(differs) == 2 * agents:  # first critics, then second ones
            differs = differs.unflatten(0, (2, agents)).transpose(0, 1)
        changed |= differs.flatten(1).any(1)
    return changed.tolist()


# --- a networked system of which everything is known

AGENTS, GAMMA, EFFORT = 5, 0.9, 0.1


def system(agents: int = AGENTS) -> Tensor:
    """A of x' = A x + a: half of the own state and half of the neighbours' mean, on a line."""
    matrix = 0.5 * torch.eye(agents)
    for agent in range(agents):
        near = [other for other in (agent - 1, agent + 1) if 0 <= other < agents]
        matrix[agent, near] = 0.5 / len(near)
    return matrix


def starts(count: int, draw: torch.Generator) -> Tensor:
    """States (count, N), uniform in [-1, 1]."""
    return 2.0 * torch.rand(count, AGENTS, generator=draw) - 1.0


def linear_rollout(one: Any, draw: torch.Generator, replicas: int = 32, steps: int = 10) -> Rollout:
    """Episodes that are cut after ``steps``; the cost of agent i is x_i^2 + EFFORT a_i^2."""
    states, decisions, rewards = [starts(replicas, draw)], [], []
    for _ in range(steps):
        x = states[-1]
        decisions.append(one.act(x[..., None], draw))
        a = decisions[-1].action[..., 0]
        rewards.append(-(x.square() + EFFORT * a.square()))
        states.append(x @ system().T + a)
    obs = torch.stack(states, dim=1)[..., None]
    truncated = torch.zeros(replicas, steps, dtype=torch.bool)
    truncated[:, -1] = True
    reward = torch.stack(rewards, dim=1)
    return one.record(obs[:, :-1], decisions, reward, obs[:, 1:], truncated=truncated)


def cost(policy: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """Discounted cost of all agents, the mean over the starts ``x`` (S, N)."""
    total = 0.0
    for step in range(100):
        a = policy(x)
        total += GAMMA**step * (x.square() + EFFORT * a.square()).sum(-1).mean().item()
        x = x @ system().T + a
    return total


def best_gain() -> Tensor:
    """The optimal K of a = -K x, by Riccati's recursion in the discounted system."""
    identity = torch.eye(AGENTS, dtype=torch.float64)
    a, b = GAMMA**0.5 * system().double(), GAMMA**0.5 * identity
    p, gain = identity, identity
    for _ in range(1000):
        gain = torch.linalg.solve(EFFORT * identity + b.T @ p @ b, b.T @ p @ a)
        closed = a - b @ gain
        p = identity + EFFORT * gain.T @ gain + closed.T @ p @ closed
    return gain.float()


def coordination_rollout(one: Any, draw: torch.Generator, replicas: int = 64) -> Rollout:
    """One-step episodes: 1 if both agents choose the state, 0.5 if both the other, else 0."""
    steps = 4
    state = torch.randint(0, 2, (replicas, steps, 1), generator=draw).expand(-1, -1, 2)
    obs = state[..., None].float()
    decisions = [one.act(obs[:, t], draw) for t in range(steps)]
    action = torch.stack([decision.action for decision in decisions], dim=1)
    agree = (action[..., :1] == action[..., 1:]).float()
    reward = agree * (0.5 + 0.5 * (action == state))
    over = torch.ones(replicas, steps, dtype=torch.bool)
    return one.record(obs, decisions, reward, obs, terminated=over)


# --- data to learn models from


def recorded(
    states: Tensor,
    action: Tensor,
    reward: Tensor,
    links: Links,
    *,
    next_states: Tensor | None = None,
    terminated: Tensor | None = None,
) -> Rollout:
    """Episodes of states (B, T + 1, N, O), each cut at the end; of ``next_states`` where given."""
    shape = action.shape[:2]
    truncated = torch.zeros(shape, dtype=torch.bool)
    truncated[:, -1] = True
    nothing = torch.zeros(*reward.shape, 0)
    return Rollout(
        obs=states[:, : shape[1]].clone(),
        action=action,
        log_prob=torch.zeros_like(reward),
        reward=reward,
        next_obs=(states[:, 1:] if next_states is None else next_states).clone(),
        terminated=torch.zeros_like(truncated) if terminated is None else terminated,
        truncated=truncated,
        active=torch.ones_like(truncated),
        memory=nothing,
        next_memory=nothing,
        links=links,
        next_links=links,
    )


def linear_data(
    draw: torch.Generator, replicas: int = 8, steps: int = 100, noise: float = 0.0
) -> Rollout:
    """x' = A x + a + noise under random actions that pull towards 0."""
    states, actions = [starts(replicas, draw)], []
    for _ in range(steps):
        x = states[-1]
        actions.append(0.6 * torch.randn(x.shape, generator=draw) - 0.3 * x)
        shock = noise * torch.randn(x.shape, generator=draw)
        states.append(x @ system().T + actions[-1] + shock)
    obs, action = torch.stack(states, 1)[..., None], torch.stack(actions, 1)[..., None]
    reward = -(obs[:, :-1].square() + EFFORT * action.square())[..., 0]
    return recorded(obs, action, reward, Net("line", AGENTS).links(1))


@torch.no_grad()
def make_perfect(model: Any, index: Tensor, mask: Tensor, end: float = torch.inf) -> None:
    """Give a DynamicsModel the weights of x' = A x + a, rewards ``price(x')`` and ends x' > end.

    For one feature, one-dimensional actions, links (N, K) and weights that are not shared.
    """
    for parameter in model.parameters():
        parameter.zero_()
    agents, slots = index.shape
    width = len(model.f_edge.first.weight[0]) // 2  # of an encoded state
    model.f_enc.first.weight[:, 0, 0] = 1.0
    for i in range(agents):
        for k in range(slots):
            if mask[i, k]:
                share = system(agents)[i, index[i, k]]
                # What a neighbour adds to the change of the state, and to the state.
                own = float(k == 0)
                model.f_edge.first.weight[i * slots + k, width, :2] = torch.stack(
                    [share - own, share]
                )
    messages = len(model.f_node.first.weight[0]) - 2  # then the action and its size
    for out in (0, 1):
        model.f_node.first.weight[:, out, out] = 1.0
        model.f_node.first.weight[:, messages, out] = 1.0
    model.f_out.weight[:, 0, 0] = 1.0  # change
    model.f_out.weight[:, 1, 1] = 1.0  # reward
    model.f_out.weight[:, 1, 2] = 1.0  # end of the episode
    model.f_out.bias[..., 2] = -min(end, 1e9)


def price(x: Tensor) -> Tensor:
    """What the model's output x stands for in units of the reward."""
    return x.sign() * ((x.abs() + 1.0).square() - 1.0)
