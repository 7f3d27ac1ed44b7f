"""What trainings and environments come to has not changed: a faster way is another bug otherwise.

The figures are of revision 733d838, before environments and updates were made faster.

``python -m tests.training.test_unchanged`` from the project's root writes ``unchanged.json`` anew,
which belongs in the same commit as the change that is meant.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from trafficrl.config import load_scenario
from trafficrl.envs.array_env import ArrayEnv
from trafficrl.training.run_directory import RunDirectory

from .runs import TASKS, Training

FILE = Path(__file__).with_name("unchanged.json")
SCENARIOS = (
    *("catchup", "slowdown", "ring", "ring_mixed", "figure_eight", "figure_eight_mixed"),
    *("transfer/grid", "transfer/ring_2lanes"),
)
REPLICAS = 3
STEPS = 60  # control intervals
UPDATES = 2
# The last digits of products and sines depend on the kind of CPU; learning passes them on.
TRAINED, DRIVEN = (1e-3, 1e-6), (1e-6, 1e-6)  # relative and absolute


def trained(task: str, folder: Path) -> list[dict[str, float]]:
    """The metrics of the first updates of a training."""
    path = Training(folder / "run", task).run().path
    return RunDirectory.open(path).metrics()[:UPDATES]


def driven(scenario: str, folder: Path) -> list[dict[str, float]]:
    """Sums over what random actions lead to, in which every vehicle has a weight of its own."""
    config = load_scenario(scenario)
    replicas = REPLICAS if config.network.fixed_order else 1
    env = ArrayEnv(config, replicas=replicas, seed=0)
    rng = np.random.default_rng(0)
    sums: dict[str, float] = {}
    try:
        env.reset()
        for _ in range(STEPS):
            if env.done:
                env.reset()
            if env.actions.n_choices:
                action = rng.integers(env.actions.n_choices, size=(replicas, env.n_agents))
            else:
                action = rng.uniform(-0.5, 1.0, (replicas, env.n_agents, 1)).astype(np.float32)
            step = env.step(action)
            figures = {
                **{f"reward: {name}": values for name, values in step.reward_terms.items()},
                **{f"obs {index}": step.obs[..., index] for index in range(env.obs_dim)},
                "position": env.states.position,
                "overridden": step.overridden,
                "collisions": step.collisions,
            }
            for name, values in figures.items():
                weights = np.linspace(1.0, 2.0, values.size).reshape(values.shape)
                sums[name] = sums.get(name, 0.0) + float(np.sum(weights * values))
    finally:
        env.close()
    return [sums]


CASES: dict[str, tuple[Callable[[str, Path], list[dict[str, float]]], str, tuple[float, float]]] = {
    **{f"training, {task}": (trained, task, TRAINED) for task in TASKS},
    **{f"environment, {name}": (driven, name, DRIVEN) for name in SCENARIOS},
}


@pytest.mark.parametrize("name", CASES)
def test_figures_are_what_they_were(name: str, tmp_path: Path) -> None:
    function, argument, (relative, absolute) = CASES[name]
    before = json.loads(FILE.read_text(encoding="utf-8"))[name]
    now = json.loads(json.dumps(function(argument, tmp_path)))
    assert len(now) == len(before)
    for row, old in zip(now, before, strict=True):
        assert row == pytest.approx(old, rel=relative, abs=absolute, nan_ok=True)


def _write() -> None:
    content = {}
    for name, (function, argument, _) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            content[name] = function(argument, Path(folder))
    FILE.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    _write()
