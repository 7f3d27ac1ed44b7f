"""``trafficrl scenarios``: which scenarios there are and what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from trafficrl.config import ScenarioConfig


@click.group(invoke_without_command=True)
@click.pass_context
def scenarios(context: click.Context) -> None:
    """List the bundled scenarios, show one, or print the schema of all."""
    if context.invoked_subcommand is not None:
        return
    from trafficrl.config import load_scenario
    from trafficrl.resources import scenario_names

    rows = [("NAME", "VEHICLES", "NETWORK", "DESCRIPTION")]
    for name in scenario_names():
        config = load_scenario(name)
        rows.append((name, _vehicles(config), config.network.summary, config.description))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


@scenarios.command()
@click.argument("scenario", metavar="NAME_OR_PATH")
@click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Override a key, such as training.total_steps=20000; may be repeated.",
)
def show(scenario: str, overrides: tuple[str, ...]) -> None:
    """Print a scenario with everything it extends, overrides and defaults resolved."""
    from trafficrl.config import dump_scenario, load_scenario

    click.echo(dump_scenario(load_scenario(scenario, overrides)), nl=False)


@scenarios.command()
def schema() -> None:
    """Print the JSON schema of a scenario, for editors and other tools."""
    import json

    from trafficrl.config import scenario_schema

    click.echo(json.dumps(scenario_schema(), indent=2))


def _vehicles(config: ScenarioConfig) -> str:
    counts: dict[str, int] = {}
    for group in config.vehicles:
        counts[group.controller] = counts.get(group.controller, 0) + group.count
    return " + ".join(f"{count} {controller}" for controller, count in counts.items())
