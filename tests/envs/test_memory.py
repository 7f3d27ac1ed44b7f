"""Long trainings do not fill the memory."""

from __future__ import annotations

import subprocess
import sys

import pytest

GROWTH = 50.0  # MB
SCRIPT = """
import sys
import numpy as np
from pathlib import Path
from trafficrl.config import load_scenario
from trafficrl.envs.array_env import ArrayEnv

def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6

scenario, resets, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
config = load_scenario(scenario, [f"episode.steps={steps // resets}", "warmup=null"])
env = ArrayEnv(config, seed=0)
shape = (1, env.n_agents) if env.actions.n_choices else (1, env.n_agents, 1)
action = np.full(shape, 1 if env.actions.n_choices else 0.3)
begun = 0.0
for episode in range(resets):
    env.reset()
    while not env.done:
        env.step(action)
    if episode == resets // 20:  # caches and allocators have what they need
        begun = resident()
print(resident() - begun)
env.close()
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("scenario", "resets", "steps"),
    [("ring", 2000, 1_000_000), ("catchup", 2000, 200_000), ("transfer/grid", 500, 20_000)],
)
def test_resets_and_steps_do_not_grow_the_process(scenario: str, resets: int, steps: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, scenario, str(resets), str(steps)],
        capture_output=True,
        text=True,
        check=True,
    )
    growth = float(done.stdout)
    print(f"{scenario}: {growth:.1f} MB after {resets} resets and {steps} steps")
    assert growth < GROWTH
