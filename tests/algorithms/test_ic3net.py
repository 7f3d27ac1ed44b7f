"""IC3Net: memory, gates, and whose losses train what."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from trafficrl.algorithms import IC3Net
from trafficrl.algorithms.base import Decision
from trafficrl.algorithms.ic3net import sequences
from trafficrl.algorithms.rollout import Links, Rollout
from trafficrl.config.algorithms import IC3NetSettings

from .conftest import streams
from .lines import (
    assert_an_update_moves_everything,
    assert_learns_on_as,
    links_on_a_line,
    spec_on_a_line,
)
from .lines import weights as weights_of

AGENTS, HIDDEN = 4, 6
PARTS = ("net", "policy", "gate", "critic")


def make(
    agents: int = AGENTS, obs_dim: int = 2, n_choices: int = 0, seed: int = 0, **settings
) -> IC3Net:
    spec = spec_on_a_line(agents, obs_dim, n_choices)
    return IC3Net(
        spec,
        IC3NetSettings(**{"hidden_size": HIDDEN, "sequence_length": 4, **settings}),
        generator=torch.Generator().manual_seed(seed),
        device="cpu",
    )


Reward = Callable[[int, Tensor], Tensor]  # of the step in the episode and the action


def collect(
    one: IC3Net,
    obs: Tensor,
    reward: Reward,
    draw: torch.Generator | None,
    *,
    episode: int,
    changing: bool = False,
) -> Rollout:
    """Acts on obs (B, T, N, O) in episodes of ``episode`` steps; each ends with the last obs.

    In a graph that is ``changing`` every link is there in half of the steps.
    """
    replicas, steps, agents, _ = obs.shape
    links = links_on_a_line(agents, (replicas, steps) if changing else ())
    index, mask = links.policy
    if changing:
        mask = mask & (torch.rand(mask.shape, generator=draw) < 0.5)
        mask[..., 0] = True
        links.policy = index, mask
    fresh = torch.zeros(replicas, agents, one.memory_width)
    memory, acted, memories, rewards = fresh, [], [], []
    for t in range(steps):
        memory = fresh if t % episode == 0 else memory
        memories.append(memory)
        now = (index[:, t], mask[:, t]) if changing else (index, mask)
        acted.append(one.act(obs[:, t], Links(now, now), memory, draw))
        memory = acted[-1].memory
        rewards.append(reward(t % episode, acted[-1].action))
    truncated = (torch.arange(steps) % episode == episode - 1).expand(replicas, steps).clone()
    next_obs = torch.where(truncated[..., None, None], obs, obs.roll(-1, dims=1))
    return Rollout(
        obs=obs,
        action=torch.stack([decision.action for decision in acted], 1),
        log_prob=torch.stack([decision.log_prob for decision in acted], 1),
        reward=torch.stack(rewards, 1),
        next_obs=next_obs,
        terminated=torch.zeros_like(truncated),
        truncated=truncated,
        active=torch.ones_like(truncated),
        memory=torch.stack(memories, 1),
        next_memory=torch.stack([decision.memory for decision in acted], 1),
        links=links,
        next_links=links,
    )


def random_rollout(
    one: IC3Net, *, agents: int = AGENTS, changing: bool = False, seed: int = 1
) -> Rollout:
    """11 steps with an end after the 7th: sequences of 4 hold it inside, the last is short."""
    draw = torch.Generator().manual_seed(seed)
    obs = torch.randn(3, 11, agents, 2, generator=draw)
    reward = torch.randn(7, 3, agents, generator=draw)
    return collect(one, obs, lambda t, _: reward[t], draw, episode=7, changing=changing)


def weights(one: IC3Net) -> dict[str, Tensor]:
    return weights_of(one, PARTS)


# --- Memory and gates


def memory_with(one: IC3Net, gates: list[float], seed: int = 0) -> Tensor:
    memory = torch.randn(2, AGENTS, one.memory_width, generator=torch.Generator().manual_seed(seed))
    memory[..., -1] = torch.tensor(gates)
    return memory


def mode(one: IC3Net, memory: Tensor, obs: Tensor | None = None) -> Decision:
    obs = torch.zeros(2, AGENTS, 2) if obs is None else obs
    return one.act(obs, links_on_a_line(AGENTS), memory, None)


def test_an_agent_hears_a_neighbour_whose_gate_is_open_and_nobody_else() -> None:
    one = make()
    memory = memory_with(one, [1.0, 0.0, 1.0, 1.0])
    for speaker, listeners in enumerate([[0, 1], [1], [1, 2, 3], [2, 3]]):  # and itself, always
        changed = memory.clone()
        changed[:, speaker, :HIDDEN] += 1.0
        states = (mode(one, each).memory[..., :HIDDEN] for each in (memory, changed))
        differ = torch.ne(*states).any(-1)
        expected = [agent in listeners for agent in range(AGENTS)]
        assert differ.tolist() == [expected] * 2


def test_what_is_heard_is_the_mean_over_all_neighbours_with_closed_gates_as_0() -> None:
    one = make()
    hidden = torch.tensor([1.0, 2.0, 4.0, 8.0]).view(AGENTS, 1, 1).expand(-1, 1, HIDDEN)
    gate = torch.tensor([1.0, 1.0, 0.0, 1.0]).view(AGENTS, 1, 1)
    memory = one._remembered(torch.cat([hidden, hidden, gate], -1).transpose(0, 1))
    heard = one.net._heard(memory, *links_on_a_line(AGENTS).policy)
    # Of 0: {1}; of 1: {0, 2}; of 2: {1, 3}; of 3: {2}
    assert heard[:, 0, 0].tolist() == [2.0, 0.5, 5.0, 0.0]


def test_an_agent_without_neighbours_hears_nothing() -> None:
    one = make(agents=1)
    alone = torch.zeros(1, 1, dtype=torch.long), torch.ones(1, 1, dtype=torch.bool)
    memory = torch.ones(2, 1, one.memory_width)
    decision = one.act(torch.zeros(2, 1, 2), Links(alone, alone), memory, None)
    assert decision.action.isfinite().all() and decision.memory.isfinite().all()


def test_memory_is_used_and_kept() -> None:
    one = make()
    obs = torch.randn(2, AGENTS, 2)
    first = mode(one, torch.zeros(2, AGENTS, one.memory_width), obs)
    again = mode(one, torch.zeros(2, AGENTS, one.memory_width), obs)
    second = mode(one, first.memory, obs)
    assert first.memory.shape == (2, AGENTS, 2 * HIDDEN + 1)
    assert torch.equal(first.memory, again.memory) and torch.equal(first.action, again.action)
    assert (second.action != first.action).all()


def test_gates_are_0_or_1_drawn_by_their_probability_or_the_likelier() -> None:
    one = make()
    with torch.no_grad():
        one.gate.weight.zero_()
        one.gate.bias.fill_(1.0986)  # probability 0.75
    obs, nothing = torch.zeros(500, AGENTS, 2), torch.zeros(500, AGENTS, one.memory_width)
    draw = torch.Generator().manual_seed(0)
    gates = one.act(obs, links_on_a_line(AGENTS), nothing, draw).memory[..., -1]
    assert set(gates.unique().tolist()) == {0.0, 1.0}
    assert gates.mean().item() == pytest.approx(0.75, abs=0.03)
    assert mode(one, nothing[:2]).memory[..., -1].eq(1).all()
    with torch.no_grad():
        one.gate.bias.neg_()
    assert mode(one, nothing[:2]).memory[..., -1].eq(0).all()


@pytest.mark.parametrize("n_choices", [0, 3])
def test_actions_have_their_shapes_and_the_mode_repeats(n_choices: int) -> None:
    one = make(n_choices=n_choices)
    obs, memory = torch.randn(2, AGENTS, 2), memory_with(one, [1.0, 0.0, 1.0, 1.0])
    for draw in (torch.Generator(), None):
        decision = one.act(obs, links_on_a_line(AGENTS), memory, draw)
        assert decision.action.shape == ((2, AGENTS) if n_choices else (2, AGENTS, 1))
        assert decision.log_prob.shape == (2, AGENTS)
    first, second = (mode(one, memory, obs) for _ in range(2))
    assert torch.equal(first.action, second.action) and torch.equal(first.memory, second.memory)


# --- Learning


@pytest.mark.parametrize("changing", [False, True])
@pytest.mark.parametrize("n_choices", [0, 3])
@pytest.mark.parametrize("share_parameters", [False, True])
def test_the_update_sees_the_log_probabilities_of_acting(
    share_parameters: bool, n_choices: int, changing: bool
) -> None:
    one = make(share_parameters=share_parameters, n_choices=n_choices)
    rollout = random_rollout(one, changing=changing)
    action, log_prob, memory = (
        x.flatten(0, 1).transpose(0, 1)
        for x in (rollout.action, rollout.log_prob, rollout.next_memory)
    )
    hidden = one.unrolled(rollout)
    torch.testing.assert_close(hidden, memory[..., :HIDDEN])
    torch.testing.assert_close(one.policy.evaluate(hidden, action)[0], log_prob)


@pytest.mark.parametrize("changing", [False, True])
@pytest.mark.parametrize("n_choices", [0, 3])
@pytest.mark.parametrize("share_parameters", [False, True])
def test_an_update_moves_everything_whatever_the_setting(
    share_parameters: bool, n_choices: int, changing: bool
) -> None:
    one = make(share_parameters=share_parameters, n_choices=n_choices)
    assert_an_update_moves_everything(one, random_rollout(one, changing=changing), PARTS)


def test_gradients_go_back_to_the_start_of_a_sequence_and_of_an_episode() -> None:
    """11 steps in sequences of 4, the first episode ends with step 6."""
    reached = {2: [0, 1, 2], 4: [4], 6: [4, 5, 6], 7: [7], 10: [8, 9, 10]}
    one = make()
    rollout = random_rollout(one)
    for step, expected in reached.items():
        rollout.obs = rollout.obs.detach().requires_grad_()
        hidden = one.unrolled(rollout).view(AGENTS, 3, 11, HIDDEN)
        hidden[0, 1, step].sum().backward()
        touched = rollout.obs.grad.abs().amax((2, 3)) > 0
        assert touched[1].nonzero().flatten().tolist() == expected
        assert not touched[[0, 2]].any()


def test_after_waiting_an_episode_begins_with_its_own_memory() -> None:
    """Replica 1 terminates at step 4 and waits until the others begin anew at step 7."""
    one = make(sequence_length=20)
    rollout = random_rollout(one)
    rollout.terminated[1, 4] = True
    rollout.active[1, 5:7] = False
    rollout.truncated[1, 6] = False
    expected = rollout.next_memory[..., :HIDDEN].flatten(0, 1).transpose(0, 1)
    torch.testing.assert_close(one.unrolled(rollout), expected)
    rollout.obs.requires_grad_()
    one.unrolled(rollout).view(AGENTS, 3, 11, HIDDEN)[:, 1, 7].sum().backward()
    assert (rollout.obs.grad[1].abs().amax((1, 2)) > 0).nonzero().tolist() == [[7]]


def test_samples_of_a_waiting_replica_do_not_count() -> None:
    one, other = make(), make()
    rollout, changed = random_rollout(one), random_rollout(other)
    for each in (rollout, changed):
        each.terminated[1, 8] = True
        each.active[1, 9:] = False
    for name in ("obs", "next_obs", "action", "reward", "memory", "next_memory"):
        getattr(changed, name)[1, 9:] += 7.0
    assert one.update(rollout, streams(), 0.0) == other.update(changed, streams(), 0.0)
    mine, theirs = weights(one), weights(other)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


@pytest.mark.parametrize("agent", range(AGENTS))
def test_the_loss_of_an_agent_with_its_own_weights_moves_nobody_elses(agent: int) -> None:
    one = make(share_parameters=False)
    rollout = random_rollout(one)
    assert rollout.memory[..., -1].any(), "somebody should speak"
    one.unrolled(rollout)[agent].square().sum().backward()
    others = [other for other in range(AGENTS) if other != agent]
    for parameter in one.net.parameters():
        assert parameter.grad[agent].abs().max() > 0
        assert parameter.grad[others].abs().max() == 0


@pytest.mark.parametrize("share_parameters", [False, True])
def test_a_listeners_loss_reaches_what_was_said_with_shared_weights_alone(
    share_parameters: bool,
) -> None:
    one = make(share_parameters=share_parameters, sequence_length=20)
    rollout = random_rollout(one)
    rollout.memory[..., -1] = 1.0
    rollout.obs.requires_grad_()
    one.unrolled(rollout)[0].sum().backward()
    heard = (rollout.obs.grad.abs().amax((0, 1, 3)) > 0).tolist()
    assert heard == ([True] * AGENTS if share_parameters else [True, False, False, False])


def test_advantages_and_value_targets_by_hand() -> None:
    """V = 1 whatever is seen; gamma = lambda = 0.5; each agent by its own reward."""
    one = make(
        agents=2, gamma=0.5, gae_lambda=0.5, normalize_advantages=False, normalize_values=False
    )
    with torch.no_grad():
        one.critic.layers[0].weight.zero_()
        one.critic.layers[0].bias.fill_(1.0)
    rewards = torch.tensor([[2.0, 0.0], [4.0, -1.0]])
    obs = torch.randn(1, 2, 2, 2)
    rollout = collect(one, obs, lambda t, _: rewards[t][None], torch.Generator(), episode=2)
    advantage, returns = one._targets(rollout, rollout.active.flatten())
    # delta = r + 0.5 - 1
    torch.testing.assert_close(advantage, torch.tensor([[2.375, 3.5], [-0.875, -1.5]]))
    torch.testing.assert_close(returns, torch.tensor([[4.25, 4.5], [-0.25, -0.5]]))


def test_what_comes_next_is_valued_with_what_is_remembered_then() -> None:
    """With lambda = 0 an advantage inside an episode is r^t + gamma V^t+1 - V^t."""
    one = make(gamma=0.5, gae_lambda=0.0, normalize_advantages=False, normalize_values=False)
    rollout = random_rollout(one)
    advantage, _ = one._targets(rollout, rollout.active.flatten())
    value = one.values(rollout.obs, rollout.memory, rollout.links)
    expected = rollout.reward[:, :6] + 0.5 * value[:, 1:7] - value[:, :6]
    found = advantage.T.view(value.shape)[:, :6]
    torch.testing.assert_close(found, expected)


def test_the_gate_follows_the_gradient_of_the_same_advantage_at_its_own_rate() -> None:
    """With probability 1/2 of being open, grad log f_g is g - 1/2."""
    one = make(gate_lr=0.25, share_parameters=False, normalize_values=False)
    with torch.no_grad():
        one.gate.weight.zero_()
    rollout = random_rollout(one)
    advantage, _ = one._targets(rollout, rollout.active.flatten())
    gate = rollout.next_memory[..., -1].flatten(0, 1).T
    expected = -(advantage * (gate - 0.5)).mean(1)
    one.update(rollout, streams(), 0.0)
    torch.testing.assert_close(one.gate.bias.grad.flatten(), expected)
    torch.testing.assert_close(one.gate.bias.flatten(), -0.25 * expected.sign(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("share_parameters", [False, True])
@pytest.mark.parametrize("n_choices", [0, 3])
def test_a_saved_algorithm_learns_on_as_the_original(
    n_choices: int, share_parameters: bool
) -> None:
    settings = {"n_choices": n_choices, "share_parameters": share_parameters}
    one, other = make(**settings), make(**settings, seed=1)
    assert_learns_on_as(one, other, random_rollout, PARTS)


@pytest.mark.parametrize("agents", [2, 7])
def test_shared_weights_learned_by_some_drive_another_number(agents: int) -> None:
    one, other = make(), make(agents=agents, seed=1)
    one.update(random_rollout(one), streams(), 0.0)
    other.load_state_dict(one.state_dict())
    rollout = random_rollout(other, agents=agents)
    assert all(torch.equal(weights(one)[name], value) for name, value in weights(other).items())
    metrics = other.update(rollout, streams(), 0.0)
    assert all(torch.tensor(value).isfinite() for value in metrics.values())


def test_a_rollout_is_cut_into_sequences_in_order() -> None:
    steps = torch.arange(1, 6).expand(2, 5) * torch.tensor([[1], [10]])
    assert sequences(steps, 2).tolist() == [[1, 2], [3, 4], [5, 0], [10, 20], [30, 40], [50, 0]]
    assert sequences(steps, 5).tolist() == steps.tolist()


# --- Problems that need memory and messages


def cue(draw: torch.Generator, replicas: int, seen_by: list[int]) -> tuple[Tensor, Tensor]:
    """Two episodes of 3 steps: the cue 0 or 1 (B, 2), and obs that show it in the first step."""
    cues = torch.randint(0, 2, (replicas, 2), generator=draw)
    obs = torch.zeros(replicas, 2, 3, 2, 2)
    obs[:, :, 0, seen_by, 0] = 2.0 * cues[:, :, None] - 1.0
    obs[:, :, 2, :, 1] = 1.0  # now is the time to say it
    return cues, obs.flatten(1, 2)


def repeat_the_cue(seen_by: list[int], *, silent: bool = False, **settings) -> float:
    """Both agents are paid for each that repeats the cue; the part that does after learning."""
    one = make(
        agents=2,
        n_choices=2,
        hidden_size=16,
        sequence_length=3,
        policy_lr=5e-3,
        value_lr=1e-2,
        gate_lr=1e-30 if silent else 5e-3,
        gamma=0.95,
        **settings,
    )
    if silent:
        with torch.no_grad():
            one.gate.bias.fill_(-50.0)
    draw = torch.Generator().manual_seed(0)

    def play(replicas: int, draw_actions: torch.Generator | None) -> Rollout:
        cues, obs = cue(draw, replicas, seen_by)
        wanted = iter(cues.T)

        def reward(t: int, action: Tensor) -> Tensor:
            right = (action == next(wanted)[:, None]) if t == 2 else torch.zeros(replicas, 2)
            return right.float().mean(1, keepdim=True).expand(-1, 2)

        rollout = collect(one, obs, reward, draw_actions, episode=3)
        rollout.terminated, rollout.truncated = rollout.truncated, rollout.terminated
        return rollout

    for _ in range(90):
        one.update(play(64, draw), streams(), 0.0)
    return play(500, None).reward[:, 2::3].mean().item()


@pytest.mark.parametrize("share_parameters", [False, True])
@pytest.mark.parametrize("seen_by", [[0, 1], [0]])
def test_a_cue_is_remembered_and_passed_on(share_parameters: bool, seen_by: list[int]) -> None:
    assert repeat_the_cue(seen_by, share_parameters=share_parameters) > 0.98


def test_who_has_not_seen_the_cue_misses_half_of_them_without_messages() -> None:
    assert repeat_the_cue([0], silent=True) == pytest.approx(0.75, abs=0.05)
