"""Who depends on whom, for the whole method: by gradients, by unknowns and by bits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trafficrl.algorithms import ALGORITHMS
from trafficrl.algorithms.rollout import Links
from trafficrl.nn.encoding import FeatureSpec

from .conftest import streams
from .systems import SMALL_PPO, SMALL_SACBASE, Team, moved, parameters_of

KINDS = ["line", "ring", "changes"]
AGENTS = 8  # more than see each other within 3 hops on a ring
FEATURES = [FeatureSpec(), FeatureSpec(period=1.0), FeatureSpec(gain=5.0)]
SAMPLES = 6
OWN = torch.eye(AGENTS, dtype=torch.bool)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def team(name: str, kind: str, **changes: Any) -> Team:
    return Team(name, kind, AGENTS, features=FEATURES, **changes)


def shaken(module: nn.Module) -> None:
    """Weights far from their start, at which policies hardly look at their inputs."""
    draw = generator(7)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=draw))


def depends(value: Tensor, given: Tensor) -> Tensor:
    """Whether ``value`` (S,) depends on what each agent has of ``given`` (S, N, X): (S, N)."""
    (gradient,) = torch.autograd.grad(value.sum(), given, retain_graph=True, allow_unused=True)
    if gradient is None:
        return torch.zeros(given.shape[:2], dtype=torch.bool)
    return gradient.abs().amax(-1) > 0


def acted(one: Team) -> Tensor:
    """Actions of all agents as models see them, (S, N, A)."""
    if one.spec.n_choices:
        choice = torch.randint(3, (SAMPLES, AGENTS), generator=generator(3))
        return nn.functional.one_hot(choice, 3).float()
    return torch.rand(SAMPLES, AGENTS, 1, generator=generator(3)) - 0.5


# --- dynamics models


def model_of(one: Team) -> Any:
    """A model as after training: every weight counts."""
    model = one.algorithm.dynamics.models[0]
    shaken(model)
    return model


def predicted(model: Any, obs: Tensor, action: Tensor, links: Links) -> dict[str, Tensor]:
    """Everything an agent's model says, (S, N, ...)."""
    found = model(obs.transpose(0, 1), action.transpose(0, 1), *links.policy)
    return {
        name: value.transpose(0, 1) for name, value in found._asdict().items() if value is not None
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_choices", [0, 3])
@pytest.mark.parametrize("shared", [False, True])
def test_a_prediction_depends_on_the_1_hop_neighbourhood_and_the_own_action(
    kind: str, n_choices: int, shared: bool
) -> None:
    """Next state, reward and end: on all of these, and on nothing else, bit for bit."""
    one = team(
        "dmpo",
        kind,
        n_choices=n_choices,
        base={"kind": "dppo", "share_parameters": shared},
        model={"gaussian": True, "activation": "tanh"},
    )
    model, obs, action = model_of(one), one.obs(SAMPLES), acted(one)
    links, near = one.links(SAMPLES), one.net.within(1, (SAMPLES,))
    plain = predicted(model, obs, action, links)
    for j in range(AGENTS):
        other_obs, other_action = obs.clone(), action.clone()
        other_obs[:, j] += 0.3
        other_action[:, j] = other_action[:, j].roll(1, -1) if n_choices else 0.3
        for given, expected in (
            ((other_obs, action), near[:, :, j]),
            ((obs, other_action), OWN[j].expand(SAMPLES, -1)),
        ):
            for name, value in predicted(model, *given, links).items():
                changed = (value != plain[name]).view(SAMPLES, AGENTS, -1).any(-1)
                assert not (changed & ~expected).any(), (name, j)
                # Variances at their bounds do not move.
                assert "log_var" in name or changed[expected].all(), (name, j)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shared", [False, True])
def test_no_gradient_of_a_prediction_reaches_others(kind: str, shared: bool) -> None:
    """What neighbours send has no gradient: neither their states nor their actions have one."""
    base = {"kind": "dppo", "share_parameters": shared}
    one = team("dmpo", kind, base=base, model={"activation": "tanh"})
    obs, action = one.obs(SAMPLES).requires_grad_(), acted(one).requires_grad_()
    found = predicted(model_of(one), obs, action, one.links(SAMPLES))
    for i in range(AGENTS):
        own = (torch.arange(AGENTS) == i).expand(SAMPLES, -1)
        for name, value in found.items():
            flat = value[:, i].reshape(SAMPLES, -1)
            for output in flat.unbind(1):
                assert torch.equal(depends(output, obs), own), name
                assert torch.equal(depends(output, action), own), name


# --- critics


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hops", [0, 1, 2, 3])
def test_a_value_depends_on_the_states_within_kappa_hops_and_on_all_of_them(
    kind: str, hops: int
) -> None:
    one = team("dppo", kind, value_hops=hops)
    obs, links = one.obs(1, SAMPLES).requires_grad_(), one.links(1, SAMPLES)
    near = one.net.within(hops, (SAMPLES,))
    values = one.algorithm.values(obs, links)[0]
    for i in range(AGENTS):
        (gradient,) = torch.autograd.grad(values[:, i].sum(), obs, retain_graph=True)
        assert torch.equal(gradient[0].abs().amax(-1) > 0, near[:, i])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hops", [0, 1, 2, 3])
@pytest.mark.parametrize("n_choices", [0, 3])
def test_a_q_value_depends_on_states_and_actions_within_kappa_hops_and_on_all_of_them(
    kind: str, hops: int, n_choices: int
) -> None:
    one = team("dsac", kind, value_hops=hops, n_choices=n_choices, value_hidden=[32])
    algorithm, links = one.algorithm, one.links(SAMPLES)
    obs, near = one.obs(SAMPLES).requires_grad_(), one.net.within(hops, (SAMPLES,))
    action = acted(one).transpose(0, 1)
    if n_choices:
        action = action.argmax(-1)

    def q(action: Tensor) -> Tensor:
        return algorithm._q(algorithm.critic, obs, action, links)  # (2, N, S)

    plain = q(action)
    for twin in plain:
        for i in range(AGENTS):
            assert torch.equal(depends(twin[i], obs), near[:, i])
    for j in range(AGENTS):
        other = action.clone()
        other[j] = (other[j] + 1) % 3 if n_choices else other[j] + 0.2
        changed = q(other) != plain
        expected = near[:, :, j].T.expand(2, -1, -1)
        assert torch.equal(changed, expected)


# --- policies


def act(one: Team, obs: Tensor, links: Links, seed: int | None) -> tuple[Tensor, Tensor]:
    draw = None if seed is None else generator(seed)
    memory = torch.zeros(*obs.shape[:2], one.algorithm.memory_width)
    decision = one.algorithm.act(obs, links, memory, draw)
    return decision.action, decision.log_prob


@pytest.mark.parametrize("name", ALGORITHMS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_choices", [0, 3])
@pytest.mark.parametrize("seed", [None, 3])
def test_a_policy_acts_from_the_1_hop_states_alone(
    name: str, kind: str, n_choices: int, seed: int | None
) -> None:
    """With the rest of the world unknown an agent does what it does otherwise."""
    one = team(name, kind, n_choices=n_choices)
    check_acting(one, n_choices, seed)


@pytest.mark.parametrize("base", [{"kind": "dppo", **SMALL_PPO, "value_hops": 3}, SMALL_SACBASE])
def test_so_does_a_policy_under_a_model(base: dict[str, Any]) -> None:
    check_acting(team("dmpo", "changes", base=base), 0, 3)


def check_acting(one: Team, n_choices: int, seed: int | None) -> None:
    for part in (one.algorithm, getattr(one.algorithm, "base", None)):
        if hasattr(part, "policy"):
            shaken(part.policy)
    obs, links, near = one.obs(SAMPLES), one.links(SAMPLES), one.net.within(1, (SAMPLES,))
    full = act(one, obs, links, seed)
    for i in range(AGENTS):
        unknown = torch.where(near[:, i, :, None], obs, torch.nan)
        if seed is not None and (n_choices or one.algorithm.memory_width):  # no draws from NaN
            unknown = unknown.nan_to_num(1e3)
        for whole, partial in zip(full, act(one, unknown, links, seed), strict=True):
            assert whole[:, i].isfinite().all()
            assert torch.equal(whole[:, i], partial[:, i])


@pytest.mark.parametrize("name", ["dppo", "cppo", "ia2c", "dsac", "dmpo"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_policy_uses_all_of_its_1_hop_states(name: str, kind: str) -> None:
    one = team(name, kind)
    shaken(getattr(one.algorithm, "base", one.algorithm).policy)
    obs, links, near = one.obs(SAMPLES), one.links(SAMPLES), one.net.within(1, (SAMPLES,))
    plain = act(one, obs, links, None)[0]
    for j in range(AGENTS):
        other = obs.clone()
        other[:, j] += 0.3
        changed = (act(one, other, links, None)[0] != plain).any(-1)
        assert torch.equal(changed, near[:, :, j])


# --- losses


def losses_reach(losses: Tensor, module: nn.Module) -> Tensor:
    """Which agents' parameters the loss of each agent (N,) has a gradient for, (N, N) bool."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    reached = torch.zeros(AGENTS, AGENTS, dtype=torch.bool)
    for i, loss in enumerate(losses):
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        for gradient in gradients:
            if gradient is not None:
                # An agent's edges are in a row.
                rows = gradient.flatten(1).ne(0).any(1)
                reached[i] |= rows.view(AGENTS, -1).any(1)
    return reached


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("gaussian", [False, True])
def test_the_multi_step_loss_of_a_model_trains_its_own_agent_alone(
    kind: str, gaussian: bool
) -> None:
    one = team("dmpo", kind, model={"sequence_length": 4, "gaussian": gaussian})
    dynamics = one.algorithm.dynamics
    dynamics.add(one.rollout(replicas=2, steps=60), generator())
    model = model_of(one)
    losses = dynamics._loss(model, torch.tensor([0, 10, 70, 90]))
    assert torch.equal(losses_reach(losses, model), OWN)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_choices", [0, 3])
def test_the_losses_of_dppo_train_their_own_agent_alone(kind: str, n_choices: int) -> None:
    one = team("dppo", kind, n_choices=n_choices, value_hops=2)
    algorithm, rollout = one.algorithm, one.rollout()
    batch = algorithm._prepare(rollout)
    assert not any(column.requires_grad for column in batch.values())
    log_prob, entropy = algorithm.policy.evaluate(batch["policy_inputs"], batch["action"])
    gain = (log_prob - batch["log_prob"]).exp() * batch["advantage"] + entropy
    assert torch.equal(losses_reach(gain.mean(1), algorithm.policy), OWN)
    error = algorithm.critic(batch["value_inputs"])[..., 0] - batch["returns"]
    assert torch.equal(losses_reach(error.square().mean(1), algorithm.critic), OWN)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_choices", [0, 3])
def test_the_losses_of_dsac_train_their_own_agent_alone(kind: str, n_choices: int) -> None:
    """Also where a neighbour's action, drawn from its policy, stands in the own critic."""
    one = team("dsac", kind, n_choices=n_choices, value_hops=2)
    algorithm = one.algorithm
    algorithm.remember(one.rollout(), streams())
    batch = algorithm._batch(algorithm.replay, torch.arange(SAMPLES))
    inputs = algorithm.encoder.neighbourhood(batch["obs"], *batch["links"].policy)
    temperature = algorithm.log_temperature.exp()
    loss, entropy = algorithm._policy_loss(inputs, batch, temperature, generator())
    assert torch.equal(losses_reach(loss, algorithm.policy), OWN)
    target = algorithm._soft_target(batch, temperature, generator())
    assert not target.requires_grad
    for twin, q in enumerate(
        algorithm._q(algorithm.critic, batch["obs"], batch["action"], batch["links"])
    ):
        rows = [
            torch.autograd.grad(error, [*algorithm.critic.parameters()], retain_graph=True)
            for error in (q - target).square().mean(1)
        ]
        for i, gradients in enumerate(rows):
            own = torch.zeros(2 * AGENTS, dtype=torch.bool)
            own[twin * AGENTS + i] = True  # first critics, then second ones
            reached = torch.stack([g.flatten(1).ne(0).any(1) for g in gradients]).any(0)
            assert torch.equal(reached, own)
    gap = entropy.detach() - algorithm._target_entropy()
    reached = torch.stack(
        [
            torch.autograd.grad(x, algorithm.log_temperature, retain_graph=True)[0][:, 0] != 0
            for x in algorithm.log_temperature[:, 0] * gap
        ]
    )
    assert torch.equal(reached, OWN)


# --- rewards, by bits


@pytest.mark.parametrize("name", ["dppo", "dsac"])
@pytest.mark.parametrize("kind", ["line", "ring"])
@pytest.mark.parametrize("hops", [0, 1, 2])
@pytest.mark.parametrize("n_choices", [0, 3])
def test_rewards_beyond_kappa_hops_leave_an_update_as_it_was(
    name: str, kind: str, hops: int, n_choices: int
) -> None:
    """Policies and critics of all agents, bit for bit.

    DSAC makes one gradient step: from the second on, neighbours who have
    learned something else act differently in the targets.
    """
    changes = {"dppo": {"target_kl": None}, "dsac": {"updates_per_interval": 1e-3}}[name]
    runs = []
    for change in (0.0, 1.0):
        one = team(name, kind, n_choices=n_choices, value_hops=hops, **changes)
        rollout = one.rollout()
        rollout.reward[..., 0] += change * torch.arange(6.0)
        one.update(rollout)
        runs.append(parameters_of(one.algorithm))
    near = one.net.within(hops, (1,))[0, 0].tolist()
    for part in ("policy", "critic", ""):
        before, after = (
            {key: weights for key, weights in run.items() if key.startswith(part)} for run in runs
        )
        own_alone = name == "dppo" and part == "critic"  # V_i is of the own reward
        expected = [i == 0 for i in range(AGENTS)] if own_alone else near
        assert moved(before, after, AGENTS) == expected


def test_rewards_travel_by_the_links_of_their_moment() -> None:
    """Where the graph changes, agent 0's reward counts for who is near it then, in that step."""
    one = team("dsac", "changes", value_hops=1, normalize_rewards=False)
    algorithm, rollout = one.algorithm, one.rollout(replicas=1, steps=SAMPLES)
    near = one.net.within(1, (1, SAMPLES))
    sums = []
    for change in (0.0, 7.0):
        rollout.reward[..., 0] += change
        algorithm.remember(rollout, streams())
        rows = torch.arange(SAMPLES) + len(algorithm.replay) - SAMPLES
        sums.append(algorithm._batch(algorithm.replay, rows)["reward"])
    expected = torch.where(near[0, :, :, 0].T, 7.0 / AGENTS, 0.0)
    torch.testing.assert_close(sums[1] - sums[0], expected)
