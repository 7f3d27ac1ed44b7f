"""``trafficrl evaluate``."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .network_options import NetworkChoice, network_options

if TYPE_CHECKING:
    from trafficrl.config import ScenarioConfig
    from trafficrl.evaluation.dealing import Assignment
    from trafficrl.evaluation.learned import LearnedDriver
    from trafficrl.evaluation.trajectory import Trajectory


@click.command()
@click.argument("run")
@click.option("--scenario", metavar="S", help="Scenario to drive in  [default: the run's own]")
@network_options
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
    help="Also write all figures as JSON",
)
@click.option(
    "--per-vehicle",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write a row for each episode and vehicle as CSV",
)
@click.option(
    "--trajectories",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Also write every simulation step: .csv, .parquet, or .xml (SUMO's FCD, one episode)",
)
def evaluate(
    run: str,
    scenario: str | None,
    network: NetworkChoice | None,
    episodes: int,
    seed: int,
    checkpoint: str,
    assign: Assignment | None,
    overrides: tuple[str, ...],
    json_file: Path | None,
    per_vehicle: Path | None,
    trajectories: Path | None,
) -> None:
    """Evaluate RUN: a run directory, constant:VALUE, or a classical controller such as idm.

    VALUE is an acceleration in m/s2, or the index of a choice. Controllers take
    parameters: idm:noise=0.2, sumo:IDM:accel=1.0. All but run directories need --scenario, or
    a network to drive in.

    A run drives another scenario with its own observation, action, graph and
    control interval; --set changes what it drives in.
    """
    from trafficrl.config import load_scenario
    from trafficrl.evaluation.carry import scenario_to_drive
    from trafficrl.evaluation.drivers import make_driver
    from trafficrl.evaluation.evaluate import report, run_episodes, string_gain_spectrum
    from trafficrl.evaluation.files import output_file, trajectory_file, vehicle_file
    from trafficrl.evaluation.learned import LearnedDriver
    from trafficrl.training.run_directory import RunDirectory

    files = [file.resolve() for file in (json_file, per_vehicle, trajectories) if file is not None]
    if len(set(files)) < len(files):
        raise click.UsageError("--json, --per-vehicle and --trajectories need a file each")
    driver, trained_on = make_driver(run, checkpoint, assign)
    where = scenario or trained_on
    if network is not None:
        where = network.scenario(scenario)
    if where is None:
        raise click.UsageError(f"'{run}' needs a --scenario or a --net-file to drive in")
    if trained_on is not None:
        config = scenario_to_drive(trained_on, where, overrides)
    else:
        config = load_scenario(where, overrides)
    # A folder of runs stands for its newest one: say which.
    name = run if trained_on is None else str(RunDirectory.open(Path(run)).path)
    with ExitStack() as stack:
        # All open before minutes of simulation; each appears when all went well.
        stream = None if json_file is None else stack.enter_context(output_file(json_file))
        writers = []
        if per_vehicle is not None:
            writers.append(stack.enter_context(vehicle_file(per_vehicle)))
        if trajectories is not None:
            writers.append(stack.enter_context(trajectory_file(trajectories, episodes)))
        spectra = []

        def on_episode(trajectory: Trajectory) -> None:
            spectra.append(string_gain_spectrum(trajectory))
            for write in writers:
                write(trajectory)

        figures = run_episodes(
            driver,
            config,
            episodes=episodes,
            seed=seed,
            places=trajectories is not None,
            on_episode=on_episode,
        )
        result = report(name, config, figures, seed=seed, overrides=overrides)
        if isinstance(driver, LearnedDriver):
            result["assign"] = driver.assign
        if stream is not None:
            json.dump({**result, "string_gain_per_episode": spectra}, stream, indent=2)
            stream.write("\n")
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
    from trafficrl.evaluation.metrics import GROUPS, METRICS

    click.echo(
        f"{result['controller']} on {result['scenario']}: {result['episodes']} episodes, "
        f"seed {result['seed']}, speed mode {result['speed_mode']}"
    )
    click.echo(f"{'':31}{'mean':>12}  {'95 % over episodes':^25}")
    for group in GROUPS:
        click.echo(f"-- {group}")
        for name, metric in METRICS.items():
            if metric.group == group and metric.main and result[name] is not None:
                low, high = result["intervals_95"][name]
                interval = f"[{low:.6g}, {high:.6g}]"
                click.echo(
                    f"{name:31}{result[name]:>12.6g}  {interval:^25}  {metric.unit}, {metric.about}"
                )
    if result["vehicles_without_slot"]:
        click.echo(
            f"{result['vehicles_without_slot']:g} vehicles an episode found no slot, or are no "
            "cars: SUMO's own model drove them (--vehicles N, or more 'vehicles' in the scenario)"
        )
