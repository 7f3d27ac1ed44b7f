"""Options that commands which evaluate have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Command = Callable[..., Any]


seed_option = click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Evaluation seed; its episodes are never trained or validated on",
)
checkpoint_option = click.option(
    "--checkpoint", type=click.Choice(["best", "latest"]), default="best", show_default=True
)

episode_option = click.option(
    "--episode", type=click.IntRange(0), default=0, show_default=True, help="Its number"
)


def episode_options(*, episodes: int) -> Callable[[Command], Command]:
    """Adds ``--episodes``, with its default, ``--seed`` and ``--checkpoint``."""
    options = (
        click.option("--episodes", type=click.IntRange(1), default=episodes, show_default=True),
        seed_option,
        checkpoint_option,
    )

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


assign_option = click.option(
    "--assign",
    type=click.Choice(["shared", "slot", "position"]),
    help="How a run's policies are dealt to the vehicles  [default: shared, or by position]",
)
set_option = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Override a scenario key; may be repeated",
)
