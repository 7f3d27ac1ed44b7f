"""``trafficrl deploy``."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import click

from .evaluation_options import assign_option, checkpoint_option
from .numbers import FiniteRange

if TYPE_CHECKING:
    from trafficrl.evaluation.dealing import Assignment


@click.command()
@click.argument("run")
@click.option("--host", default="localhost", show_default=True)
@click.option("--port", type=click.IntRange(1, 65535), default=8813, show_default=True)
@click.option(
    "--vehicles",
    "pattern",
    default="*",
    show_default=True,
    metavar="PATTERN",
    help="Ids of the passenger cars to drive: * is anything, ? any character, [ab] one of them",
)
@click.option(
    "--steps",
    type=click.IntRange(1),
    help="Simulation steps  [default: to SUMO's end, or until it closes]",
)
@click.option(
    "--speed-mode",
    type=click.IntRange(0, 127),
    help="SUMO's checks on commanded speeds  [default: as it is, all of them]",
)
@click.option(
    "--lane-change-mode",
    type=click.IntRange(0),
    help="Who changes lanes, 0: nobody  [default: as it is, SUMO]",
)
@checkpoint_option
@assign_option
@click.option(
    "--wait",
    type=FiniteRange(0),
    default=10.0,
    show_default=True,
    metavar="S",
    help="Seconds to try to connect for",
)
@click.option("--order", type=int, help="Of several clients of that SUMO, which one this is")
def deploy(
    run: str,
    host: str,
    port: int,
    pattern: str,
    steps: int | None,
    speed_mode: int | None,
    lane_change_mode: int | None,
    checkpoint: str,
    assign: Assignment | None,
    wait: float,
    order: int | None,
) -> None:
    """Drive vehicles of a SUMO that runs already with RUN: a run directory, an exported policy,
    or a classical controller such as idm.

    Start it with `sumo -c X.sumocfg --remote-port 8813 --num-clients 1`, or sumo-gui likewise.
    Ctrl-C gives the vehicles back.
    """
    from trafficrl.deployment.live import Summary, drive, live_driver
    from trafficrl.errors import ConnectionLost
    from trafficrl.simulation.connection import SumoConnection

    driver, summary = live_driver(run, checkpoint, assign), Summary()
    sumo = SumoConnection(host, port, wait=wait, order=order, on_silence=_say_that_it_waits)
    with closing(sumo), _stop_on_signals() as stop:
        try:
            end = drive(
                driver,
                sumo,
                pattern,
                summary,
                steps=steps,
                speed_mode=speed_mode,
                lane_change_mode=lane_change_mode,
                stop=stop,
            )
        except ConnectionLost as lost:
            # Where no other end is in sight, SUMO's own is as good as any.
            if not lost.in_order or steps is not None or sumo.end_time >= 0:
                click.echo(summary)
                raise
            end = "SUMO has closed the connection"
    click.echo(f"{end}: {summary}")


def _say_that_it_waits() -> None:
    click.echo("waiting for SUMO to answer (in sumo-gui, start the simulation)", err=True)


@contextmanager
def _stop_on_signals() -> Iterator[Callable[[], bool]]:
    """Yields what says whether to stop; the first Ctrl-C or SIGTERM asks to.

    The second interrupts whatever is being done.
    """
    asked = False

    def handle(number: int, frame: object) -> None:
        nonlocal asked
        asked = True
        for one in previous:
            signal.signal(one, signal.default_int_handler)  # of SIGTERM too: vehicles go back
        click.echo("\ngiving the vehicles back after this step (once more: at once)", err=True)

    previous = {one: signal.signal(one, handle) for one in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for one, handler in previous.items():
            signal.signal(one, handler)
