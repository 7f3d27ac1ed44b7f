"""Which checkpoints a run has: when one is written, and which one it goes on from."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from trafficrl.errors import CheckpointError, NumericalError
from trafficrl.training.checkpoint import load_checkpoint, save_checkpoint
from trafficrl.training.files import sync
from trafficrl.training.run_directory import RunDirectory

MAX_SAVE_SHARE = 0.1  # of the time; a checkpoint with a large replay takes seconds
State = dict[str, Any]


class Found(NamedTuple):
    """A checkpoint to go on from."""

    path: Path
    state: State | None  # None: the run was killed before it had one
    wrong: str | None  # with a newer one, on one line


class Saver:
    """Writes and finds ``latest.pt``, ``previous.pt`` and ``best.pt``.

    Best and latest are files of their own, and a run may be killed between the
    two: then the best is newer than what the run goes on from. It stays right,
    as the same update is done again and comes to the same best.
    """

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self.saved_at: int | None = None  # simulation steps of the last good checkpoint
        self._ended = self._seconds = 0.0  # of the last save

    def is_worth_it(self) -> bool:
        """Whether a save costs little beside what would be lost without it.

        Of no consequence for results: a run that goes on from further back ends the same.
        """
        return self._seconds < MAX_SAVE_SHARE * (time.perf_counter() - self._ended)

    def save(self, state: State) -> None:
        """Write ``latest.pt``; what was there before becomes ``previous.pt``."""
        _refuse_nan(state["learner"])
        started = time.perf_counter()
        self.run.sync_logs()
        save_checkpoint(self.run.latest, state, keep=self.run.previous)
        self._ended = time.perf_counter()
        self._seconds = self._ended - started
        self.saved_at = state["sim_steps"]

    def save_best(self, state: State) -> None:
        """Write ``best.pt``, which has the policies alone: nothing goes on from it."""
        _refuse_nan(state["policies"])
        save_checkpoint(self.run.best, state)

    def newest(self) -> Found:
        """The newest good checkpoint; ``CheckpointError`` if there is none any more."""
        latest, previous = self.run.latest, self.run.previous
        try:
            return Found(latest, load_checkpoint(latest), None)
        except CheckpointError as error:
            wrong = error
        if previous.exists():
            try:
                state = load_checkpoint(previous)
            except CheckpointError as error:
                raise CheckpointError(f"{wrong}; {error}") from None
            return Found(previous, state, f"{wrong}; going on from {previous.name} instead")
        if latest.exists() or self.run.logged_past_first_update():
            raise wrong
        return Found(latest, None, None)

    def go_on_from(self, found: Found) -> None:
        """Make sure that no save puts a damaged ``latest.pt`` in the place of a good one."""
        if found.path != self.run.latest:
            os.replace(found.path, self.run.latest)
            sync(self.run.path)
        if found.state is not None:
            self.saved_at = found.state["sim_steps"]

    def what_is_wrong_with_best(self) -> str | None:
        """On one line, if ``best.pt`` cannot be used."""
        try:
            load_checkpoint(self.run.best)
        except CheckpointError as error:
            return f"{error}; the best of the validations to come takes its place"
        return None


def _refuse_nan(learner: State) -> None:
    """``NumericalError`` rather than NaN over a good checkpoint; bounds may be infinite."""
    name = first_nan(learner)
    if name is not None:
        raise NumericalError(f"{name} of the learner is nan")


def first_nan(learner: State) -> str | None:
    """The name of a tensor with NaN in it; None where there is none."""
    for name, tensor in _tensors(learner):
        if tensor.is_floating_point() and bool(tensor.isnan().any()):
            return name
    return None


def _tensors(part: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    if isinstance(part, torch.Tensor):
        yield name, part
    elif isinstance(part, dict | list):
        for key, value in part.items() if isinstance(part, dict) else enumerate(part):
            yield from _tensors(value, f"{name}.{key}".lstrip("."))
