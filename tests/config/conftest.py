"""A small scenario to break."""

from __future__ import annotations

import pytest

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
