"""Environments that are closed when a test ends, as a process holds one SUMO only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import pytest

from trafficrl import load_scenario, make_env
from trafficrl.envs import TrafficEnv
from trafficrl.envs.array_env import ArrayEnv

MakeEnv = Callable[..., TrafficEnv]
MakeArrayEnv = Callable[..., ArrayEnv]


@pytest.fixture
def open_env() -> Iterator[MakeEnv]:
    """``open_env(scenario, *overrides, seed=0)``; an environment opened before is closed."""
    with ExitStack() as stack:

        def make(scenario: str, *overrides: str, seed: int = 0) -> TrafficEnv:
            stack.close()
            return stack.enter_context(closing(make_env(scenario, seed=seed, overrides=overrides)))

        yield make


@pytest.fixture
def open_array() -> Iterator[MakeArrayEnv]:
    """The same for ``ArrayEnv``, with ``replicas=1``."""
    with ExitStack() as stack:

        def make(scenario: str, *overrides: str, replicas: int = 1, seed: int = 0) -> ArrayEnv:
            stack.close()
            config = load_scenario(scenario, overrides)
            env = ArrayEnv(config, replicas=replicas, seed=seed)
            return stack.enter_context(closing(env))

        yield make
