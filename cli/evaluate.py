"""``trafficrl evaluate``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from trafficrl.config import ScenarioConfig
    from trafficrl.evaluation.dealing import Assignment
    from trafficrl.evaluation.learned import LearnedDriver


@click.command()
@click.argument("run")
@click.option("--scenario", metavar="S", help="Scenario to drive in  [default: the run's own]")
@click.option("--episodes", type=click.IntRange(1), default=10, show_default=True)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Evaluation seed; its episodes are never trained or validated on",
)
@click.option(
    "--checkpoint", type=click.Choice(["best", "latest"]), default="best", show_default=True
)
@click.option(
    "--assign",
    type=click.Choice(["shared", "slot", "position"]),
    help="How a run's policies are dealt to the vehicles  [default: shared, or by position]",
)
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a scenario key; may be repeated",
)
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write the figures as JSON",
)
def evaluate(
    run: str,
    scenario: str | None,
    episodes: int,
    seed: int,
    checkpoint: str,
    assign: Assignment | None,
    overrides: tuple[str, ...],
    json_file: Path | None,
) -> None:
    """Evaluate RUN: a run directory, constant:VALUE, or a classical controller such as idm.

    VALUE is an acceleration in m/s2, or the index of a choice. Controllers take
    parameters: idm:noise=0.2, sumo:IDM:accel=1.0. All but run directories need --scenario.

    A run drives another scenario with its own observation, action, graph and
    control interval; --set changes what it drives in.
    """
    from trafficrl.config import load_scenario
    from trafficrl.evaluation.carry import scenario_to_drive
    from trafficrl.evaluation.drivers import make_driver
    from trafficrl.evaluation.evaluate import report, run_episodes
    from trafficrl.evaluation.learned import LearnedDriver
    from trafficrl.training.run_directory import RunDirectory

    driver, trained_on = make_driver(run, checkpoint, assign)
    if trained_on is not None:
        config = scenario_to_drive(trained_on, scenario or trained_on, overrides)
    elif scenario is not None:
        config = load_scenario(scenario, overrides)
    else:
        raise click.UsageError(f"'{run}' needs a --scenario to drive in")
    if json_file is not None:
        _check_writable(json_file)
    summaries = run_episodes(driver, config, episodes=episodes, seed=seed)
    # A folder of runs stands for its newest one: say which.
    name = run if trained_on is None else str(RunDirectory.open(Path(run)).path)
    result = report(name, config, summaries, seed=seed, overrides=overrides)
    if isinstance(driver, LearnedDriver):
        result["assign"] = driver.assign
    if json_file is not None:
        json_file.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    _print(result)
    if isinstance(driver, LearnedDriver):
        _print_deal(driver, config)


def _print_deal(driver: LearnedDriver, config: ScenarioConfig) -> None:
    """Who drives."""
    if driver.assign == "shared":
        policies = "one shared policy"
    else:
        policies = f"{driver.policies} policies by {driver.assign}"
    click.echo(f"{policies} for {config.n_agents} learned vehicles")


def _print(result: dict[str, Any]) -> None:
    from trafficrl.evaluation.evaluate import METRICS

    click.echo(
        f"{result['controller']} on {result['scenario']}: {result['episodes']} episodes, "
        f"seed {result['seed']}, speed mode {result['speed_mode']}"
    )
    click.echo(f"{'':24}{'mean':>12}  {'95 % interval':^25}")
    for name, metric in METRICS.items():
        low, high = result["intervals_95"][name]
        interval = f"[{low:.6g}, {high:.6g}]"
        click.echo(f"{name:24}{result[name]:>12.6g}  {interval:^25}  {metric.unit}")


def _check_writable(path: Path) -> None:
    """Before minutes of simulation, not after them."""
    from trafficrl.errors import TrafficRLError

    existed = path.exists()
    try:
        with open(path, "a", encoding="utf-8"):
            pass
    except OSError as error:
        raise TrafficRLError(f"{path}: cannot be written ({error.strerror})") from None
    if not existed:
        path.unlink()
