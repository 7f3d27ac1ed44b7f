"""The training loop: collect, update, log, validate, checkpoint."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import torch

from trafficrl import memory
from trafficrl.config import ScenarioConfig
from trafficrl.config.scenario import RoutesStart
from trafficrl.errors import CheckpointError, NumericalError, TrafficRLError, WriteError
from trafficrl.training.collector import Collected
from trafficrl.training.fleet import Fleet
from trafficrl.training.progress import Phase, Progress
from trafficrl.training.run_directory import RunDirectory
from trafficrl.training.saving import Saver, first_nan
from trafficrl.training.seeding import update_streams
from trafficrl.training.setup import make_algorithm
from trafficrl.training.shard import Weights, acting_weights
from trafficrl.training.validation import PREFIX, VALIDATED, merit
from trafficrl.training.warning_log import WarningLog
from trafficrl.training.workers import Pool


class Trainer:
    """Trains one algorithm on one scenario into one run directory.

    Everything that decides the outcome is in the checkpoint, so that a resumed
    training ends where an uninterrupted one would, bit for bit.
    """

    def __init__(
        self,
        config: ScenarioConfig,
        run: RunDirectory,
        *,
        device: str = "cpu",
        workers: int | Pool = 0,
    ) -> None:
        """``workers`` processes, or those of a pool, collect; with 0 this one does.

        Results do not depend on it.
        """
        self.config = config
        self.run = run
        self.saver = Saver(run)
        settings = config.training
        if isinstance(config.start, RoutesStart):
            raise TrafficRLError(
                f"{config.name}: vehicles come and go there, and one that takes another's slot "
                "would learn from its past (train where vehicles circulate, without route_files, "
                "and evaluate here)"
            )
        self.warnings = WarningLog(run.warnings_file)
        torch.set_num_threads(settings.torch_threads)
        memory.keep_freed()
        self.fleet = Fleet(config, workers)
        try:
            self.algorithm = make_algorithm(
                settings.algorithm, config, self.fleet.widths, seed=settings.seed, device=device
            )
        except BaseException:
            self.fleet.close()
            raise
        self._streams = update_streams(settings.seed, device)
        self._rollout_steps: int = getattr(config.algorithms, settings.algorithm).rollout_steps
        self.iteration = 0
        self.sim_steps = 0
        self._validated_at = 0
        self._best: list[float] | None = None  # the merit of what best.pt is of
        self._stop = False

    def resume(self) -> list[str]:
        """Take over the newest good checkpoint of the run, and forget what was logged after it.

        A run that was killed before its first checkpoint begins anew. Returns
        what its owner should know: a damaged checkpoint, other versions.
        """
        self.run.lock.acquire()
        found = self.saver.newest()
        if found.state is not None:
            try:
                self._load_state_dict(found.state)
            except (KeyError, ValueError, RuntimeError, TypeError) as error:
                reason = str(error).partition("\n")[0]
                raise CheckpointError(
                    f"{found.path}: does not fit {self.run.scenario_file} ({reason})"
                ) from None
        lost = None if self._best is None else self.saver.what_is_wrong_with_best()
        if lost is not None:
            self._best = None
        self.run.rewind(self.iteration)
        self.warnings.read()
        self.saver.go_on_from(found)
        changed = self.run.log_session(self.sim_steps)
        return [note for note in (found.wrong, lost, changed) if note is not None]

    def stop(self) -> None:
        """End ``train`` after the running update, with a checkpoint."""
        self._stop = True

    @property
    def stopped_early(self) -> bool:
        """Whether steps are left."""
        return self.sim_steps < self.config.training.total_steps

    def train(
        self,
        on_progress: Callable[[Progress], None] = lambda progress: None,
        on_phase: Callable[[Phase], None] = lambda phase: None,
    ) -> None:
        """Go on until ``total_steps`` or ``stop``.

        ``on_progress`` is told of every update, ``on_phase`` what begins. Raises
        ``NumericalError`` where something is not finite, and ``WriteError``
        where there is no room; both say where the training was.
        """
        try:
            self._train(on_progress, on_phase)
        except (NumericalError, WriteError) as error:
            raise type(error)(f"{error}; {self._where(error)}") from error

    def close(self) -> None:
        """End the simulations and let others train in the directory."""
        try:
            self.fleet.close()
            # A SUMO of its own holds some back until it ends; that matters less than what
            # may have ended the training.
            with suppress(WriteError):
                self._log_warnings()
        finally:
            self.run.lock.release()

    # ------------------------------------------------------------------

    def _train(
        self, on_progress: Callable[[Progress], None], on_phase: Callable[[Phase], None]
    ) -> None:
        total = self.config.training.total_steps
        begun, begun_at = time.perf_counter(), self.sim_steps
        while self.sim_steps < total and not self._stop:
            started = time.perf_counter()
            on_phase("collect")
            collected = self.fleet.collect(
                self._weights(),
                sim_steps=self._next_rollout(),
                since=self.sim_steps,
                iteration=self.iteration + 1,
            )
            collect_seconds = time.perf_counter() - started
            on_phase("update")
            losses = self._learn(collected, self.sim_steps / total)
            memory.give_back_freed()
            self.sim_steps += collected.sim_steps
            self.iteration += 1
            update_seconds = time.perf_counter() - started - collect_seconds
            metrics = self._log(collected, losses)
            due = self.sim_steps - self._validated_at >= self.config.training.validate_every_steps
            validation = None
            if due or self.sim_steps >= total:
                on_phase("validate")
                validation = self._validate()
            warnings = self._log_warnings()
            if self.saver.is_worth_it():
                self.saver.save(self._state_dict())
            done = time.perf_counter()
            seconds = {
                "collect_s": collect_seconds,
                "update_s": update_seconds,
                "validate_and_save_s": done - started - collect_seconds - update_seconds,
            }
            losses_of_workers = self.fleet.take_losses()
            self.run.log_timing(
                {
                    "iteration": self.iteration,
                    "sim_steps": self.sim_steps,
                    **seconds,
                    "workers_lost": len(losses_of_workers),
                    "episodes_given_up": self.fleet.given_up,
                }
            )
            on_progress(
                Progress(
                    iteration=self.iteration,
                    sim_steps=self.sim_steps,
                    total_steps=total,
                    steps_per_second=(self.sim_steps - begun_at) / (done - begun),
                    seconds=seconds,
                    metrics=metrics,
                    episodes=collected.episodes,
                    validation=validation,
                    warnings=warnings,
                    n_warnings=self.warnings.tally.total,
                    workers_lost=losses_of_workers,
                )
            )
        if self.saver.saved_at != self.sim_steps:
            self.saver.save(self._state_dict())

    def _learn(self, collected: Collected, progress: float) -> dict[str, float]:
        """One update; none where all replicas were held still, after a collision, throughout."""
        if not collected.rollout.active.any():
            return {}
        return self.algorithm.update(collected.rollout, self._streams, progress)

    def _where(self, error: TrafficRLError) -> str:
        """How far the training was, and what can be done now."""
        at = self.saver.saved_at
        saved = (
            "there is no checkpoint yet"
            if at is None
            else f"the last good checkpoint is {self.run.latest} of step {at:,}"
        )
        advice = (
            f"make room and go on with: trafficrl train --resume {shlex.quote(str(self.run.path))}"
            if isinstance(error, WriteError)
            else "it would come again: train with smaller learning rates or max_grad_norm; "
            "metrics.jsonl has the norms of gradients"
        )
        return f"after update {self.iteration}, step {self.sim_steps:,}; {saved} ({advice})"

    def _log(self, collected: Collected, losses: dict[str, float]) -> dict[str, float]:
        metrics = {
            "mean_speed_mps": collected.mean_speed,
            "return_per_step": collected.mean_reward,
            **losses,
        }
        self.run.log_metrics({"iteration": self.iteration, "sim_steps": self.sim_steps, **metrics})
        self.run.log_episodes(
            [
                {"iteration": self.iteration, "sim_steps": self.sim_steps, **episode.row()}
                for episode in collected.episodes
            ]
        )
        return metrics

    def _weights(self) -> Weights:
        return acting_weights(self.algorithm, self.config.n_agents)

    def _log_warnings(self) -> list[dict[str, Any]]:
        return self.warnings.add(self.iteration, self.fleet.take_warnings())

    def _next_rollout(self) -> int:
        """Simulation steps of each replica: a whole rollout, or what is left of the budget."""
        left = self.config.training.total_steps - self.sim_steps
        replicas = self.config.training.replicas * self.config.training.simulations
        return min(self._rollout_steps, math.ceil(left / replicas))

    def _validate(self) -> dict[str, float]:
        """Drive validation episodes with the deterministic policy; keep the best checkpoint."""
        summaries = self.fleet.validate(self._weights(), iteration=self.iteration)
        figures = {
            key: float(np.mean([summary.row()[key] for summary in summaries])) for key in VALIDATED
        }
        self._validated_at = self.sim_steps
        self.run.log_metrics(
            {
                "iteration": self.iteration,
                "sim_steps": self.sim_steps,
                **{f"{PREFIX}{key}": value for key, value in figures.items()},
            }
        )
        score = merit(figures)
        if self._best is None or score > self._best:
            self._best = score
            self.saver.save_best({**self._counts(), "policies": self._weights()})
        return figures

    def _counts(self) -> dict[str, Any]:
        """How far the training is, and what is needed to rebuild what it trains."""
        return {
            "algorithm": self.config.training.algorithm,
            "iteration": self.iteration,
            "sim_steps": self.sim_steps,
            "widths": self.fleet.widths,
            "validated_at": self._validated_at,
            "best": self._best,
        }

    def _state_dict(self) -> dict[str, Any]:
        return {
            **self._counts(),
            "learner": self.algorithm.state_dict(),
            "collectors": self.fleet.state_dict(),
            "streams": self._streams.get_state(),
        }

    def _load_state_dict(self, state: dict[str, Any]) -> None:
        self.algorithm.load_state_dict(state["learner"])
        # Before there could be several simulations a checkpoint had the one's state.
        self.fleet.load_state_dict(state.get("collectors") or [state["collector"]])
        self._streams.set_state(state["streams"])
        counts = {key: state[key] for key in ("iteration", "sim_steps", "validated_at")}
        for key, value in counts.items():
            if not isinstance(value, int) or value < 0:
                raise ValueError(f"{key} is {value!r}, not a count")
        self.iteration, self.sim_steps, self._validated_at = counts.values()
        best = state["best"]
        self._best = None if best is None else [float(figure) for figure in best]
        if nan := first_nan(state["learner"]):
            raise ValueError(f"{nan} of the learner is nan")
