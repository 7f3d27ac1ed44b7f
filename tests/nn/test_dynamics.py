"""The dynamics model against plain loops over agents and edges, and its units."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from trafficrl.config.algorithms import DynamicsSettings
from trafficrl.nn.dynamics import MAX_LOG_VAR, MIN_LOG_VAR, DynamicsModel, Prediction, ShortcutMLP
from trafficrl.nn.encoding import FeatureSpec
from trafficrl.nn.stacked import StackedLinear

AGENTS, SAMPLES, ACTIONS, SLOTS = 4, 6, 2, 3
FEATURES = [FeatureSpec(), FeatureSpec(period=2.0), FeatureSpec(low=-1.0, high=1.5)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(
    features: list[FeatureSpec] = FEATURES,
    *,
    agents: int = AGENTS,
    neighbours: int = SLOTS,
    choices: bool = False,
    shared: bool = False,
    **settings: Any,
) -> DynamicsModel:
    small = {"node_embedding": 3, "edge_embedding": 5, "message_hidden": [4], "hidden": [6, 7]}
    return DynamicsModel(
        agents,
        features,
        ACTIONS,
        neighbours,
        DynamicsSettings(**{**small, **settings}),
        choices=choices,
        shared=shared,
        generator=generator(),
    )


def shaken(model: DynamicsModel) -> DynamicsModel:
    """The model with weights and units far from their start."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator(7)))
        draw = generator(8)
        for name, buffer in model.named_buffers():
            if name in ("state_mean", "reward_mean"):
                buffer.copy_(torch.randn(buffer.shape, generator=draw))
            elif name.endswith(("_std", "_unit", "action_scale")):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=draw))
    return model


def line(agents: int = AGENTS) -> tuple[Tensor, Tensor]:
    """Agent, the one ahead (i - 1), the one behind (i + 1): index and mask (N, 3)."""
    own = torch.arange(agents)[:, None]
    index = own + torch.tensor([0, -1, 1])
    mask = (index >= 0) & (index < agents)
    return torch.where(mask, index, own), mask


def ring(agents: int = AGENTS) -> tuple[Tensor, Tensor]:
    index = (torch.arange(agents)[:, None] + torch.tensor([0, -1, 1])) % agents
    return index, torch.ones_like(index, dtype=torch.bool)


def changing(agents: int = AGENTS, slots: int = SLOTS) -> tuple[Tensor, Tensor]:
    """Random neighbours in each sample, (S, N, K)."""
    draw = generator(3)
    index = torch.randint(0, agents, (SAMPLES, agents, slots), generator=draw)
    mask = torch.rand(SAMPLES, agents, slots, generator=draw) < 0.6
    index[..., 0], mask[..., 0] = torch.arange(agents), True
    return torch.where(mask, index, torch.arange(agents)[:, None]), mask


LINKS = {"line": line, "ring": ring, "changing": changing}


def inputs(agents: int = AGENTS, features: int = len(FEATURES)) -> tuple[Tensor, Tensor]:
    """Observations (N, S, O) and actions (N, S, A)."""
    draw = generator(1)
    obs = torch.rand(agents, SAMPLES, features, generator=draw)
    return obs, torch.randn(agents, SAMPLES, ACTIONS, generator=draw)


# --- the whole against its parts


@pytest.mark.parametrize("links", LINKS)
@pytest.mark.parametrize("gaussian", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("choices", [False, True])
def test_shapes(links: str, gaussian: bool, shared: bool, choices: bool) -> None:
    model = make(gaussian=gaussian, shared=shared, choices=choices)
    found = model(*inputs(), *LINKS[links]())
    assert found.next_obs.shape == (AGENTS, SAMPLES, len(FEATURES))
    assert found.reward.shape == found.done.shape == (AGENTS, SAMPLES)
    if gaussian:
        assert found.state_log_var.shape == found.next_obs.shape
        assert found.reward_log_var.shape == found.reward.shape
    else:
        assert found.state_log_var is None and found.reward_log_var is None


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_any_number_of_neighbours_fits(slots: int) -> None:
    model = make(neighbours=slots)
    assert model(*inputs(), *changing(slots=slots)).reward.shape == (AGENTS, SAMPLES)


def alone(layer: nn.Module, row: int) -> nn.Module:
    """One row of a stacked layer as a layer of torch."""
    if not isinstance(layer, StackedLinear):
        return layer
    own = nn.Linear(*layer.weight.shape[1:])
    with torch.no_grad():
        own.weight.copy_(layer.weight[row].T)
        own.bias.copy_(layer.bias[row, 0])
    return own


class PlainAgent:
    """The model of one agent, one state at a time, written out as Eq. 2-4."""

    def __init__(self, model: DynamicsModel, agent: int) -> None:
        self.model, self.row = model, 0 if model.shared else agent
        first = 0 if model.shared else agent * SLOTS
        self.enc = self._block(model.f_enc, self.row)
        self.edges = [self._block(model.f_edge, first + slot) for slot in range(SLOTS)]
        self.node = self._block(model.f_node, self.row)
        self.out = alone(model.f_out, self.row)

    @staticmethod
    def _block(block: ShortcutMLP, row: int) -> Callable[[Tensor], Tensor]:
        """A linear map beside a network with one more layer than ``rest``."""
        outputs = block.widths[0]
        first, rest = alone(block.first, row), [alone(part, row) for part in block.rest.layers]
        curved = nn.Sequential(block.activation, *rest)
        return lambda x: first(x)[:outputs] + curved(first(x)[outputs:])

    def encode(self, obs: Tensor) -> Tensor:
        turn = 2.0 * math.pi * obs[1] / 2.0  # the second feature wraps after 2
        seen = torch.stack([obs[0], obs[2], turn.sin(), turn.cos()])
        m = self.model
        return self.enc((seen - m.state_mean[self.row, 0]) / m.state_std[self.row, 0])

    def predict(self, obs: Tensor, action: Tensor, encoded: dict[int, Tensor]) -> list[Tensor]:
        """``encoded`` has the neighbours' states by slot."""
        h0 = self.encode(obs)
        message = sum(self.edges[slot](torch.cat([h0, h])) for slot, h in encoded.items())
        a = action / self.model.action_scale[self.row, 0]
        h1 = self.node(torch.cat([message, a, a.abs()]))
        out, o = self.out(h1), len(FEATURES)
        found = [obs + out[:o] * self.model.delta_std[self.row, 0], out[o], out[o + 1]]
        if self.model.gaussian:
            # Bounds by softplus are sums of variances, and of their inverses.
            low, high = math.exp(MIN_LOG_VAR), math.exp(MAX_LOG_VAR)
            found.append((1.0 / (1.0 / (low + out[o + 2 :].exp()) + 1.0 / high)).log())
        return found


@pytest.mark.parametrize("links", LINKS)
@pytest.mark.parametrize("gaussian", [False, True])
@pytest.mark.parametrize("shared", [False, True])
@torch.no_grad()
def test_it_equals_a_loop_over_agents_and_edges(links: str, gaussian: bool, shared: bool) -> None:
    model = shaken(make(gaussian=gaussian, shared=shared))
    (obs, action), (index, mask) = inputs(), LINKS[links]()
    found = model(obs, action, index, mask)
    plain = [PlainAgent(model, agent) for agent in range(AGENTS)]
    for s in range(SAMPLES):
        own_index, own_mask = (x[s] if x.dim() == 3 else x for x in (index, mask))
        for i, agent in enumerate(plain):
            heard = {
                k: plain[j].encode(obs[j, s])
                for k, j in enumerate(own_index[i].tolist())
                if own_mask[i, k]
            }
            expected = agent.predict(obs[i, s], action[i, s], heard)
            got = [found.next_obs[i, s], found.reward[i, s], found.done[i, s]]
            if gaussian:
                got.append(torch.cat([found.state_log_var[i, s], found.reward_log_var[i, s, None]]))
            for a, b in zip(got, expected, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_with_shared_weights_agents_can_change_places() -> None:
    model, order = shaken(make(shared=True)), torch.tensor([2, 0, 3, 1])
    (obs, action), (index, mask) = inputs(), line()
    place = order.argsort()
    plain = model(obs, action, index, mask)
    permuted = model(obs[order], action[order], place[index[order]], mask[order])
    for a, b in zip(plain[:3], permuted[:3], strict=True):
        torch.testing.assert_close(a[order], b)


@pytest.mark.parametrize("links", [line, changing])
def test_who_is_no_neighbour_may_be_unknown(links: Any) -> None:
    model, (obs, action), (index, mask) = shaken(make(gaussian=True)), inputs(), links()
    found = model(obs, action, index, mask)
    for i in range(AGENTS):
        for s in range(SAMPLES):
            heard, there = (x[s, i] if x.dim() == 3 else x[i] for x in (index, mask))
            others = [j for j in range(AGENTS) if j not in heard[there].tolist()]
            unknown, acts = obs.clone(), action.clone()
            unknown[others] = torch.nan
            acts[[j for j in range(AGENTS) if j != i]] = torch.nan
            for a, b in zip(found, model(unknown, acts, index, mask), strict=True):
                torch.testing.assert_close(a[i, s], b[i, s], rtol=0, atol=1e-6)


@pytest.mark.parametrize("shared", [False, True])
def test_log_variances_stay_within_bounds_and_so_do_their_gradients(shared: bool) -> None:
    model = make(gaussian=True, shared=shared)
    for extreme in (-1e3, 1e3):
        with torch.no_grad():
            model.f_out.bias[..., len(FEATURES) + 2 :] = extreme
        found = model(*inputs(), *line())
        for log_var in (found.state_log_var, found.reward_log_var):
            assert (log_var >= MIN_LOG_VAR - 1e-4).all() and (log_var <= MAX_LOG_VAR + 1e-4).all()
        found.state_log_var.sum().backward()
        assert all(p.grad.isfinite().all() for p in model.f_out.parameters())


def test_the_generator_alone_decides_the_first_weights() -> None:
    torch.manual_seed(1)
    one = make(gaussian=True)
    torch.manual_seed(2)
    other = make(gaussian=True)
    for a, b in zip(one.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


# --- features with a lap and with bounds


def test_a_lap_has_no_end_for_the_model() -> None:
    """From just before to just after the end of the lap what follows hardly differs."""
    model = shaken(make(gaussian=True))
    (obs, action), (index, mask) = inputs(), ring()
    before, after = obs.clone(), obs.clone()
    before[2, :, 1], after[2, :, 1] = 2.0 - 1e-5, 1e-5
    one, other = (model(x, action, index, mask) for x in (before, after))
    steps = one.next_obs - before, other.next_obs - after
    for a, b in ((steps[0], steps[1]), *zip(one[1:], other[1:], strict=True)):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-3)
    # and a change of the same size inside the lap does matter
    moved = before.clone()
    moved[2, :, 1] -= 1.0
    assert (model(moved, action, index, mask).reward - one.reward)[1:].abs().min() > 1e-3


def test_what_is_predicted_is_bounded_and_wrapped_by_hand() -> None:
    features = [FeatureSpec(period=2.0), FeatureSpec(low=-1.0, high=1.5), FeatureSpec(low=0.0)]
    model = make(features)
    obs = torch.tensor([[2.25, 1.75, 99.0], [-0.5, -3.0, -0.25], [1.0, 0.5, 0.5]])
    expected = [[0.25, 1.5, 99.0], [1.5, -1.0, 0.0], [1.0, 0.5, 0.5]]
    assert model.bounded(obs).tolist() == expected
    plain = make(features[1:])
    assert plain.bounded(obs[:, 1:]).tolist() == [row[1:] for row in expected]


def test_differences_go_the_short_way_round_by_hand() -> None:
    model = make([FeatureSpec(period=2.0), FeatureSpec()])
    one = torch.tensor([[0.25, 0.25], [1.75, 1.75], [0.5, 0.5], [1.0, 1.0]])
    other = torch.tensor([[1.75, 1.75], [0.25, 0.25], [0.25, 0.25], [0.25, 0.25]])
    expected = [[0.5, -1.5], [-0.5, 1.5], [0.25, 0.25], [0.75, 0.75]]
    assert model.difference(one, other).tolist() == expected
    plain = make([FeatureSpec()])
    assert plain.difference(one[:, 1:], other[:, 1:]).tolist() == [[-1.5], [1.5], [0.25], [0.75]]


# --- units


def data(samples: int = 400) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Obs, action, next_obs and reward; agent 1 has all of them larger; laps end in them."""
    draw, sizes = generator(5), torch.tensor([1.0, 10.0, 2.0, 3.0])[:, None, None]
    obs = torch.rand(AGENTS, samples, 3, generator=draw) * torch.tensor([5.0, 2.0, 2.0])
    step = 0.1 * torch.randn(AGENTS, samples, 3, generator=draw)
    action = sizes * torch.randn(AGENTS, samples, ACTIONS, generator=draw)
    next_obs = obs + step
    next_obs[..., 1] %= 2.0
    reward = -sizes[..., 0] * torch.randn(AGENTS, samples, generator=draw).square() * 50.0
    return obs, action, next_obs, reward


@pytest.mark.parametrize("shared", [False, True])
def test_units_are_those_of_the_data_of_each_set_of_weights(shared: bool) -> None:
    model = make(shared=shared)
    obs, action, next_obs, reward = data()
    model.fit_normalisation(obs, action, next_obs, reward)
    assert len(model.delta_std) == (1 if shared else AGENTS)
    # The lap's end is no step of -2 but one of about 0.1.
    assert ((model.delta_std - 0.1).abs() < 0.02).all()
    rows = (1, -1) if shared else (AGENTS, -1)
    state = (model.encoder.own(obs) - model.state_mean) / model.state_std
    for values in (state.reshape(*rows, 4), model.normalised_rewards(reward).reshape(rows)):
        assert values.mean(1).abs().max() < 1e-4
        torch.testing.assert_close(
            values.std(1, correction=0), torch.ones_like(values[:, 0]), rtol=1e-3, atol=0
        )
    torch.testing.assert_close(
        (action / model.action_scale).reshape(*rows, ACTIONS).square().mean(1),
        torch.ones(rows[0], ACTIONS),
    )


def test_one_hot_choices_stay_as_they_are() -> None:
    model = make(choices=True)
    obs, action, next_obs, reward = data()
    model.fit_normalisation(obs, action, next_obs, reward)
    assert (model.action_scale == 1.0).all()


def test_features_and_rewards_that_never_change_are_no_obstacle() -> None:
    model = make()
    still = torch.ones(AGENTS, 9, 3), torch.zeros(AGENTS, 9, ACTIONS), torch.ones(AGENTS, 9, 3)
    model.fit_normalisation(*still, torch.zeros(AGENTS, 9))
    found = model(*inputs(), *line())
    assert all(value.isfinite().all() for value in found[:3])
    assert model.rewards(found.reward).isfinite().all()


@pytest.mark.parametrize("shared", [False, True])
def test_rewards_and_normalised_rewards_undo_each_other(shared: bool) -> None:
    model = make(shared=shared)
    model.fit_normalisation(*data())
    reward = torch.tensor([-1e4, -300.0, -1.0, -1e-3, 0.0, 1e-3, 2.0, 1e3]).expand(AGENTS, -1)
    there = model.normalised_rewards(reward)
    assert (there.diff(dim=1) > 0).all()
    torch.testing.assert_close(model.rewards(there), reward, rtol=1e-3, atol=2e-2)


def test_the_scale_of_rewards_by_hand() -> None:
    """Unit 10, then sign(x) (sqrt(|x| + 1) - 1), less the mean 1, over the spread 2."""
    model = make(agents=1)
    model.reward_unit.fill_(10.0)
    model.reward_mean.fill_(1.0)
    model.reward_std.fill_(2.0)
    reward = torch.tensor([[0.0, 30.0, -80.0, 150.0]])  # squashed: 0, 1, -2, 3
    expected = torch.tensor([[-0.5, 0.0, -1.5, 1.0]])
    torch.testing.assert_close(model.normalised_rewards(reward), expected)
    torch.testing.assert_close(model.rewards(expected), reward, rtol=1e-5, atol=1e-4)


def test_the_end_of_an_episode_pays_what_ends_have_paid() -> None:
    model = make(agents=2)
    model.end_reward.copy_(torch.tensor([[-1000.0], [-7.0]]))
    predicted = torch.zeros(2, 3)
    plain = model.rewards(predicted)
    found = model.rewards(predicted, torch.tensor([False, True, False]))
    assert found[:, 1].tolist() == [-1000.0, -7.0]
    assert torch.equal(found[:, [0, 2]], plain[:, [0, 2]])


def test_a_fresh_model_stays_finite_on_what_it_never_saw() -> None:
    model = make(gaussian=True)
    model.fit_normalisation(*data())
    found: Prediction = model(1e4 + inputs()[0], inputs()[1], *line())
    assert all(value.isfinite().all() for value in found)
