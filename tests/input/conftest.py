"""A trained run to break."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.service import Service

SMALL = {
    "vehicles.0.count": "6",
    "network.length_m": "120.0",
    "episode.steps": "60",
    "episode.control_interval_s": "0.5",
    "training.algorithm": "dppo",  # the quickest
    "training.replicas": "2",
    "training.total_steps": "320",
    "training.validate_every_steps": "160",
    "training.validate_episodes": "2",
    "algorithms.dppo.rollout_steps": "40",
    "algorithms.dppo.policy_hidden": "[8]",
    "algorithms.dppo.value_hidden": "[8]",
    "algorithms.dppo.epochs": "2",
    "algorithms.dppo.minibatches": "2",
}


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory, service: Service) -> Path:
    """The run directory of a finished training."""
    folder = tmp_path_factory.mktemp("trained")
    options = [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
    answer = service.call(["train", "ring", *options, "--output", "run"], folder)
    assert answer.code == 0, answer
    return folder / "run"
