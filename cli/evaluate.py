"""``trafficrl evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .evaluation_files import OutputChoice, output_options
from .evaluation_options import assign_option, episode_options, set_option
from .network_options import NetworkChoice, network_options
from .progress_line import progress_line, quiet_option

if TYPE_CHECKING:
    from trafficrl.config import ScenarioConfig
    from trafficrl.evaluation.dealing import Assignment
    from trafficrl.evaluation.learned import LearnedDriver
    from trafficrl.evaluation.trajectory import Trajectory


@click.command()
@click.argument("run")
@click.option("--scenario", metavar="S", help="Scenario to drive in  [default: the run's own]")
@network_options
@episode_options(episodes=10)
@assign_option
@set_option
@output_options
@quiet_option
def evaluate(
    run: str,
    scenario: str | None,
    network: NetworkChoice | None,
    episodes: int,
    seed: int,
    checkpoint: str,
    assign: Assignment | None,
    overrides: tuple[str, ...],
    output: OutputChoice,
    quiet: bool,
) -> None:
    """Evaluate RUN: a run directory, constant:VALUE, or a classical controller such as idm.

    VALUE is an acceleration in m/s2, or the index of a choice. Controllers take
    parameters: idm:noise=0.2, sumo:IDM:accel=1.0. All but run directories need --scenario, or
    a network to drive in.

    A run drives another scenario with its own observation, action, graph and
    control interval; --set changes what it drives in.
    """
    from trafficrl.evaluation.drivers import make_driver
    from trafficrl.evaluation.evaluate import report, run_episodes, string_gain_spectrum
    from trafficrl.evaluation.learned import LearnedDriver
    from trafficrl.simulation.sumo_warnings import Tally, describe
    from trafficrl.training.run_directory import RunDirectory

    driver, trained_on = make_driver(run, checkpoint, assign)
    config = _scenario_to_drive(run, trained_on, scenario, network, overrides)
    # A folder of runs stands for its newest one: say which.
    name = run if trained_on is None else str(RunDirectory.open(Path(run)).path)
    spectra = []
    warnings = Tally()
    with output.open(episodes) as files, progress_line(episodes, quiet=quiet) as line:
        line.doing(f"{name} on {config.name}")

        def on_episode(trajectory: Trajectory) -> None:
            spectra.append(string_gain_spectrum(trajectory))
            files.add(trajectory)
            line.done(len(spectra))

        figures = run_episodes(
            driver,
            config,
            episodes=episodes,
            seed=seed,
            places=output.trajectories is not None,
            on_episode=on_episode,
            warnings=warnings,
        )
        result = report(name, config, figures, seed=seed, overrides=overrides, warnings=warnings)
        if isinstance(driver, LearnedDriver):
            result["assign"] = driver.assign
        files.end({**result, "string_gain_per_episode": spectra})
    _print(result)
    if warnings.total:
        click.echo(describe(warnings))
    if isinstance(driver, LearnedDriver):
        _print_deal(driver, config)


def _scenario_to_drive(
    run: str,
    trained_on: ScenarioConfig | None,
    scenario: str | None,
    network: NetworkChoice | None,
    overrides: tuple[str, ...],
) -> ScenarioConfig:
    """The scenario that is named, in the network that is, or else that of the training."""
    from trafficrl.config import load_scenario
    from trafficrl.evaluation.carry import scenario_to_drive

    where = scenario or trained_on
    if network is not None:
        where = network.scenario(scenario)
    if where is None:
        raise click.UsageError(f"'{run}' needs a --scenario or a --net-file to drive in")
    if trained_on is not None:
        return scenario_to_drive(trained_on, where, overrides)
    return load_scenario(where, overrides)


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
