"""A run directory after a crash: at every line of a save, on a full disk, by damage."""

from __future__ import annotations

import errno
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch

from trafficrl.cli.main import main
from trafficrl.config import load_scenario
from trafficrl.errors import CheckpointError, TrafficRLError, WriteError
from trafficrl.training import files
from trafficrl.training.checkpoint import load_checkpoint, save_checkpoint
from trafficrl.training.progress import Progress
from trafficrl.training.run_directory import RunDirectory
from trafficrl.training.saving import Saver
from trafficrl.training.trainer import Trainer

from .runs import Training, assert_same_end

PACKAGE = str(Path(files.__file__).parent)
SMALL = load_scenario("ring", ["vehicles.0.count=3"])


def stop_at(iteration: int) -> Callable[[Trainer, Progress], None]:
    def stop(trainer: Trainer, progress: Progress) -> None:
        if trainer.iteration == iteration:
            trainer.stop()

    return stop


# Killed at every line ------------------------------------------------------------------


def killed_at_line(number: int, work: Callable[[], None]) -> bool:
    """Does ``work`` in a process that dies by SIGKILL at that line of the package's; whether so."""
    child = os.fork()
    if child == 0:
        lines = itertools.count()

        def trace(frame: FrameType, event: str, argument: Any) -> Any:
            if not frame.f_code.co_filename.startswith(PACKAGE):
                return None
            if event == "line" and next(lines) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        work()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
    return os.WIFSIGNALED(status)


def state(iteration: int) -> dict[str, Any]:
    return {
        "iteration": iteration,
        "sim_steps": 10 * iteration,
        "learner": {"w": torch.full((3,), float(iteration))},
    }


def end_update(run: RunDirectory, saver: Saver, iteration: int) -> None:
    """What the trainer leaves at the end of an update."""
    run.log_metrics({"iteration": iteration, "loss": iteration / 3})
    run.log_episodes([{"iteration": iteration, "replica": 0}])
    run.log_metrics({"iteration": iteration, "validation_return": 1.0})
    saver.save_best({"policies": state(iteration)["learner"], **state(iteration)})
    saver.save(state(iteration))


# Every so many lines, the first of them drawn, or all.
SOME = [pytest.param(1, marks=pytest.mark.slow), 12]


@pytest.mark.parametrize("every", SOME)
@pytest.mark.parametrize("before", [0, 1, 2])
def test_a_kill_at_any_line_of_a_save_leaves_a_run_that_goes_on(
    tmp_path: Path, before: int, every: int
) -> None:
    """``before`` updates are saved; the next one is done until it is killed, then again."""
    expected = RunDirectory(tmp_path / "whole").create(SMALL, {})
    for iteration in range(1, before + 2):
        end_update(expected, Saver(expected), iteration)
    names = {path.name for path in expected.path.iterdir()}
    begun = RunDirectory(tmp_path / "begun").create(SMALL, {})
    for iteration in range(1, before + 1):
        end_update(begun, Saver(begun), iteration)
    for line in itertools.count(4 * before % every, every):
        run = RunDirectory(tmp_path / str(line))
        shutil.copytree(begun.path, run.path)
        died = killed_at_line(line, lambda run=run: end_update(run, Saver(run), before + 1))
        saver = Saver(run)
        found = saver.newest()
        done = 0 if found.state is None else found.state["iteration"]
        assert done in ({before, before + 1} if died else {before + 1})
        run.rewind(done)
        saver.go_on_from(found)
        if done == before:
            end_update(run, Saver(run), before + 1)
        for name in ("metrics.jsonl", "episodes.csv"):
            assert (run.path / name).read_bytes() == (expected.path / name).read_bytes(), line
        for name in ("latest.pt", "best.pt"):
            assert load_checkpoint(run.path / name)["iteration"] == before + 1
        assert {path.name for path in run.path.iterdir()} <= names
        if not died:
            assert line > 50, "killed at few lines"
            break


@pytest.mark.parametrize("every", SOME)
def test_a_kill_at_any_line_before_the_run_is_there_lets_it_be_made_again(
    tmp_path: Path, every: int
) -> None:
    for line in itertools.count(0, every):
        path = tmp_path / str(line)
        died = killed_at_line(line, lambda path=path: RunDirectory(path).create(SMALL, {}) and None)
        try:
            run = RunDirectory.open(path)
        except CheckpointError:
            assert died
            run = RunDirectory(path).create(SMALL, {})
        assert run.scenario() == SMALL and "versions" in run.info()
        if not died:
            assert line > 30, "killed at few lines"
            break


# No room -------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MB of its own."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "trafficrl", str(path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small file system")
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def fill(disk: Path) -> Path:
    """A file that takes all the room that is left."""
    ballast = disk / "ballast"
    with open(ballast, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(1024))
        except OSError as error:
            assert error.errno == errno.ENOSPC
    return ballast


def assert_no_damage(run: Path) -> None:
    for name in ("metrics.jsonl", "episodes.csv", "timing.jsonl"):
        assert not (run / name).exists() or (run / name).read_bytes().endswith(b"\n")
    for path in run.glob("*.pt"):
        load_checkpoint(path)
    assert not [path for path in run.iterdir() if files.is_partial(path)]


def test_a_full_disk_ends_a_training_in_one_line_and_it_goes_on_with_room(
    small_disk: Path, finished
) -> None:
    run = Training(small_disk / "run", "ring")

    def fill_at_third(trainer: Trainer, progress: Progress) -> None:
        if trainer.iteration == 3:
            fill(small_disk)

    with pytest.raises(WriteError, match=r"cannot be written \(No space left on") as caught:
        run.run(fill_at_third)
    assert "\n" not in str(caught.value) and f"--resume {run.path}" in str(caught.value)
    assert_no_damage(run.path)
    at = load_checkpoint(run.path / "latest.pt")["sim_steps"]
    assert f"the last good checkpoint is {run.path}/latest.pt of step {at:,}" in str(caught.value)
    with pytest.raises(TrafficRLError):  # still no room, and still no damage
        run.run(resume=True)
    assert_no_damage(run.path)
    (small_disk / "ballast").unlink()
    assert_same_end(run.run(resume=True).path, finished("ring").path)


def test_a_log_that_may_not_grow_is_cut_back_to_whole_lines(training, finished) -> None:
    """RLIMIT_FSIZE stops a write in the middle, as a full disk does."""
    run, before = training("limited"), resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit_at_third(trainer: Trainer, progress: Progress) -> None:
        if trainer.iteration == 3:
            size = (run.path / "metrics.jsonl").stat().st_size + 100
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    try:
        with pytest.raises(WriteError, match=r"metrics\.jsonl: cannot be written"):
            run.run(limit_at_third)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert_no_damage(run.path)
    assert_same_end(run.run(resume=True).path, finished("ring").path)


@pytest.mark.parametrize("room", [0, 1000, 5000, 100_000, 1_000_000])
def test_a_checkpoint_for_which_there_is_no_room_leaves_the_old_one(
    tmp_path: Path, room: int
) -> None:
    path, before = tmp_path / "a.pt", resource.getrlimit(resource.RLIMIT_FSIZE)
    save_checkpoint(path, {"w": torch.zeros(3)})
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(WriteError, match=r"a\.pt: cannot be written \(File too large\)"):
            save_checkpoint(path, {"w": torch.ones(500_000)}, keep=tmp_path / "b.pt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert torch.equal(load_checkpoint(path)["w"], torch.zeros(3))
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


def test_a_disk_that_is_full_from_the_start_is_one_line(
    small_disk: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    ballast = fill(small_disk)
    path = small_disk / "run"
    arguments = ["train", "ring", "--set", "vehicles.0.count=3", "--output", str(path)]
    assert main(arguments) == 1
    error = capfd.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert "No space left on device" in error
    ballast.unlink()
    assert RunDirectory(path).create(SMALL, {}).scenario() == SMALL


# Damage --------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["missing", "truncated", "altered", "empty"])
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_is_used(
    training, finished, damage: str
) -> None:
    run = training("damaged").run(stop_at(4))
    latest = run.path / "latest.pt"
    earlier = load_checkpoint(run.path / "previous.pt")["sim_steps"]
    data = bytearray(latest.read_bytes())
    if damage == "missing":
        latest.unlink()
    elif damage == "altered":
        data[len(data) // 2] ^= 1
        latest.write_bytes(data)
    else:
        latest.write_bytes(data[: len(data) // 2 if damage == "truncated" else 0])
    # Killed again before it saves: the good one is still there.
    with pytest.raises(KeyboardInterrupt):
        run.run(interrupt, resume=True)
    (note,) = run.notes
    assert note.startswith(f"{latest}: ") and "\n" not in note
    assert note.endswith("going on from previous.pt instead")
    assert load_checkpoint(latest)["sim_steps"] >= earlier
    run.run(resume=True)
    assert run.notes == []
    assert_same_end(run.path, finished("ring").path)


def interrupt(trainer: Trainer, progress: Progress) -> None:
    raise KeyboardInterrupt


def test_without_any_good_checkpoint_both_are_named(training) -> None:
    run = training("damaged").run(stop_at(4))
    for name in ("latest.pt", "previous.pt"):
        (run.path / name).write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"latest\.pt: .*; .*previous\.pt: ") as caught:
        run.run(resume=True)
    assert "\n" not in str(caught.value)


def test_a_damaged_best_is_noticed_and_the_next_best_takes_its_place(training, finished) -> None:
    run = training("damaged").run(stop_at(4))
    (run.path / "best.pt").write_bytes(b"")
    run.run(resume=True)
    (note,) = run.notes
    assert note.startswith(f"{run.path / 'best.pt'}: ") and "\n" not in note
    assert load_checkpoint(run.path / "best.pt")["iteration"] > 4
    for name in ("metrics.jsonl", "episodes.csv"):
        assert (run.path / name).read_bytes() == (finished("ring").path / name).read_bytes()


def test_a_checkpoint_of_before_checksums_is_read(training, finished) -> None:
    run = training("old").run(stop_at(4))
    latest = run.path / "latest.pt"
    torch.save({**load_checkpoint(latest), "format": 2}, latest)
    (run.path / "previous.pt").unlink()
    (run.path / ".lock").unlink()
    assert_same_end(run.run(resume=True).path, finished("ring").path)


# Sessions ------------------------------------------------------------------------------


def test_one_training_at_a_time(training, capfd: pytest.CaptureFixture[str]) -> None:
    run = training("taken").run(stop_at(2))
    before = {path.name: path.read_bytes() for path in run.path.iterdir()}
    holder = RunDirectory.open(run.path)
    holder.lock.acquire()
    assert main(["train", "--resume", str(run.path)]) == 1
    error = capfd.readouterr().err
    assert error.startswith(f"error: {run.path}: process {os.getpid()} on ")
    assert "is training there" in error and error.count("\n") == 1
    holder.lock.release()
    assert {path.name: path.read_bytes() for path in run.path.iterdir()} == before
    run.run(resume=True)


def test_each_session_is_recorded_and_other_versions_are_told(training, finished) -> None:
    run = training("sessions").run(stop_at(2)).run(stop_at(4), resume=True)
    assert run.notes == []
    info = json.loads((run.path / "run.json").read_text())
    info["versions"]["torch"] = "1.0.0"
    (run.path / "run.json").write_text(json.dumps(info))
    run.run(resume=True)
    (note,) = run.notes
    assert note.startswith(f"{run.path}: other bits may come out") and "\n" not in note
    assert note.endswith(f"torch {torch.__version__} (was 1.0.0)")
    info = RunDirectory.open(run.path).info()
    assert info["versions"]["torch"] == "1.0.0"
    assert [one["at_sim_steps"] for one in info["resumed"]] == [160, 320]
    assert all(one["command"] == sys.argv for one in info["resumed"])
    assert info["resumed"][0].keys() >= {"started", "platform", "git_revision", "versions"}
    assert_same_end(run.path, finished("ring").path)


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_anew(training, finished) -> None:
    run = training("early").run(stop_at(1))
    for path in run.path.glob("*.pt"):
        path.unlink()
    assert_same_end(run.run(resume=True).path, finished("ring").path)
