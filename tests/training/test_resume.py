"""Stopping, crashing and going on: the end is that of an uninterrupted training."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from trafficrl.errors import CheckpointError
from trafficrl.training.checkpoint import load_checkpoint, save_checkpoint
from trafficrl.training.run_directory import RunDirectory
from trafficrl.training.trainer import Trainer

from .runs import assert_same_end


class Crash(Exception):
    """Something that no training expects."""


def stop_at(iteration: int):
    """Stops after that update; a rollout is 40 steps of episodes of 60."""

    def stop(trainer: Trainer, progress: object) -> None:
        if trainer.iteration == iteration:
            trainer.stop()

    return stop


def crash_at(iteration: int):
    def crash(trainer: Trainer, progress: object) -> None:
        if trainer.iteration == iteration:
            raise Crash

    return crash


@pytest.mark.parametrize(
    "task",
    [
        "ring",
        "catchup",
        "in_range",
        "grid",
        "ic3net",
        "dsac",
        "dmpo",
        "dmpo_on_dsac",
        "cppo",
        "ia2c",
    ],
)
def test_a_run_stopped_within_an_episode_ends_as_if_it_had_not_been(
    finished, training, task: str
) -> None:
    run = training("stopped", task).run(stop_at(4))
    assert load_checkpoint(run.path / "latest.pt")["collectors"][0]["actions"] is not None
    run.run(stop_at(5), resume=True).run(resume=True)
    assert_same_end(run.path, finished(task).path)


@pytest.mark.parametrize("iteration", [1, 2, 3, 5])
def test_wherever_it_is_stopped(finished, training, iteration: int) -> None:
    run = training("stopped").run(stop_at(iteration)).run(resume=True)
    assert_same_end(run.path, finished("ring").path)


def test_an_episode_with_a_collision_behind_it_is_driven_again(training) -> None:
    """One replica of two has ended where the training stops."""
    crowded = [
        "simulation.speed_mode=0",
        "network.length_m=45.0",
        "algorithms.dppo.initial_action_std=3.0",
        "training.validate_every_steps=1000000",
        "algorithms.dppo.rollout_steps=15",
        "episode.steps=200",
        "training.total_steps=300",
    ]
    whole = training("whole", "ring", *crowded).run()
    lines = (whole.path / "episodes.csv").read_text().splitlines()[1:]
    assert any(int(line.split(",")[9]) > 0 for line in lines), "no vehicle collided"
    run = training("stopped", "ring", *crowded)
    run.run(lambda trainer, progress: trainer.stop())
    for _ in range(30):
        run.run(lambda trainer, progress: trainer.stop(), resume=True)
    assert_same_end(run.path, whole.path)


@pytest.mark.parametrize("iteration", [3, 4, 5])
def test_an_episode_with_an_uncounted_contact_behind_it_is_driven_again(
    training, iteration: int
) -> None:
    """Level pairs meet in the crossing after 3 s and drive on; each update is validated."""
    through = [
        "training.crossing_collisions=false",
        "training.validate_every_steps=40",
        "training.total_steps=280",
        "algorithms.dppo.initial_action_mean=2.0",
        "algorithms.dppo.initial_action_std=0.01",
    ]
    whole = training("whole", "crossing", *through).run()
    rows = [json.loads(line) for line in (whole.path / "metrics.jsonl").read_text().splitlines()]
    counted = [row["validation_collisions"] for row in rows if "validation_collisions" in row]
    assert len(counted) == 7 and min(counted) >= 2
    run = training("stopped", "crossing", *through).run(stop_at(iteration)).run(resume=True)
    assert_same_end(run.path, whole.path)


@pytest.mark.parametrize("iteration", [3, 4])
def test_a_crash_costs_what_came_after_the_last_checkpoint(
    finished, training, iteration: int
) -> None:
    run = training("crashed")
    with pytest.raises(Crash):
        run.run(crash_at(iteration))
    for name, half in (
        ("metrics.jsonl", '{"iteration": 5, "sim_st'),
        ("timing.jsonl", '{"iter'),
        ("episodes.csv", "5,40"),
    ):
        with open(run.path / name, "a", newline="") as file:
            file.write(half)
    assert_same_end(run.run(resume=True).path, finished("ring").path)


def test_a_crash_while_the_first_episode_is_logged_leaves_a_header_in_the_end(
    finished, training
) -> None:
    run = training("crashed").run(stop_at(1))
    (run.path / "episodes.csv").write_text("iteration,sim_st")
    assert_same_end(run.run(resume=True).path, finished("ring").path)


def test_a_finished_run_has_nothing_to_go_on_with(finished, training, tmp_path) -> None:
    run = training("copy")
    shutil.copytree(finished("ring").path, run.path)
    assert_same_end(run.run(resume=True).path, finished("ring").path)


def test_a_stopped_run_says_so(training) -> None:
    seen = []

    def stop(trainer: Trainer, progress: object) -> None:
        trainer.stop()
        seen.append(trainer)

    training("stopped").run(stop)
    assert len(seen) == 1 and seen[0].stopped_early


@pytest.mark.parametrize("damage", ["missing", "truncated", "foreign", "shapes", "keys"])
def test_a_run_without_a_usable_checkpoint_is_left_as_it_is(training, damage: str) -> None:
    run = training("stopped").run(stop_at(1))
    latest = run.path / "latest.pt"
    content = load_checkpoint(latest)
    if damage == "missing":
        latest.unlink()
    elif damage == "truncated":
        latest.write_bytes(latest.read_bytes()[:1000])
    elif damage == "foreign":
        torch.save({"weights": torch.ones(3)}, latest)
    elif damage == "shapes":
        weights = content["learner"]["policy"]
        save_checkpoint(
            latest,
            {
                **content,
                "learner": {
                    **content["learner"],
                    "policy": {key: weights[key][:1] for key in weights},
                },
            },
        )
    else:
        save_checkpoint(latest, {"learner": content["learner"]})
    with open(run.path / "metrics.jsonl", "a") as file:
        file.write('{"iteration": 99}\n')
    before = {path.name: path.read_bytes() for path in run.path.iterdir()}
    with pytest.raises(CheckpointError, match=r"latest\.pt: ") as caught:
        run.run(resume=True)
    assert "\n" not in str(caught.value)
    assert {path.name: path.read_bytes() for path in run.path.iterdir()} == before


def test_a_trainer_that_cannot_be_made_leaves_sumo_free(training) -> None:
    run = training("unmade")
    directory = RunDirectory(run.path).create(run.config, {})
    with pytest.raises(Exception, match="--device nonsense") as caught:
        Trainer(run.config, directory, device="nonsense")
    shutil.rmtree(run.path)
    run.run()  # while ``caught`` still holds the failed trainer
    assert caught is not None
