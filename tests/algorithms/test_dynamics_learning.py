"""Learning the dynamics model: what it finds, by which loss, and what is saved of it."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from trafficrl.algorithms.dynamics import DynamicsLearner
from trafficrl.algorithms.rollout import Rollout, at_steps
from trafficrl.nn.encoding import FeatureSpec

from .learners import generator, make, scripted
from .systems import (
    AGENTS,
    SMALL_MODEL,
    Net,
    Team,
    linear_data,
    moved,
    parameters_of,
    recorded,
    system,
)

FAST = {"lr": 3e-3, "batch_size": 128, "check_every": 25}


def predict(one: DynamicsLearner, rows: Tensor) -> Any:
    """What the first model says of rows that were seen."""
    columns = one.experience.columns
    obs, action = (columns[name][rows].transpose(0, 1) for name in ("obs", "action"))
    assert one.experience.links is not None
    links = at_steps(one.experience.links, rows)
    return one.models[0](obs, one.actions(action), *links.policy)


# --- what it finds


def test_a_linear_networked_system_is_recovered() -> None:
    """State errors (MSE / variance) below 0.001 after 1 step and 0.01 after 10."""
    one, draw = make(**FAST, max_updates=250), generator()
    one.add(linear_data(draw), draw)
    before = one.errors(draw)
    log = one.train(draw)
    assert log["model_state_error_1"] < 1e-3 < 0.1 < before["model_state_error_1"]
    assert log["model_state_error_10"] < 1e-2 < 0.1 < before["model_state_error_10"]
    assert log["model_reward_error_1"] < 1e-2 < 0.1 < before["model_reward_error_1"]
    # and what follows depends on each neighbour as it should, on others not at all
    rows = torch.arange(5)
    assert one.experience.links is not None
    for other in range(AGENTS):
        pushed = predict(one, rows).next_obs
        one.experience.columns["obs"][:, other] += 0.1
        slope = (predict(one, rows).next_obs - pushed)[..., 0].mean(1) / 0.1
        one.experience.columns["obs"][:, other] -= 0.1
        torch.testing.assert_close(slope, system()[:, other], rtol=0, atol=0.1)
        assert (slope[system()[:, other] == 0] == 0).all()


@pytest.mark.parametrize("noise", [0.1, 0.3])
def test_a_gaussian_head_finds_the_noise(noise: float) -> None:
    settings = {"max_updates": 500, "patience": 20, "sequence_length": 1, "gaussian": True}
    one, draw = make(**FAST, **settings), generator()
    one.add(linear_data(draw, replicas=16, noise=noise), draw)
    one.train(draw)
    found = predict(one, one.experience.rows())
    spread = (0.5 * found.state_log_var).exp() * one.models[0].delta_std
    for agent in range(AGENTS):
        assert spread[agent].mean().item() == pytest.approx(noise, rel=0.2)


def lap_data(draw: torch.Generator, agents: int = 3) -> Rollout:
    """Places on a lap of 2 with steps of 0.05 (1 + a / 2); driving near 1 pays more."""
    states, actions = [2.0 * torch.rand(8, agents, generator=draw)], []
    for _ in range(100):
        actions.append(torch.randn(8, agents, generator=draw))
        states.append((states[-1] + 0.05 * (1.0 + 0.5 * actions[-1])) % 2.0)
    obs, action = torch.stack(states, 1)[..., None], torch.stack(actions, 1)[..., None]
    reward = -(math.pi * obs[:, :-1, :, 0]).cos()
    return recorded(obs, action, reward, Net("ring", agents).links(1))


def test_laps_that_end_are_fitted_as_well_as_others() -> None:
    one, draw = (
        make("ring", features=[FeatureSpec(period=2.0)], agents=3, **FAST, max_updates=250),
        generator(),
    )
    one.add(lap_data(draw), draw)
    one.train(draw)
    columns, model = one.experience.columns, one.models[0]
    rows = torch.arange(len(one.experience))
    target = one.experience.next_obs(rows).transpose(0, 1)
    found = predict(one, rows)
    error = model.difference(model.bounded(found.next_obs), target)[..., 0].square()
    crossing = (target < columns["obs"].transpose(0, 1) - 1.0)[..., 0]
    assert 0.01 < crossing.float().mean() < 0.1
    assert error[crossing].mean() < 4.0 * error[~crossing].mean()
    assert error.mean() < 1e-2 * (0.025**2)
    assert ((model.bounded(found.next_obs) >= 0) & (model.bounded(found.next_obs) <= 2.0)).all()


def test_choices_are_learned_from_their_one_hot_form() -> None:
    """Choices 0, 1, 2 move the state by -1, 2 and 0.5: no line through their numbers."""
    draw = generator()
    one = make(agents=2, n_choices=3, **FAST, max_updates=200, sequence_length=1)
    assert one.actions(torch.tensor([2, 0])).tolist() == [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    states = torch.randn(8, 100, 2, 1, generator=draw)
    choice = torch.randint(3, (8, 100, 2), generator=draw)
    push = torch.tensor([-1.0, 2.0, 0.5])[choice]
    rollout = recorded(
        states, choice, push, Net("line", 2).links(1), next_states=states + push[..., None]
    )
    one.add(rollout, draw)
    log = one.train(draw)
    assert log["model_state_error_1"] < 1e-2 and log["model_reward_error_1"] < 1e-2


def test_the_end_of_an_episode_is_predicted_and_its_price_known() -> None:
    """Episodes end where x_0 > 0, at -100 for everybody; rewards are 0.1 x otherwise."""
    draw = generator()
    one = make(agents=2, **FAST, max_updates=300, sequence_length=1)
    states = torch.randn(8, 100, 2, 1, generator=draw)
    over = states[:, :, 0, 0] > 0.0
    reward = torch.where(over[..., None], -100.0, 0.1 * states[..., 0])
    rollout = recorded(
        states,
        torch.randn(8, 100, 2, 1, generator=draw),
        reward,
        Net("line", 2).links(1),
        next_states=states,
        terminated=over,
    )
    one.add(rollout, draw)
    log = one.train(draw)
    found, rows = predict(one, one.experience.rows()), one.experience.columns
    right = (found.done > 0.0) == rows["terminated"]
    assert (right.float().mean(1) > 0.95).all()
    assert (one.models[0].end_reward == -100.0).all()
    assert log["model_reward_error_1"] < 0.02  # of what is paid on the way


# --- the loss


def test_the_loss_follows_own_predictions_over_a_sub_trajectory() -> None:
    """Against the same written out for one agent and stretch after the other."""
    one, draw = make("changes", **SMALL_MODEL), generator()
    team = Team("dppo", "changes", features=[FeatureSpec()])
    one.add(team.rollout(replicas=2, steps=60), draw)
    model, columns, links = one.models[0], one.experience.columns, one.experience.links
    one._fit_normalisation(model)
    begins = torch.tensor([3, 70])
    expected = torch.zeros(AGENTS)
    for start in begins.tolist():
        obs = columns["obs"][start][:, None]
        for row in (start, start + 1):
            found = model(
                obs,
                columns["action"][row][:, None],
                *(x[None] for x in at_steps(links, row).policy),
            )
            state = (
                (found.next_obs[:, 0] - one.experience.next_obs(torch.tensor([row]))[0])
                / model.delta_std[:, 0]
            ) ** 2
            wanted = model.normalised_rewards(columns["reward"][row][:, None])
            gain = (found.reward - wanted)[:, 0] ** 2
            end = torch.nn.functional.softplus(found.done[:, 0])  # none ends
            expected += (state.mean(-1) + gain + end) / 4  # 2 stretches of 2 steps
            obs = found.next_obs
    torch.testing.assert_close(one._loss(model, begins), expected)


def test_a_prediction_beyond_the_bound_at_which_the_target_stands_is_right() -> None:
    one = make(features=[FeatureSpec(low=0.0, high=1.0)], agents=2, **SMALL_MODEL)
    model, zero = one.models[0], torch.zeros(2, 1)

    def loss(predicted: float, target: float) -> list[float]:
        found = model(torch.zeros(2, 1, 1), torch.zeros(2, 1, 1), *Net("line", 2).links(1).policy)
        found = found._replace(
            next_obs=torch.full((2, 1, 1), predicted), reward=zero, done=torch.full((2, 1), -50.0)
        )
        wanted = torch.full((2, 1, 1), target)
        return one._step_loss(model, found, wanted, zero, zero).tolist()

    assert loss(1.5, 1.0) == loss(-3.0, 0.0) == loss(0.5, 0.5) == pytest.approx([0.0, 0.0])
    assert loss(1.5, 0.5) == pytest.approx([1.0, 1.0])
    assert loss(0.5, 1.0) == pytest.approx([0.25, 0.25])


def test_a_gaussian_loss_by_hand() -> None:
    """e^2 exp(-v) + v: error 2 at v = log 4 costs 1 + log 4, for the state and for the reward."""
    one = make(agents=2, gaussian=True, **SMALL_MODEL)
    model, v = one.models[0], math.log(4.0)
    found = model(torch.zeros(2, 1, 1), torch.zeros(2, 1, 1), *Net("line", 2).links(1).policy)
    found = found._replace(
        next_obs=torch.full((2, 1, 1), 2.0),
        reward=torch.full((2, 1), 2.0),
        done=torch.full((2, 1), -50.0),
        state_log_var=torch.full((2, 1, 1), v),
        reward_log_var=torch.full((2, 1), v),
    )
    zero = torch.zeros(2, 1)
    loss = one._step_loss(model, found, torch.zeros(2, 1, 1), zero, zero)
    assert loss.tolist() == pytest.approx([2.0 * (1.0 + v)] * 2)


# --- several models, shared weights, saving


def test_the_models_of_an_ensemble_start_and_end_apart() -> None:
    one, draw = make(**SMALL_MODEL, ensemble=2), generator()
    one.add(linear_data(draw, replicas=4, steps=150), draw)
    before = [dict(model.named_parameters()) for model in one.models]
    assert not torch.equal(before[0]["f_out.weight"], before[1]["f_out.weight"])
    one.train(draw)
    first, second = (model.f_out.weight for model in one.models)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("kind", ["line", "ring", "changes"])
@pytest.mark.parametrize("shared", [False, True])
def test_training_moves_every_weight_that_is_in_use(kind: str, shared: bool) -> None:
    team = Team("dppo", kind)
    one = make(kind, features=team.spec.features, shared=shared, gaussian=True, **SMALL_MODEL)
    scripted(one, lambda n: [1.0 / (1 + n)] * (1 if shared else AGENTS))
    draw, before = generator(), parameters_of(one)
    one.add(team.rollout(replicas=4, steps=120), draw)
    one.train(draw)
    after, used = parameters_of(one), one.experience.links.policy[1]
    used = used.view(-1, AGENTS, used.shape[-1]).any(0)  # places that anybody ever takes
    for name in before:
        changed = (before[name] != after[name]).flatten(1).any(1)
        expected = torch.ones_like(changed)
        if "f_edge" in name:
            expected = used.any(0) if shared else used.flatten()
        assert torch.equal(changed, expected), name


@pytest.mark.parametrize("kind", ["line", "changes"])
def test_a_saved_learner_goes_on_as_the_original(kind: str) -> None:
    team = Team("dppo", kind)
    one, other = (
        make(kind, features=team.spec.features, ensemble=2, gaussian=True, **SMALL_MODEL)
        for _ in range(2)
    )
    one.add(team.rollout(replicas=4, steps=120), generator(1))
    one.train(generator(2))
    file = io.BytesIO()
    torch.save(one.state_dict(), file)
    file.seek(0)
    other.load_state_dict(torch.load(file, weights_only=True))
    logs = []
    for learner in (one, other):
        learner.add(team.rollout(seed=5, replicas=4, steps=120), generator(3))
        logs.append(learner.train(generator(4)))
    assert logs[0] == logs[1]
    for name, weights in one.models.state_dict().items():
        assert torch.equal(weights, other.models.state_dict()[name])


def test_one_gradient_step_on_what_an_agent_is_paid_changes_its_own_model_alone() -> None:
    """Later steps reach those who hear it: what it says changes with its encoder."""
    runs = []
    for unit in (1.0, 7.0):
        one, draw = make(**{**SMALL_MODEL, "max_updates": 1}), generator()
        scripted(one, lambda n: [1.0 / (1 + n)] * AGENTS)
        rollout = linear_data(draw, replicas=4, steps=150)
        rollout.reward[..., 2] = (unit * rollout.reward[..., 2]).sin()
        one.add(rollout, draw)
        one.train(draw)
        runs.append(parameters_of(one))
    assert moved(*runs, AGENTS) == [agent == 2 for agent in range(AGENTS)]
