"""Agents that are computed a few at a time learn what they learn all at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from trafficrl.algorithms import DSAC, actor_critic
from trafficrl.algorithms.rollout import Rollout
from trafficrl.config.algorithms import SACSettings
from trafficrl.errors import NumericalError

from .conftest import SMALL, streams

AGENTS = 7
ROLLOUT = {"replicas": 2, "steps": 30}


def ended_in_places(rollout: Rollout) -> Rollout:
    rollout.truncated[0, 10] = rollout.terminated[1, 17] = True
    rollout.active[1, 18:22] = False
    return rollout


def updated(
    line: Any, monkeypatch: Any, at_once: int, **settings: Any
) -> tuple[Any, dict[str, float]]:
    """A learner after two updates, and the figures of the second."""
    monkeypatch.setattr(actor_critic, "MOST_AT_ONCE", at_once)
    one = line(agents=AGENTS, obs_dim=3, value_hops=2, epochs=3, **settings)
    figures = {}
    for seed in (1, 2):
        rollout = ended_in_places(one.rollout(seed=seed, **ROLLOUT))
        figures = one.update(rollout, seed=seed)
    return one, figures


@pytest.mark.parametrize("n_choices", [0, 4])
@pytest.mark.parametrize("target_kl", [None, 1e-3])
def test_parts_with_weights_of_their_own_give_the_same_bits(
    line, monkeypatch, n_choices: int, target_kl: float | None
) -> None:
    same = {"n_choices": n_choices, "target_kl": target_kl, "policy_lr": 3e-3}
    whole, figures = updated(line, monkeypatch, 10**9, **same)
    assert whole.algorithm._split(60) == [whole.algorithm]
    parts, own_figures = updated(line, monkeypatch, 60 * 3, **same)
    assert [part.n_agents for part in parts.algorithm._split(60)] == [2, 2, 3]
    for name, weights in whole.weights().items():
        assert torch.equal(parts.weights()[name], weights), name
    # What is left is the logs' order of summation, and of whom KL is told once a part has stopped.
    told = [name for name in figures if target_kl is None or name not in ("kl", "entropy")]
    assert {name: own_figures[name] for name in told} == pytest.approx(
        {name: figures[name] for name in told}, rel=1e-5, nan_ok=True
    )


def test_parts_with_shared_weights_add_up_their_gradients(line, monkeypatch) -> None:
    """To float32's precision, as they are summed in another order: Adam turns the rounding of a
    gradient near 0 into a part of its step.
    """
    same = {"share_parameters": True, "target_kl": None, "policy_lr": 1e-3, "value_lr": 1e-3}
    whole, figures = updated(line, monkeypatch, 10**9, **same)
    parts, own_figures = updated(line, monkeypatch, 60 * 3, **same)
    for name, weights in whole.weights().items():
        assert torch.allclose(parts.weights()[name], weights, atol=1e-5), name
    assert own_figures == pytest.approx(figures, rel=1e-3)


@pytest.mark.parametrize("shared", [False, True])
def test_samples_of_sac_in_parts_add_up_their_gradients(line, monkeypatch, shared: bool) -> None:
    """To float32's precision, as for shared weights above."""
    settings = SACSettings(**SMALL, batch_size=32, share_parameters=shared)
    critics, noise = [], torch.Generator().manual_seed(0)
    for parts in (1, 4):
        one = line(agents=AGENTS, algorithm=DSAC, settings=settings)
        rollout = one.rollout(**ROLLOUT)
        # Next actions are drawn in another order: where an episode ends they do not count.
        rollout.terminated[:] = True
        one.algorithm.remember(rollout, streams())
        rows = torch.arange(32).chunk(parts)
        batches = [one.algorithm._batch(one.algorithm.replay, part) for part in rows]
        one.algorithm._step(batches, noise)
        critics.append(one.weights(["critic"]))
    for name, weights in critics[0].items():
        assert torch.allclose(critics[1][name], weights, atol=1e-6), name


def test_errors_in_a_part_name_the_agent_among_all(line, monkeypatch) -> None:
    monkeypatch.setattr(actor_critic, "MOST_AT_ONCE", 60 * 3)
    one = line(agents=AGENTS, normalize_values=False)
    rollout = one.rollout(**ROLLOUT)
    with torch.no_grad():
        one.algorithm.critic.layers[0].bias[5] = torch.nan
    with pytest.raises(NumericalError, match=r"^cav_5: the loss of the critic is nan"):
        one.algorithm._passes(rollout, streams(), both=False)
