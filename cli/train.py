"""``trafficrl train``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .displays import Display, End, Start, display_options
from .signals import stop_on_signals

if TYPE_CHECKING:
    from trafficrl.config import ScenarioConfig
    from trafficrl.training.progress import Progress
    from trafficrl.training.ray_actors import Actors
    from trafficrl.training.trainer import Trainer


class Workers(click.ParamType[int | str]):
    """A number of processes, or the address of a Ray cluster."""

    name = "workers"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | str:
        from trafficrl import cluster

        if value.isascii() and value.isdecimal():
            return int(value)
        if cluster.is_address(value):
            return value
        self.fail(f"{value!r} is no number of processes from 0 and not {cluster.HOW}.", param, ctx)


@click.command()
@click.argument("scenario", required=False)
@click.option("--algorithm", metavar="NAME", help="Algorithm  [default: the scenario's]")
@click.option("--seed", type=click.IntRange(0), help="Training seed  [default: the scenario's]")
@click.option("--total-steps", type=click.IntRange(1), help="Simulation steps to train for")
@click.option("--device", help="cpu, cuda, cuda:1, ...  [default: cpu]")
@click.option(
    "--workers",
    type=Workers(),
    metavar="N|ray://ADDRESS",
    default="1",
    show_default=True,
    envvar="TRAFFICRL_WORKERS",
    show_envvar=True,
    help="Processes that collect at the same time, 0: this one; ray://auto, ray://HOST:PORT: "
    "a Ray cluster, in which all training.simulations do",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    help="Run directory  [default: a new one below runs/]",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a scenario key; may be repeated",
)
@click.option(
    "--resume", type=click.Path(path_type=Path), metavar="RUN", help="Go on with an interrupted run"
)
@click.option("--tensorboard", is_flag=True, help="Also write TensorBoard files (extra 'tb')")
@display_options
def train(
    scenario: str | None,
    algorithm: str | None,
    seed: int | None,
    total_steps: int | None,
    device: str | None,
    workers: int | str,
    output: Path | None,
    overrides: tuple[str, ...],
    resume: Path | None,
    tensorboard: bool,
    display: Display,
) -> None:
    """Train the controllers of SCENARIO: a YAML file, or the name of a bundled scenario.

    Ctrl-C ends the training after the running update and saves it.
    """
    if (scenario is None) == (resume is None):
        raise click.UsageError("give either a SCENARIO or --resume RUN")
    if resume is not None:
        _refuse_changes(
            {
                "--algorithm": algorithm,
                "--seed": seed,
                "--set": overrides or None,
                "--output": output,
                "--total-steps": total_steps,
            }
        )

    keys = {"algorithm": algorithm, "seed": seed, "total_steps": total_steps}
    flags = [f"training.{key}={value}" for key, value in keys.items() if value is not None]
    with display, _pool(workers) as pool:
        new_writer = _tensorboard() if tensorboard else None
        if resume is not None:
            trainer = _resumed(resume, device, pool)
        else:
            assert scenario is not None
            trainer = _new(scenario, [*overrides, *flags], output, device, pool)
        try:
            path = trainer.run.path
            display.started(Start(trainer.config, path, resumed_at=trainer.sim_steps))
            writer = None
            if new_writer is not None:
                purge = trainer.sim_steps + 1
                writer = new_writer(path / "tensorboard", purge_step=purge)

            def on_progress(progress: Progress) -> None:
                display.updated(progress)
                if writer is not None:
                    _write_scalars(writer, progress)

            with stop_on_signals(trainer, display):
                trainer.train(on_progress, display.phase)
        finally:
            trainer.close()
        display.finished(End(trainer))


@contextmanager
def _pool(workers: int | str) -> Iterator[int | Actors]:
    """Where the workers are to be."""
    if isinstance(workers, int):
        yield workers
        return
    from trafficrl import cluster

    with cluster.connect(workers):
        from trafficrl.training.ray_actors import Actors

        yield Actors(lambda text: click.echo(f"warning: {text}", err=True))


def _new(
    scenario: str,
    overrides: list[str],
    output: Path | None,
    device: str | None,
    workers: int | Actors,
) -> Trainer:
    """A training that begins, in a new run directory."""
    from trafficrl.config import load_scenario
    from trafficrl.training.run_directory import RunDirectory, default_path
    from trafficrl.training.trainer import Trainer

    config = load_scenario(scenario, overrides)
    run = RunDirectory(output or default_path(Path("runs"), config))
    device = "cpu" if device is None else device
    _warn_of_waiting(config, workers)
    # Before the directory is made: what cannot be trained should leave nothing behind.
    trainer = Trainer(config, run, device=device, workers=workers)
    with _closed_on_failure(trainer):
        run.create(config, {"algorithm": config.training.algorithm, "device": device})
    return trainer


def _resumed(path: Path, device: str | None, workers: int | Actors) -> Trainer:
    """A training that goes on."""
    from trafficrl.training.run_directory import RunDirectory
    from trafficrl.training.trainer import Trainer

    run = RunDirectory.open(path)
    device = str(run.info().get("device", "cpu")) if device is None else device
    config = run.scenario()
    _warn_of_waiting(config, workers)
    trainer = Trainer(config, run, device=device, workers=workers)
    with _closed_on_failure(trainer):
        for note in trainer.resume():
            click.echo(f"warning: {note}", err=True)
    return trainer


def _warn_of_waiting(config: ScenarioConfig, workers: int | Actors) -> None:
    if not isinstance(workers, int):
        simulations = config.training.simulations
        workers.warn_of_waiting(simulations, simulations, config.training.worker_timeout_s)


@contextmanager
def _closed_on_failure(trainer: Trainer) -> Iterator[None]:
    try:
        yield
    except BaseException:
        trainer.close()
        raise


def _refuse_changes(options: dict[str, Any]) -> None:
    for name, value in options.items():
        if value is not None:
            raise click.UsageError(f"{name} cannot be changed with --resume")


def _tensorboard() -> Any:
    from trafficrl.errors import TrafficRLError

    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise TrafficRLError(
            "--tensorboard: TensorBoard is not installed (pip install 'trafficrl[tb]')"
        ) from None
    return SummaryWriter


def _write_scalars(writer: Any, progress: Progress) -> None:
    for group, figures in (("train", progress.metrics), ("validation", progress.validation or {})):
        for key, value in figures.items():
            writer.add_scalar(f"{group}/{key}", value, progress.sim_steps)
    writer.flush()
