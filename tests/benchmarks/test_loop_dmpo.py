"""The loop over agents computes what the stacked DMPO computes, on catch-up in SUMO.

Both begin with the same weights, none of them near zero, and draw the same numbers.
They add up in another order, so they agree to float32: to 1e-5 in what one pass through
the networks gives. Adam divides each gradient by its own size, so rounding counts most
where a gradient is next to nothing: after a step of size lr, weights agree to lr / 100.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from trafficrl.algorithms import DMPO, Streams
from trafficrl.algorithms.dsac import DSAC
from trafficrl.algorithms.imagination import imagine
from trafficrl.algorithms.rollout import Rollout
from trafficrl.benchmarks.loop_agent import unstacked
from trafficrl.benchmarks.loop_dmpo import Each, LoopDMPO
from trafficrl.benchmarks.loop_parts import PRODUCTS, SCENARIO, SHORT, Subjects, against_loop, parts
from trafficrl.config import load_scenario
from trafficrl.errors import TrafficRLError
from trafficrl.nn.dynamics import DynamicsModel
from trafficrl.nn.stacked import per_set

LR = 3e-4  # of every optimiser there
SMALL = [
    "algorithms.dmpo.branches=64",
    "algorithms.dmpo.branch_length=5",
    "algorithms.dmpo.inner_iterations=2",
    "algorithms.dmpo.base.inner_updates=2",
    "algorithms.dmpo.model.max_updates=4",
    "algorithms.dmpo.model.check_every=2",
]


def draw_together(probabilities: Each, generator: torch.Generator) -> Each:
    """Choices for (S, C) of each agent, as the stacked policies draw them: all at once."""
    drawn = torch.multinomial(torch.cat(probabilities), 1, generator=generator)
    return list(drawn.view(len(probabilities), -1).unbind(0))


class Pair:
    """Both with the same weights, an episode that both remember, and the same streams."""

    def __init__(self, stacked: DMPO, episodes: list[Rollout]) -> None:
        self.episodes, self.rollout = episodes, episodes[0]
        self.links = self.rollout.links
        self.stacked = copy.deepcopy(stacked)
        base, model = self.stacked.base, self.stacked.dynamics.models[0]
        assert isinstance(base, DSAC) and isinstance(model, DynamicsModel)
        self.base, self.model = base, model
        noise = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for module in (base.policy, base.critic, base.target, model):
                for parameter in module.parameters():
                    parameter += 0.1 * torch.empty_like(parameter).normal_(generator=noise)
        self.loop = LoopDMPO(self.stacked, self.links, draw=draw_together)
        self.here, self.there = _streams(), _streams()

        for episode in episodes:
            self.stacked.dynamics.add(episode, self.here.model)
            self.base.remember(episode, self.here)
            self.loop.remember(episode, self.there)
        self.stacked.dynamics._fit_normalisation(self.model)
        self.loop._fit_normalisation()

    def obs(self) -> Tensor:
        """(S, N, O)"""
        return self.rollout.obs[0]

    def assert_weights_agree(self, **within: float) -> None:
        n = len(self.loop.agents)
        for i, agent in enumerate(self.loop.agents):
            modules: list[tuple[nn.Module, nn.Module, int]] = [
                (self.base.policy.net, agent.policy, i),
                *((self.base.critic, agent.critics[twin], twin * n + i) for twin in (0, 1)),
                *((self.base.target, agent.targets[twin], twin * n + i) for twin in (0, 1)),
                (self.model.f_enc, agent.model.encode_state, i),
                (self.model.f_node, agent.model.node, i),
                (self.model.f_out, agent.model.decode, i),
            ]
            places = [k for k, other in enumerate(self.loop.near[i]) if other is not None]
            first = i * len(self.loop.near[i])
            edges = zip(places, agent.model.edges, strict=True)
            modules += [(self.model.f_edge, edge, first + k) for k, edge in edges]
            for together, own, index in modules:
                expected = unstacked(together, index)
                pairs = zip(own.parameters(), expected.parameters(), strict=True)
                for one, other in pairs:
                    torch.testing.assert_close(one, other, **within)
            temperature = self.base.log_temperature[i]
            torch.testing.assert_close(agent.log_temperature, temperature, **within)
            scale = self.base.reward_scale[i]
            torch.testing.assert_close(agent.reward_scale, scale, rtol=1e-5, atol=0.0)


def _streams() -> Streams:
    return Streams(*(torch.Generator().manual_seed(seed) for seed in range(3)))


@pytest.fixture(scope="module")
def subjects() -> Iterator[Subjects]:
    one = Subjects(load_scenario(SCENARIO, SMALL))
    yield one
    one.close()


@pytest.fixture(scope="module")
def episodes(subjects: Subjects) -> list[Rollout]:
    """A whole one and, after it, one that ends in a crash."""
    found: dict[bool, Rollout] = {}
    while len(found) < 2:
        one = subjects.rollout(subjects.stacked)
        found[bool(one.active.all())] = one
    return [found[True], found[False]]


@pytest.fixture
def pair(subjects: Subjects, episodes: list[Rollout]) -> Pair:
    return Pair(subjects.stacked, episodes)


def assert_each(found: Each, expected: Tensor) -> None:
    """Of all agents, ``expected`` agent-first."""
    torch.testing.assert_close(torch.stack(found), expected, rtol=1e-5, atol=1e-5)


def test_all_agents_act_alike(pair: Pair) -> None:
    memory = torch.zeros(len(pair.obs()), 8, 0)
    one, two = (
        who.act(pair.obs(), pair.links, memory, torch.Generator().manual_seed(4))
        for who in (pair.base, pair.loop)
    )
    assert torch.equal(one.action, two.action) and len(one.action.unique()) == 4
    torch.testing.assert_close(one.log_prob, two.log_prob, rtol=1e-5, atol=1e-5)


def test_all_models_predict_alike(pair: Pair) -> None:
    action = pair.rollout.action[0]
    one_hot = pair.stacked.dynamics.actions(action).transpose(0, 1)
    expected = pair.model(pair.obs().transpose(0, 1), one_hot, *pair.links.policy)
    found = pair.loop.predict(list(pair.obs().unbind(1)), list(action.unbind(1)))
    assert_each([one.next_obs for one in found], expected.next_obs)
    assert_each([one.reward for one in found], expected.reward)
    assert_each([one.done for one in found], expected.done)


def test_a_model_update_comes_to_the_same_weights(pair: Pair) -> None:
    dynamics = pair.stacked.dynamics
    starts = dynamics.experience.windows(4, held_out=False)[:256]
    loss = dynamics._loss(pair.model, starts)
    losses = pair.loop.model_losses(starts)
    assert_each(losses, loss)
    dynamics._optims[0].descend(per_set(loss, 8))
    for agent, own in zip(pair.loop.agents, losses, strict=True):
        agent.model_step(own)
    pair.assert_weights_agree(rtol=0.0, atol=0.01 * LR)


def test_a_critic_and_policy_update_comes_to_the_same_weights(pair: Pair) -> None:
    rows = torch.arange(256)
    pair.base._step(pair.base._batch(pair.base.replay, rows), pair.here.actions)
    columns = pair.loop.experience.columns
    batch = {name: [own[rows] for own in each] for name, each in pair.loop.real.items()}
    pair.loop.step(batch, (~columns["terminated"][rows]).float(), pair.there.actions)
    pair.assert_weights_agree(rtol=0.0, atol=0.01 * LR)


def test_a_branched_rollout_goes_the_same_way(pair: Pair) -> None:
    rows = torch.arange(64)
    branches = imagine(pair.base, pair.stacked.dynamics, rows, 5, pair.here.model)
    data, alive, counts = pair.loop.imagine(rows, pair.there.model)
    assert torch.equal(torch.stack(data["action"], 1), branches.action.flatten(0, 1))
    for name in ("obs", "reward", "next_obs"):
        expected = getattr(branches, name).flatten(0, 1).transpose(0, 1)
        # Five steps, in which what was rounded grows; rewards of -1,000 and more.
        torch.testing.assert_close(torch.stack(data[name]), expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(alive == 0.0, branches.terminated.flatten())
    assert torch.equal(counts, branches.active.flatten().nonzero()[:, 0])


def test_an_iteration_comes_to_the_same_weights(pair: Pair) -> None:
    """Model training with checks on held-out data, imagination and updates, two rounds."""
    # The loop draws nothing to measure errors by, for the log.
    pair.stacked.dynamics.errors = lambda generator: {"model_state_error_1": 0.0}  # type: ignore
    pair.stacked.update(pair.rollout, pair.here, 0.0)
    pair.loop.update(pair.rollout, pair.there)
    # Four steps of each optimiser, of which each goes on from the last.
    pair.assert_weights_agree(rtol=0.0, atol=0.2 * LR)


def test_a_wrong_agent_shows_in_itself_and_its_neighbours_alone(pair: Pair) -> None:
    """What the comparison must find: cav_3's encoder is one hundredth off."""
    action = list(pair.rollout.action[0].unbind(1))
    obs = list(pair.obs().unbind(1))
    right = pair.loop.predict(obs, action)
    with torch.no_grad():
        next(pair.loop.agents[3].model.encode_state.parameters()).mul_(1.01)
    wrong = pair.loop.predict(obs, action)
    differs = [
        not torch.allclose(one.next_obs, two.next_obs, rtol=1e-5, atol=1e-5)
        for one, two in zip(right, wrong, strict=True)
    ]
    assert differs == [False, False, True, True, True, False, False, False]
    with pytest.raises(AssertionError):
        pair.assert_weights_agree(rtol=0.0, atol=0.2 * LR)


def test_the_scenario_has_the_work_of_the_authors_code() -> None:
    s = load_scenario(SCENARIO).algorithms.dmpo
    assert (s.branches, s.branch_length, s.inner_iterations) == (2048, 25, 10)
    assert (s.model.max_updates, s.model_every) == (500, 10)
    assert s.base.kind == "dsac" and s.base.inner_updates == 10
    checks = s.model.max_updates / s.model.check_every
    assert s.model.patience >= checks, "training could stop before its 500 updates"


def test_every_part_of_a_cycle_runs_in_both(subjects: Subjects) -> None:
    for part in parts(subjects):
        part.stacked()
        part.loop()


def test_the_benchmark_compares_each_part_and_a_whole_cycle() -> None:
    group = against_loop()
    assert {case.name for case in group.cases} == {PRODUCTS} | {
        name for ratio in group.ratios for name in (ratio.case, ratio.base)
    }
    assert [ratio.target for ratio in group.ratios] == [None] * 4 + [20.0]
    s = load_scenario(SCENARIO, SHORT).algorithms.dmpo
    whole = load_scenario(SCENARIO).algorithms.dmpo
    assert s.model.max_updates / s.model_every == whole.model.max_updates / whole.model_every


def test_what_has_no_counterpart_is_refused(pair: Pair) -> None:
    """DMPO on DPPO."""
    spec, settings = pair.stacked.dynamics.spec, load_scenario("catchup").algorithms.dmpo
    other = DMPO(spec, settings, generator=torch.Generator(), device="cpu")
    with pytest.raises(TrafficRLError, match=r"base\.kind dsac with choices"):
        LoopDMPO(other, pair.links)
