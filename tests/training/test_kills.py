"""Real `trafficrl train` processes, killed at random moments: they end as if nothing had been.

Every process has another order of sets and mappings (PYTHONHASHSEED), as processes have.
"""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from .runs import TASKS, assert_same_end

UPDATES = 50  # of tens of milliseconds each, every second one with a validation
KILLS = 8  # of each algorithm
SPAN = 0.4  # s of training until a kill, at most

_hash_seeds = itertools.count(1)


def train(arguments: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "trafficrl", "train", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={
            **os.environ,
            "PYTHONHASHSEED": str(next(_hash_seeds)),
            "TRAFFICRL_WORKERS": "1",
        },
    )


def beginning(run: Path, task: str, updates: int) -> list[str]:
    scenario, overrides = TASKS[task]
    overrides = [*overrides, f"training.total_steps={80 * updates}"]
    settings = [word for setting in overrides for word in ("--set", setting)]
    return [scenario, *settings, "--output", str(run)]


def finish(process: subprocess.Popen[str]) -> str:
    """What a process that ends well has on stderr."""
    error = process.communicate(timeout=900)[1]
    assert process.returncode == 0, error
    return error


def is_training(process: subprocess.Popen[str], run: Path) -> bool:
    lock = run / ".lock"
    return lock.exists() and lock.read_text().startswith(f"process {process.pid} ")


def kill_within(process: subprocess.Popen[str], run: Path, moment: random.Random) -> bool:
    """SIGKILL at a random moment; returns whether the process was still there."""
    if moment.random() < 0.2:
        time.sleep(moment.uniform(0.0, 3.0))  # while it loads, mostly
    else:
        while process.poll() is None and not is_training(process, run):
            time.sleep(0.005)
        time.sleep(moment.uniform(0.0, SPAN))
    alive = process.poll() is None
    process.kill()
    error = process.communicate()[1]
    if not alive:
        assert process.returncode == 0, error
    return alive


def killed_run(run: Path, start: list[str], kills: int, moment: random.Random) -> int:
    """Trains to the end through at most so many kills; returns how many there were."""
    done = 0
    while True:
        begun = (run / "scenario.yaml").exists()
        process = train(["--resume", str(run)] if begun else start)
        if done == kills:
            assert "Traceback" not in finish(process)
            return done
        if not kill_within(process, run, moment):
            return done
        done += 1


def test_processes_of_one_seed_come_to_the_same_bits_whether_killed_or_not(
    tmp_path: Path,
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert finish(train(beginning(whole, "dmpo", 15))) == ""
    assert killed_run(killed, beginning(killed, "dmpo", 15), 2, random.Random(1)) > 0
    assert_same_end(killed, whole)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "task", ["dmpo", "dmpo_on_dsac", "ring", "dsac", "cppo", "ia2c", "ic3net", "catchup"]
)
def test_kills_at_random_moments_change_nothing(tmp_path: Path, task: str) -> None:
    whole, moment = tmp_path / "whole", random.Random(task)
    assert finish(train(beginning(whole, task, UPDATES))) == ""
    kills = 0
    for attempt in itertools.count():
        run = tmp_path / str(attempt)
        kills += killed_run(run, beginning(run, task, UPDATES), KILLS - kills, moment)
        assert_same_end(run, whole)
        if kills == KILLS:
            break
