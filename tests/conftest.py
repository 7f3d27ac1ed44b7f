"""Settings that every test shares."""

from __future__ import annotations

import os

from hypothesis import settings

# Before torch or numpy load: two workers on two cores would share four threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A worker takes seconds to start; tests/training/test_workers.py has them.
os.environ.setdefault("TRAFFICRL_WORKERS", "0")

# The same examples each time, and no failure because a machine is slow.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
