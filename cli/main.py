"""The ``trafficrl`` command group and what the user sees of an error.

Only click is imported here: a subcommand's module loads when it is used, so
that ``trafficrl --help`` answers at once.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

import click

from trafficrl import __version__
from trafficrl.errors import TrafficRLError, printable

# What the user has typed to come here: ./go says so.
PROGRAM = os.environ.get("TRAFFICRL_PROGRAM", "trafficrl")


class Lazy(NamedTuple):
    """Where a subcommand lives (``module:attribute`` in this package) and its help line."""

    target: str
    help: str


COMMANDS = {
    "train": Lazy("train:train", "Train the controllers of a scenario."),
    "sweep": Lazy("sweep:sweep", "Train with many settings and seeds, and find the best."),
    "evaluate": Lazy("evaluate:evaluate", "Evaluate a trained run or a reference controller."),
    "compare": Lazy("compare:compare", "Compare runs and controllers, with intervals."),
    "transfer": Lazy("transfer:transfer", "Drive runs in scenarios that they were not trained on."),
    "render": Lazy("render:render", "Watch an episode in sumo-gui, or make a video of it."),
    "plot": Lazy("plot:plot", "Draw time-space diagrams, learning curves and other pictures."),
    "report": Lazy("report:report", "Write one page on runs, with tables, pictures and a clip."),
    "export": Lazy("export:export", "Write a trained policy to a file that stands alone."),
    "deploy": Lazy("deploy:deploy", "Drive vehicles of a SUMO that runs already."),
    "bench": Lazy("bench:bench", "Measure how fast all this is on this machine."),
    "scenarios": Lazy("scenarios:scenarios", "List, show and describe scenarios."),
    "doctor": Lazy("doctor:doctor", "Check that this machine has what trafficrl needs."),
}


class LazyGroup(click.Group):
    """A group that imports a subcommand's module only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*COMMANDS, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return super().get_command(ctx, cmd_name)
        module, attribute = COMMANDS[cmd_name].target.split(":")
        command = getattr(import_module(f".{module}", __package__), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="trafficrl")
def cli() -> None:
    """Learn vehicle controllers in SUMO, one per vehicle, from neighbours only.

    Start with `trafficrl train ring`, or `trafficrl doctor` where that fails.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    0 is success, 1 a failure that is named on one line, 2 a wrong command line,
    130 an interrupt. No traceback is shown unless TRAFFICRL_DEBUG=1, with which
    the exception leaves this function.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        if any("\0" in word for word in words):
            raise click.UsageError("an argument has a null byte in it (no name has)")
        result = cli.main(words, prog_name=PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except Exception as error:
        # Click's own exceptions are answers to the user, never defects to debug.
        if os.environ.get("TRAFFICRL_DEBUG") == "1" and not isinstance(
            error, click.ClickException | click.Abort
        ):
            raise
        return _report(error, words)
    except KeyboardInterrupt:
        return _report(click.Abort(), words)
    return result if isinstance(result, int) else 0


def _report(error: Exception, words: Sequence[str]) -> int:
    """Tell the user what went wrong, on one line, and return the exit code."""
    match error:
        case BrokenPipeError():
            _discard_stdout()
            return 1
        case click.Abort():
            click.echo(error_message(error), err=True)
            return 130
        case click.exceptions.NoArgsIsHelpError():
            error.show()
            return error.exit_code
        case OSError():
            _discard_stdout()
    click.echo(f"error: {_printable(error_message(error), words)}", err=True)
    return error.exit_code if isinstance(error, click.ClickException) else 1


def error_message(error: BaseException) -> str:
    """What went wrong, on one line."""
    match error:
        case click.Abort() | KeyboardInterrupt():
            return "interrupted"
        case click.ClickException():
            return _click_message(error)
        case TrafficRLError():
            return str(error)
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            return f"{where}{error.strerror or error}"
        case MemoryError() | RuntimeError() if "memory" in f"{error!r}".lower():
            return "there is not enough memory (smaller networks, batches or counts are needed)"
    what = f"{type(error).__name__}: {error}".splitlines()[0]
    return f"unexpected {what} (TRAFFICRL_DEBUG=1 shows the traceback)"


def _printable(message: str, words: Sequence[str]) -> str:
    """``message`` without what would break its line, or take over the terminal.

    ``words`` of the command line may be in it, with line breaks of their own.
    """
    for word in filter(lambda word: "\n" in word or "\r" in word, words):
        message = message.replace(word, repr(word)[1:-1])
    shown = printable(message, keep="\n")
    return re.sub(r"\S{500,}", lambda long: f"{long[0][:80]}...{long[0][-80:]}", shown)


def _click_message(error: click.ClickException) -> str:
    message = " ".join(error.format_message().split())
    if isinstance(error, click.UsageError) and error.ctx is not None:
        message = f"{message.rstrip('.')} (see `{error.ctx.command_path} --help`)"
    return message


def _discard_stdout() -> None:
    """Point stdout at nothing if it cannot be written: Python flushes it again at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
