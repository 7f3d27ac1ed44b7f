"""A training as events for programs: ``trafficrl train --log-json``."""

from __future__ import annotations

import datetime
import json
import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from .displays import Display, End, Start
from .main import error_message

if TYPE_CHECKING:
    from trafficrl.training.progress import Progress


class JsonLines(Display):
    """An object a line on stdout, and nothing else there."""

    def __exit__(self, *error: object) -> None:
        if isinstance(error[1], BaseException):
            with suppress(OSError):  # it may be stdout that cannot be written
                self._tell("error", message=error_message(error[1]))

    def started(self, start: Start) -> None:
        training = start.config.training
        self._tell(
            "started",
            run=str(start.path),
            scenario=start.config.name,
            algorithm=training.algorithm,
            seed=training.seed,
            agents=start.config.n_agents,
            replicas=training.replicas,
            simulations=training.simulations,
            total_steps=training.total_steps,
            resumed_at=start.resumed_at,
        )

    def updated(self, progress: Progress) -> None:
        where = {"iteration": progress.iteration, "sim_steps": progress.sim_steps}
        for row in progress.warnings:
            self._tell("warning", **row)
        for loss in progress.workers_lost:
            self._tell("worker_lost", **where, message=loss)
        self._tell(
            "update",
            **where,
            total_steps=progress.total_steps,
            steps_per_second=progress.steps_per_second,
            sumo_warnings=progress.n_warnings,
            seconds=progress.seconds,
            metrics=progress.metrics,
            episodes=[episode.row() for episode in progress.episodes],
        )
        if progress.validation is not None:
            self._tell("validation", **where, metrics=progress.validation)

    def finished(self, end: End) -> None:
        tally = end.trainer.warnings.tally
        self._tell(
            "finished",
            run=str(end.path),
            complete=not end.trainer.stopped_early,
            sim_steps=end.trainer.sim_steps,
            sumo_warnings={"count": tally.total, "by_kind": tally.counts},
            workers_lost=end.trainer.fleet.lost,
            episodes_given_up=end.trainer.fleet.given_up,
        )

    def _tell(self, event: str, **content: Any) -> None:
        tell(event, **content)


def tell(event: str, **content: Any) -> None:
    """Print an event."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    click.echo(json.dumps(_finite({"event": event, "time": now, **content})))


def _finite(content: Any) -> Any:
    """The same with null for what JSON has no number for."""
    match content:
        case dict():
            return {key: _finite(value) for key, value in content.items()}
        case list():
            return [_finite(value) for value in content]
        case float() if not math.isfinite(content):
            return None
    return content
