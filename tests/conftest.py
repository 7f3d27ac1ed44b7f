"""Settings that every test shares."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.service import Service

# Before torch or numpy load: two workers on two cores would share four threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A worker takes seconds to start; tests/training/test_workers.py has them.
os.environ.setdefault("TRAFFICRL_WORKERS", "0")

# The same examples each time, and no failure because a machine is slow.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Calls command lines without the seconds that a process takes to import torch."""
    service = Service(tmp_path_factory.mktemp("service"))
    yield service
    service.close()
