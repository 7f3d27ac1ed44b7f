"""Training in real SUMO: what repeats, what is counted, what is kept."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from trafficrl.training.checkpoint import load_checkpoint
from trafficrl.training.progress import Progress
from trafficrl.training.trainer import Trainer

RESULTS = ("metrics.jsonl", "episodes.csv")


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def updates(path: Path) -> list[dict[str, Any]]:
    return [row for row in rows(path) if "policy_loss" in row]


def validations(path: Path) -> list[dict[str, Any]]:
    return [row for row in rows(path) if "validation_return" in row]


def results(path: Path) -> list[bytes]:
    return [(path / name).read_bytes() for name in RESULTS]


def same(one: Any, other: Any) -> bool:
    """Whether two checkpoints hold the same, bit for bit."""
    if isinstance(one, torch.Tensor):
        return isinstance(other, torch.Tensor) and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.mark.parametrize("task", ["ring", "catchup", "in_range", "ic3net", "dsac", "dmpo"])
def test_the_same_seed_gives_the_same_bits(finished, training, task: str) -> None:
    first, again = finished(task).path, training("again", task).run().path
    assert results(first) == results(again)
    for name in ("latest.pt", "best.pt"):
        assert same(load_checkpoint(first / name), load_checkpoint(again / name))


def test_another_seed_gives_another_training(finished, training) -> None:
    other = training("other", "ring", "training.seed=1").run().path
    ours, theirs = updates(finished("ring").path)[0], updates(other)[0]
    assert ours["mean_speed_mps"] != theirs["mean_speed_mps"]
    assert ours["value_loss"] != theirs["value_loss"]


def test_simulation_steps_are_counted_up_to_the_total(finished) -> None:
    # 40 steps of 2 replicas an update.
    assert [row["sim_steps"] for row in updates(finished("ring").path)] == list(range(80, 481, 80))


def test_the_last_rollout_takes_what_is_left(training) -> None:
    run = training("odd", "ring", "training.total_steps=200").run()
    assert [row["sim_steps"] for row in updates(run.path)] == [80, 160, 200]


def test_a_control_interval_counts_its_simulation_steps(training) -> None:
    run = training(
        "slow", "ring", "episode.control_interval_s=1.0", "training.total_steps=160"
    ).run()
    assert [row["sim_steps"] for row in updates(run.path)] == [80, 160]


def test_a_run_leaves_its_scenario_and_versions(finished) -> None:
    run = finished("ring")
    names = {path.name for path in run.path.iterdir()}
    checkpoints = {"latest.pt", "previous.pt", "best.pt"}
    assert names == {*RESULTS, "scenario.yaml", "run.json", "timing.jsonl", *checkpoints, ".lock"}
    assert "torch" in json.loads((run.path / "run.json").read_text())["versions"]


def test_episodes_are_logged_with_their_figures(finished) -> None:
    with open(finished("ring").path / "episodes.csv", newline="") as file:
        episodes = list(csv.DictReader(file))
    # 240 steps a replica: the episodes of 60 end within the updates 2, 3, 5 and 6.
    assert [(row["episode"], row["replica"], row["sim_steps"]) for row in episodes] == [
        ("0", "0", "160"),
        ("1", "1", "160"),
        ("2", "0", "240"),
        ("3", "1", "240"),
        ("4", "0", "400"),
        ("5", "1", "400"),
        ("6", "0", "480"),
        ("7", "1", "480"),
    ]
    assert {row["steps"] for row in episodes} == {"60"}
    assert all(float(row["mean_speed_mps"]) >= 0 for row in episodes)


def test_validations_come_as_often_as_asked_and_at_the_end(finished, training) -> None:
    assert [row["sim_steps"] for row in validations(finished("ring").path)] == [160, 320, 480]
    run = training("rare", "ring", "training.validate_every_steps=1000000").run()
    assert [row["sim_steps"] for row in validations(run.path)] == [480]


@pytest.mark.parametrize("task", ["ring", "catchup"])
@pytest.mark.parametrize(
    "setting", ["training.validate_episodes=5", "training.validate_every_steps=1000000"]
)
def test_validation_does_not_change_the_training(
    finished, training, task: str, setting: str
) -> None:
    other = training("other", task, setting).run().path
    assert updates(finished(task).path) == updates(other)
    episodes = [(path / "episodes.csv").read_bytes() for path in (finished(task).path, other)]
    assert episodes[0] == episodes[1]
    learners = [
        load_checkpoint(path / "latest.pt")["learner"] for path in (finished(task).path, other)
    ]
    assert same(*learners)


def test_contacts_at_crossings_left_uncounted_in_training_count_in_validation(training) -> None:
    """Level pairs accelerate as one, on whole episodes: they meet in the crossing."""
    run = training(
        "through",
        "crossing",
        "training.crossing_collisions=false",
        "training.total_steps=400",
        "training.validate_every_steps=200",
        "algorithms.dppo.rollout_steps=200",
        "algorithms.dppo.policy_lr=1e-9",
        "algorithms.dppo.initial_action_mean=2.0",
        "algorithms.dppo.initial_action_std=1e-3",
        "algorithms.dppo.min_action_std=1e-3",
    ).run()
    with open(run.path / "episodes.csv", newline="", encoding="utf-8") as file:
        episodes = list(csv.DictReader(file))
    assert [row["collisions"] for row in episodes] == ["0", "0"]
    assert all(row["validation_collisions"] >= 2 for row in validations(run.path))


def test_the_best_checkpoint_is_that_of_the_best_validation(training) -> None:
    run = training(
        "wild",
        "ring",
        "training.validate_every_steps=80",
        "training.total_steps=800",
        "algorithms.dppo.policy_lr=0.1",
        "algorithms.dppo.target_kl=null",
    ).run()
    found = validations(run.path)
    best = max(found, key=lambda row: (-row["validation_collisions"], row["validation_return"]))
    assert best is not found[-1], "a case in which the last is the best shows nothing"
    assert load_checkpoint(run.path / "best.pt")["iteration"] == best["iteration"]
    assert load_checkpoint(run.path / "latest.pt")["iteration"] == 10


@pytest.mark.parametrize("schedule", ["constant", "linear"])
def test_even_one_update_learns(training, schedule: str) -> None:
    run = training(
        "short",
        "ring",
        "training.total_steps=80",
        f"algorithms.dppo.lr_schedule={schedule}",
        "algorithms.dppo.epochs=4",
    ).run()
    moments = load_checkpoint(run.path / "latest.pt")["learner"]["policy_optim"]["mean"]
    assert all(moment.abs().max() > 0 for moment in moments)
    assert updates(run.path)[0]["kl"] > 0


def test_progress_is_told_after_every_update(training) -> None:
    told = []
    run = training("told").run(lambda trainer, progress: told.append(progress))
    assert [one.sim_steps for one in told] == list(range(80, 481, 80))
    assert {one.total_steps for one in told} == {480}
    assert all(one.steps_per_second > 0 for one in told)
    logged = updates(run.path)
    assert [one.metrics for one in told] == [
        {key: row[key] for key in row if key not in ("iteration", "sim_steps")} for row in logged
    ]
    validated = [one.validation for one in told]
    assert [one is None for one in validated] == [True, False] * 3
    assert [one["return"] for one in validated if one] == [
        row["validation_return"] for row in validations(run.path)
    ]


@pytest.mark.parametrize(
    "graph",
    [
        ["graph.range_m=30.0"],  # the neighbours stay the same
        ["graph.range_m=1.0", "graph.leader_follower=false"],  # nobody hears anybody
        ["graph.range_m=30.0", "graph.max_neighbours=1"],
    ],
)
def test_a_graph_by_range_trains(training: Callable, graph: list[str]) -> None:
    run = training("range", "ring", "training.total_steps=160", *graph).run()
    assert all(row["value_loss"] > 0 for row in updates(run.path))


@pytest.mark.parametrize("algorithm", ["dppo", "dsac"])
def test_a_rollout_held_still_by_a_collision_teaches_nothing_and_harms_nothing(
    training, algorithm: str
) -> None:
    """A collision of catch-up is absorbing: rollouts can lie wholly behind it."""
    run = training(
        "held",
        "catchup",
        f"training.algorithm={algorithm}",
        "training.replicas=1",
        "training.total_steps=900",
        "training.validate_every_steps=900",
        "training.validate_episodes=1",
        "episode.steps=600",
        f"algorithms.{algorithm}.rollout_steps=150",
    ).run()
    learned = [row["iteration"] for row in updates(run.path)]
    assert 1 in learned and 5 in learned  # an episode's begin
    assert learned != list(range(1, 7))


def test_a_crash_after_any_update_loses_nothing_before_it(training) -> None:
    run = training("crashed")

    def crash(trainer: Trainer, progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.run(crash)
    assert load_checkpoint(run.path / "latest.pt")["iteration"] == 1
