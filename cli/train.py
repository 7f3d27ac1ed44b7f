"""``trafficrl train``."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from trafficrl.config import ScenarioConfig
    from trafficrl.training.trainer import Progress, Trainer


@click.command()
@click.argument("scenario", required=False)
@click.option("--algorithm", metavar="NAME", help="Algorithm  [default: the scenario's]")
@click.option("--seed", type=click.IntRange(0), help="Training seed  [default: the scenario's]")
@click.option("--total-steps", type=click.IntRange(1), help="Simulation steps to train for")
@click.option("--device", help="cpu, cuda, cuda:1, ...  [default: cpu]")
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
def train(
    scenario: str | None,
    algorithm: str | None,
    seed: int | None,
    total_steps: int | None,
    device: str | None,
    output: Path | None,
    overrides: tuple[str, ...],
    resume: Path | None,
    tensorboard: bool,
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

    from trafficrl.config import load_scenario
    from trafficrl.training.run_directory import RunDirectory, default_path
    from trafficrl.training.trainer import Trainer

    if resume is not None:
        run = RunDirectory.open(resume)
        config = run.scenario()
        device = str(run.info().get("device", "cpu")) if device is None else device
    else:
        assert scenario is not None
        keys = {"algorithm": algorithm, "seed": seed, "total_steps": total_steps}
        flags = [f"training.{key}={value}" for key, value in keys.items() if value is not None]
        config = load_scenario(scenario, [*overrides, *flags])
        run = RunDirectory(output or default_path(Path("runs"), config))
        device = "cpu" if device is None else device
    new_writer = _tensorboard() if tensorboard else None
    # Before the directory is made: what cannot be trained should leave nothing behind.
    trainer = Trainer(config, run, device=device)
    try:
        if resume is not None:
            for note in trainer.resume():
                click.echo(f"warning: {note}", err=True)
        else:
            run.create(config, {"algorithm": config.training.algorithm, "device": device})
        _announce(config, run.path, resumed_at=trainer.sim_steps)
        writer = (
            new_writer(run.path / "tensorboard", purge_step=trainer.sim_steps + 1)
            if new_writer
            else None
        )
        with _stop_on_signals(trainer), _display(config.training.total_steps) as show:
            trainer.train(lambda progress: show(progress, writer))
    finally:
        trainer.close()
    _conclude(trainer, run.path)


def _refuse_changes(options: dict[str, Any]) -> None:
    for name, value in options.items():
        if value is not None:
            raise click.UsageError(f"{name} cannot be changed with --resume")


def _announce(config: ScenarioConfig, path: Path, *, resumed_at: int) -> None:
    training = config.training
    click.echo(
        f"{config.name}: {config.n_agents} learning vehicles, {training.algorithm}, "
        f"seed {training.seed}, {training.total_steps:,} simulation steps "
        f"over {training.replicas} replicas"
    )
    click.echo(f"run directory: {path}")
    if resumed_at:
        click.echo(f"resumed at {resumed_at:,} steps")


def _conclude(trainer: Trainer, path: Path) -> None:
    if trainer.stopped_early:
        click.echo(
            f"stopped at {trainer.sim_steps:,} steps and saved; go on with:\n"
            f"  trafficrl train --resume {shlex.quote(str(path))}"
        )
        if not trainer.run.best.exists():
            return
    click.echo(f"evaluate the best policy with:\n  trafficrl evaluate {shlex.quote(str(path))}")


@contextmanager
def _stop_on_signals(trainer: Trainer) -> Iterator[None]:
    """The first Ctrl-C or SIGTERM ends the training in order, the second at once."""

    def handle(number: int, frame: object) -> None:
        for one, handler in previous.items():
            signal.signal(one, handler)
        click.echo("\nstopping after this update (once more: at once)", err=True)
        trainer.stop()

    previous = {one: signal.signal(one, handle) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for one, handler in previous.items():
            signal.signal(one, handler)


@contextmanager
def _display(total: int) -> Iterator[Callable[[Progress, Any], None]]:
    """A progress bar on a terminal, and a line for each validation anywhere."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(soft_wrap=True)
    with Bar(
        TextColumn("{task.completed:>9,.0f} steps"),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[rate]:>6,.0f}/s"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
        console=console,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("", total=total, rate=0.0, figures="")

        def show(progress: Progress, writer: Any) -> None:
            figures = (
                f"speed {progress.metrics['mean_speed_mps']:.2f} m/s  "
                f"return {progress.metrics['return_per_step']:.3g} a step"
            )
            bar.update(
                task, completed=progress.sim_steps, rate=progress.steps_per_second, figures=figures
            )
            if progress.validation is not None:
                console.print(_validation_line(progress, progress.validation), highlight=False)
            if writer is not None:
                _write_scalars(writer, progress)

        yield show


def _validation_line(progress: Progress, figures: dict[str, float]) -> str:
    return (
        f"{progress.sim_steps:>9,} steps  {progress.steps_per_second:>6,.0f}/s  validation: "
        f"return {figures['return']:,.6g}, speed {figures['mean_speed_mps']:.2f} m/s "
        f"(spread {figures['speed_std_mps']:.2f}), collisions {figures['collisions']:.3g}"
    )


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
