"""Runs of a moment, and SUMO processes that somebody else has started."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from trafficrl import load_scenario
from trafficrl.simulation.programs import sumo_program
from trafficrl.training.run_directory import RunDirectory
from trafficrl.training.trainer import Trainer

ROOT = Path(__file__).parents[2]
SHORT = (
    "episode.steps=60",
    "training.total_steps=60",
    "training.validate_every_steps=1000000",
)
SMALL = {
    "dppo": ["rollout_steps=60", "epochs=2", "policy_hidden=[8]"],
    "cppo": ["rollout_steps=60", "epochs=2", "policy_hidden=[8]"],
    "ia2c": ["rollout_steps=60", "policy_hidden=[8]"],
    "ic3net": ["rollout_steps=60", "hidden_size=8"],
    "dsac": ["rollout_steps=60", "batch_size=8", "policy_hidden=[8]"],
    "dmpo": ["model.max_updates=2", "inner_iterations=1", "branches=8", "branch_length=2"],
}
DMPO_BASE = "base={{kind: dppo, share_parameters: {}, rollout_steps: 60, policy_hidden: [8]}}"
RING = ("vehicles.0.count=6", "network.length_m=120.0")
Trained = Callable[..., Path]
Start = Callable[..., tuple[subprocess.Popen[str], int]]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """``trained(algorithm, shared, scenario, *overrides)``: the directory of a run, made once."""
    runs: dict[tuple[object, ...], Path] = {}

    def get(
        algorithm: str = "dppo", shared: bool = True, scenario: str = "ring", *changes: str
    ) -> Path:
        key = (algorithm, shared, scenario, *changes)
        if key not in runs:
            word = str(shared).lower()
            share = DMPO_BASE.format(word) if algorithm == "dmpo" else f"share_parameters={word}"
            settings = [f"algorithms.{algorithm}.{one}" for one in [*SMALL[algorithm], share]]
            ring = RING if scenario.startswith("ring") else ()
            config = load_scenario(
                scenario,
                [*SHORT, *ring, f"training.algorithm={algorithm}", *settings, *changes],
            )
            runs[key] = tmp_path_factory.mktemp("runs") / "run"
            run = RunDirectory(runs[key]).create(config, {})
            with closing(Trainer(config, run)) as trainer:
                trainer.train()
        return runs[key]

    return get


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("localhost", 0))
        port: int = one.getsockname()[1]
        return port


@pytest.fixture
def start() -> Iterator[Start]:
    """``start(name, *options)``: a SUMO on a bundled configuration, and the port it listens on.

    Without a name the options say it all.
    """
    running: list[subprocess.Popen[str]] = []

    def run(name: str | None, *options: str) -> tuple[subprocess.Popen[str], int]:
        port = free_port()
        file = ["-c", str(ROOT / f"sumo_configs/{name}/{name}.sumocfg")] if name else []
        process = subprocess.Popen(
            [str(sumo_program("sumo")), *file, "--remote-port", str(port), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        running.append(process)
        return process, port

    yield run
    for process in running:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
