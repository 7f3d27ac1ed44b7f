"""Agents that are computed a few at a time learn what they learn all at once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from trafficrl.algorithms import CPPO, DPPO, DSAC, actor_critic, parts
from trafficrl.algorithms.rollout import Rollout
from trafficrl.config.algorithms import SACSettings
from trafficrl.errors import NumericalError
from trafficrl.nn.encoding import ObsEncoder
from trafficrl.nn.optim import StackedAdam
from trafficrl.nn.policies import GaussianPolicy

from .conftest import SMALL, streams
from .systems import Team

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
    monkeypatch.setattr(parts, "MOST_AT_ONCE", at_once)
    one = line(agents=AGENTS, obs_dim=3, value_hops=2, epochs=3, **settings)
    figures = {}
    for seed in (1, 2):
        rollout = ended_in_places(one.rollout(seed=seed, **ROLLOUT))
        figures = one.update(rollout, seed=seed)
    return one, figures


@pytest.mark.parametrize(("n_choices", "target_kl"), [(0, None), (4, None), (0, 1e-3), (4, 3e-4)])
def test_parts_with_weights_of_their_own_give_the_same_bits(
    line, monkeypatch, n_choices: int, target_kl: float | None
) -> None:
    same = {"n_choices": n_choices, "target_kl": target_kl, "policy_lr": 3e-3}
    whole, figures = updated(line, monkeypatch, 10**9, **same)
    assert whole.algorithm._parts_to_learn(30) == [whole.algorithm]
    split, own_figures = updated(line, monkeypatch, 30 * 3, **same)
    assert [part.n_agents for part in split.algorithm._parts_to_learn(30)] == [2, 2, 3]
    for name, weights in whole.weights().items():
        assert torch.equal(split.weights()[name], weights), name
    assert own_figures == pytest.approx(figures, rel=1e-6, nan_ok=True)
    assert (figures["kl_stopped"] > 0.0) == (target_kl is not None)


@pytest.mark.parametrize("algorithm", [DPPO, CPPO])
def test_parts_with_shared_weights_add_up_their_gradients(line, monkeypatch, algorithm) -> None:
    """To float32's precision, as they are summed in another order: Adam turns the rounding of a
    gradient near 0 into a part of its step.
    """
    same = {"share_parameters": True, "target_kl": None, "policy_lr": 1e-3, "value_lr": 1e-3}
    same["algorithm"] = algorithm
    whole, figures = updated(line, monkeypatch, 10**9, **same)
    split, own_figures = updated(line, monkeypatch, 30 * 3, **same)
    for name, weights in whole.weights().items():
        assert torch.allclose(split.weights()[name], weights, atol=1e-5), name
    assert own_figures == pytest.approx(figures, rel=1e-3)


@pytest.mark.parametrize("kind", ["line", "changes"])
def test_what_networks_see_of_all_samples_is_never_held_with_shared_weights(
    kind: str, monkeypatch
) -> None:
    """Not only what a step computes: inputs found in advance would be those of all vehicles."""
    settings = {"share_parameters": True, "epochs": 1, "target_kl": None}
    team, seen = Team("dppo", kind, agents=AGENTS, value_hops=2, **settings), []
    rollout = ended_in_places(team.rollout(0, **ROLLOUT))
    neighbourhood = ObsEncoder.neighbourhood

    def noted(*given: Any) -> Tensor:
        found = neighbourhood(*given)
        forward = 1 if torch.is_grad_enabled() else actor_critic.FORWARD
        seen.append(found.shape[:2].numel() / forward)
        return found

    monkeypatch.setattr(ObsEncoder, "neighbourhood", noted)
    for limit in (10**9, 60):
        monkeypatch.setattr(parts, "MOST_AT_ONCE", limit)
        seen.clear()
        team.update(rollout)
        assert (max(seen) <= 60) == (limit == 60)


def test_values_are_computed_in_parts_without_their_optimisers(line, monkeypatch) -> None:
    one = line(agents=AGENTS, value_hops=2)
    obs = one.rollout(**ROLLOUT).obs
    whole = one.algorithm.values(obs, one.links)
    monkeypatch.setattr(parts, "MOST_AT_ONCE", 60)
    monkeypatch.setattr(StackedAdam, "part", None)
    monkeypatch.setattr(GaussianPolicy, "__deepcopy__", None, raising=False)
    assert torch.equal(one.algorithm.values(obs, one.links), whole)


@pytest.mark.parametrize("n_choices", [0, 4])
@pytest.mark.parametrize("shared", [False, True])
def test_samples_of_sac_in_parts_add_up_their_gradients(
    line, monkeypatch, shared: bool, n_choices: int
) -> None:
    """To float32's precision, as for shared weights above; actions are modes, as others would be
    drawn in parts.
    """
    settings = SACSettings(
        **SMALL, batch_size=32, share_parameters=shared, updates_per_interval=3 / 56
    )
    found, sizes = [], []
    for limit in (10**9, 64):  # of 7 agents: 4 parts of 8 samples
        one = line(agents=AGENTS, algorithm=DSAC, settings=settings, n_choices=n_choices)
        target, rollout = one.algorithm._soft_target, ended_in_places(one.rollout(**ROLLOUT))
        one.algorithm._soft_target = lambda batch, *given, target=target: (
            sizes.append(len(batch["obs"])) or target(batch, *given)
        )
        with monkeypatch.context() as patch:
            patch.setattr(parts, "MOST_AT_ONCE", limit)
            patch.setattr(Tensor, "normal_", lambda self, generator: self.zero_())
            patch.setattr(torch, "multinomial", lambda p, n, generator: p.argmax(-1, keepdim=True))
            figures = one.update(rollout)
        found.append((one.weights(), one.algorithm.log_temperature.detach(), figures))
    assert sizes == 3 * [32] + 12 * [8]
    (weights, temperature, figures), (own, own_temperature, own_figures) = found
    for name, expected in weights.items():
        assert torch.allclose(own[name], expected, atol=1e-5), name
    assert torch.allclose(own_temperature, temperature, atol=1e-6)
    assert own_figures == pytest.approx(figures, rel=1e-3)


def test_errors_in_a_part_name_the_agent_among_all(line, monkeypatch) -> None:
    monkeypatch.setattr(parts, "MOST_AT_ONCE", 30 * 3)
    one = line(agents=AGENTS, normalize_values=False)
    rollout = one.rollout(**ROLLOUT)
    with torch.no_grad():
        one.algorithm.critic.layers[0].bias[5] = torch.nan
    with pytest.raises(NumericalError, match=r"^cav_5: the loss of the critic is nan"):
        one.algorithm._passes(rollout, streams(), both=False)
