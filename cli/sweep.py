"""``trafficrl sweep``."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trafficrl.errors import TrafficRLError

from .displays import one_of
from .numbers import FiniteRange
from .signals import stop_on_signals
from .sweep_displays import DISPLAYS, Display, Lines

if TYPE_CHECKING:
    from trafficrl.sweep.directory import SweepDirectory
    from trafficrl.sweep.executor import Executor
    from trafficrl.sweep.plan import Plan
    from trafficrl.sweep.runner import Runner
    from trafficrl.sweep.trial import Trial

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("sweep_file", required=False, type=_PATH, metavar="SWEEP.yaml")
@click.option("--output", type=_PATH, help="Sweep directory  [default: a new one below sweeps/]")
@click.option("--resume", type=_PATH, metavar="DIR", help="Go on with a sweep")
@click.option("--retry-failed", is_flag=True, help="With --resume: also with what has failed")
@click.option("--jobs", type=click.IntRange(1), help="Trainings at once  [default: one a core]")
@click.option(
    "--on",
    "address",
    metavar="ray://...",
    help="Train on a Ray cluster: ray://auto, ray://HOST:PORT",
)
@click.option(
    "--cpus",
    type=FiniteRange(0, min_open=True),
    help="With --on: CPUs of the cluster for each training  [default: 1]",
)
@click.option("--dry-run", is_flag=True, help="List what would run, and check it")
@one_of(DISPLAYS, Lines)
def sweep(
    sweep_file: Path | None,
    output: Path | None,
    resume: Path | None,
    retry_failed: bool,
    jobs: int | None,
    address: str | None,
    cpus: float | None,
    dry_run: bool,
    display: Display,
) -> None:
    """Train a scenario with many settings and seeds: a grid, or what Optuna proposes.

    SWEEP.yaml says what is varied, and by which figure of its validations a
    training is scored. Ctrl-C ends the trainings in order; --resume goes on, after
    anything.
    """
    if (sweep_file is None) == (resume is None):
        raise click.UsageError("give either a SWEEP.yaml or --resume DIR")
    if resume is not None and output is not None:
        raise click.UsageError("--output cannot be changed with --resume")
    if retry_failed and resume is None:
        raise click.UsageError("--retry-failed goes with --resume DIR")
    if cpus is not None and address is None:
        raise click.UsageError("--cpus goes with --on ray://...")
    if dry_run and not isinstance(display, Lines):
        raise click.UsageError("--dry-run prints a list (leave out --quiet and --log-json)")
    from trafficrl.sweep.directory import SweepDirectory
    from trafficrl.sweep.loading import load_sweep
    from trafficrl.sweep.runner import Runner
    from trafficrl.sweep.search import make_search
    from trafficrl.sweep.try_out import try_out

    with display, ExitStack() as stack:
        if resume is not None:
            directory = SweepDirectory.open(resume)
            plan = directory.plan()
        else:
            assert sweep_file is not None
            plan = load_sweep(sweep_file)
            directory = SweepDirectory(output or _default_path(sweep_file))
        search = make_search(plan)
        if dry_run:
            if resume is None:
                directory.check(plan)
            for line in _listed(plan, directory.trials(plan)):
                click.echo(line)
            return
        make_executor = stack.enter_context(_executors(address, cpus or 1.0))
        if resume is None:
            directory.check(plan)
            try_out(plan.scenario(plan.first))
            directory.create(plan)
        else:
            directory.lock.acquire()
        stack.callback(directory.lock.release)
        runner = Runner(plan, directory, search, retry_failed=retry_failed)
        executor = make_executor(directory)
        stack.callback(executor.close)
        jobs = jobs or plan.config.jobs or executor.slots
        display.started(runner, jobs)
        _run(runner, executor, jobs, display)
        display.finished(runner)
    if failed := runner.failures:
        raise TrafficRLError(f"{failed} (why is in {directory.path / 'results.md'})")


@contextmanager
def _executors(address: str | None, cpus: float) -> Iterator[Callable[[SweepDirectory], Executor]]:
    """Makes what carries out a sweep in a directory: here, or on a Ray cluster."""
    if address is None:
        from trafficrl.sweep.local import LocalProcesses

        yield lambda directory: LocalProcesses()
        return
    from trafficrl.cluster import connect
    from trafficrl.sweep.ray_tasks import RayTasks

    with connect(address):
        yield lambda directory: RayTasks(directory.new_session(), cpus)


def _run(runner: Runner, executor: Executor, jobs: int, display: Display) -> None:
    """Go on to the end or an interrupt; the results are there as far as they are known."""
    from trafficrl.sweep.runner import News
    from trafficrl.sweep.table import Results

    results = Results(runner.plan, runner.directory, runner.trials)

    def on_news(news: News) -> None:
        results.write_sometimes()
        display.told(runner, news)

    try:
        with stop_on_signals(runner, display):
            runner.run(executor, jobs, on_news)
    finally:
        results.write()


def _listed(plan: Plan, trials: list[Trial]) -> Iterator[str]:
    """What would run."""
    from trafficrl.sweep.config import GridSearch
    from trafficrl.sweep.plan import grid_points, show_point

    search, seeds = plan.config.search, plan.config.seeds
    left = plan.n_points * len(seeds) - sum(len(one.scores) + len(one.failures) for one in trials)
    steps = plan.base.training.total_steps
    yield (
        f"{plan.base.name}: {plan.n_points} points x {len(seeds)} seeds, {left:,} trainings left "
        f"(the scenario trains {steps:,} steps)"
    )
    known = {one.number: one for one in trials}
    if isinstance(search, GridSearch):
        points = list(grid_points(search.values))
    else:
        points = [one.point for one in trials]
    for number, point in enumerate(points):
        trial = known.get(number)
        open_seeds = [seed for seed in seeds if trial is None or trial.is_open(seed)]
        if open_seeds:
            which = " ".join(map(str, open_seeds))
            yield f"trial-{number:03}  seeds {which}  {', '.join(show_point(point))}"
    if not isinstance(search, GridSearch):
        new = plan.n_points - len(points)
        yield f"Optuna proposes {new} more points of {', '.join(search.ranges)}"


def _default_path(sweep_file: Path) -> Path:
    now = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    return Path("sweeps") / f"{sweep_file.stem}-{now}"
