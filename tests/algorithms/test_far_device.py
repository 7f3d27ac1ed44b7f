"""Updates stay on the device that they are given, and do not wait for it in their inner loops."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch

from trafficrl.algorithms import ALGORITHMS, ic3net
from trafficrl.config.algorithms import (
    A2CSettings,
    DMPOSettings,
    DynamicsSettings,
    IC3NetSettings,
    PPOBase,
    PPOSettings,
    SACBase,
    SACSettings,
)
from trafficrl.nn import policies
from trafficrl.nn.optim import StackedAdam

from .conftest import SMALL, Line, streams
from .far_device import FAR, FarDevice

STEPS = 120  # control intervals of a rollout


def ppo(epochs: int = 1, **settings: Any) -> PPOSettings:
    return PPOSettings(**SMALL, epochs=epochs, minibatches=2, **settings)


def sac(updates: int = 2, **settings: Any) -> SACSettings:
    return SACSettings(**SMALL, batch_size=16, updates_per_interval=updates / STEPS, **settings)


def model(updates: int = 2, **settings: Any) -> DynamicsSettings:
    return DynamicsSettings(max_updates=updates, check_every=1000, batch_size=8, **settings)


def dmpo(base: Any, **settings: Any) -> DMPOSettings:
    short = {"inner_iterations": 2, "branches": 8, "branch_length": 2, "model": model()}
    return DMPOSettings(base=base, **{**short, **settings})


PPO_BASE = PPOBase(kind="dppo", **SMALL, epochs=1, minibatches=2)
SAC_BASE = SACBase(kind="dsac", **SMALL, inner_updates=2, batch_size=8)
ENSEMBLE = model(gaussian=True, ensemble=2)


@pytest.fixture(autouse=True)
def _nothing_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked of made-up values is answered with yes, which here means NaN."""
    monkeypatch.setattr(StackedAdam, "check", lambda self: self._unchecked.clear())
    for module in (policies, ic3net):
        monkeypatch.setattr(module, "no_nan", lambda what, values: values)


def waits_of_an_update(name: str, settings: Any, n_choices: int = 0) -> Counter[str]:
    """How often the host waits for the device, by kind."""
    near = Line(algorithm=ALGORITHMS[name], settings=settings, n_choices=n_choices)
    rollout = near.rollout(replicas=1, steps=STEPS)  # collected on the CPU
    generator = torch.Generator().manual_seed(0)
    far: Any = ALGORITHMS[name](near.spec, settings, generator=generator, device=FAR)
    with FarDevice() as device:
        far.update(rollout, streams(), 0.0)
    return device.waits


@pytest.mark.parametrize(
    ("name", "settings", "n_choices"),
    [
        ("dppo", ppo(), 0),
        ("dppo", ppo(share_parameters=True), 0),
        ("dppo", ppo(), 4),
        ("cppo", ppo(), 0),
        ("ia2c", A2CSettings(**SMALL), 0),
        ("ic3net", IC3NetSettings(hidden_size=8), 0),
        ("dsac", sac(), 0),
        ("dsac", sac(share_parameters=True), 4),
        ("dmpo", dmpo(PPO_BASE, model=ENSEMBLE), 0),
        ("dmpo", dmpo(SAC_BASE), 4),
    ],
)
def test_an_update_mixes_no_tensors_of_two_devices(
    name: str, settings: Any, n_choices: int
) -> None:
    assert waits_of_an_update(name, settings, n_choices)


def test_tensors_of_two_devices_would_be_noticed() -> None:
    with FarDevice(), pytest.raises(RuntimeError, match=r"expected device|same device|two devices"):
        torch.ones(3, device=FAR) + torch.ones(3)


@pytest.mark.parametrize("name", ["dsac", "dmpo"])
def test_more_gradient_steps_are_no_more_waits(name: str) -> None:
    few, many = (
        waits_of_an_update(
            name, sac(steps) if name == "dsac" else dmpo(PPO_BASE, model=model(steps))
        )
        for steps in (2, 5)
    )
    assert few == many


def test_an_epoch_of_ppo_asks_once_who_still_learns() -> None:
    few, many = (waits_of_an_update("dppo", ppo(epochs=epochs)) for epochs in (1, 3))
    assert many - few == {"__bool__": 2} and not few - many


def test_longer_branches_are_no_more_waits() -> None:
    few, many = (
        waits_of_an_update("dmpo", dmpo(PPO_BASE, branch_length=length)) for length in (2, 5)
    )
    assert few == many
