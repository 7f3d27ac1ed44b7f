"""A small scenario to break."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trafficrl.config import load_scenario
from trafficrl.errors import ScenarioError

BASE = """\
name: small
description: a ring for tests
network:
  kind: ring
  length_m: 100.0
vehicles:
  - controller: learned
    count: 2
  - controller: idm
    count: 3
simulation:
  speed_mode: 1
episode:
  steps: 100
  control_interval_s: 0.5
start:
  kind: uniform
action:
  kind: acceleration
observation:
  - {feature: speed, scale: 10}
  - {feature: headway, scale: 10, clip: [-1, 1]}
reward:
  terms:
    - {term: desired_speed, weight: 1.0, parameters: {target_mps: 20.0}}
training:
  total_steps: 1000
"""


@pytest.fixture
def base() -> str:
    return BASE


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes a file into the test's folder."""

    def put(text: str | bytes, name: str = "small.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return put


@pytest.fixture
def failure() -> Callable[..., str]:
    """The message with which a scenario is refused."""

    def message(scenario: Any, *overrides: str) -> str:
        with pytest.raises(ScenarioError) as caught:
            load_scenario(scenario, overrides)
        return str(caught.value)

    return message
