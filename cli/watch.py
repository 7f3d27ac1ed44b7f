"""A training that fills the terminal, live: ``trafficrl train --watch``."""

from __future__ import annotations

import os
import re
import sys
import time
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click
from rich.console import Console, ConsoleOptions, OverflowMethod, RenderResult
from rich.live import Live
from rich.text import Text

from .displays import Display, End, Start

if TYPE_CHECKING:
    from trafficrl.training.progress import Phase, Progress

DOING = {"collect": "collecting", "update": "updating", "validate": "validating"}
SHARES = {"collect_s": "collect", "update_s": "update", "validate_and_save_s": "validate, save"}
# Rows of the table: a figure of an episode, its unit, and how it is shown.
FIGURES = {
    "return": ("return", "{:,.6g}"),
    "mean_speed_mps": ("mean speed, m/s", "{:.2f}"),
    "speed_std_mps": ("speed spread, m/s", "{:.2f}"),
    "collisions": ("collisions", "{:.3g}"),
    "override_fraction": ("overridden by SUMO", "{:.1%}"),
}
MODEL_ERROR = re.compile(r"model_(\w+)_error_(\d+)$")  # of what, how many intervals ahead
LABEL, COLUMN = 19, 13  # characters
TALLEST = 8  # lines of a curve
LEAST_SPAN = 0.02  # of a curve, over its largest value
BLOCKS, ASCII_BLOCKS = " ▁▂▃▄▅▆▇█", "  ...::##"


class Watch(Display):
    """Draws itself anew a few times a second, as large as the terminal is then.

    It does so in a thread of rich's, at any line of the methods here: lists and dicts that
    are drawn are replaced and never changed.
    """

    def __init__(self) -> None:
        if not sys.stdout.isatty():
            raise click.UsageError(
                "--watch: needs a terminal, and stdout is none (--verbose and --log-json suit "
                "files and pipes)"
            )
        if os.environ.get("TERM", "dumb") in ("dumb", "unknown"):
            raise click.UsageError("--watch: needs a terminal whose cursor can be moved (see TERM)")
        self._console = Console()
        self._live = Live(self, console=self._console, screen=True, refresh_per_second=3)
        self._ascii = self._console.options.ascii_only
        self._overflow: OverflowMethod = "crop" if self._ascii else "ellipsis"
        self._message = ""
        self._doing, self._since = "starting", time.monotonic()
        self._progress: Progress | None = None
        self._updated_at = time.monotonic()
        self._episodes: dict[str, float] = {}  # means over those that ended last
        self._model: dict[str, float] = {}
        self._seconds = dict.fromkeys(SHARES, 0.0)
        self._warning = ""
        self._losses: list[str] = []  # of workers
        self._validations: list[tuple[int, dict[str, float]]] = []  # steps and figures

    def __exit__(self, *error: object) -> None:
        self._live.stop()

    def started(self, start: Start) -> None:
        self._start = start
        self._validations = [*self._validations, *start.validations()]
        self._live.start(refresh=True)

    def phase(self, phase: Phase) -> None:
        self._doing, self._since = DOING[phase], time.monotonic()

    def updated(self, progress: Progress) -> None:
        self._progress, self._updated_at = progress, time.monotonic()
        if progress.episodes:
            rows = [episode.row() for episode in progress.episodes]
            self._episodes = {key: sum(row[key] for row in rows) / len(rows) for key in FIGURES}
        self._model = self._model | {
            key: value for key, value in progress.metrics.items() if MODEL_ERROR.match(key)
        }
        self._seconds = {key: self._seconds[key] + progress.seconds[key] for key in SHARES}
        for row in progress.warnings:
            self._warning = row.get("text", self._warning)
        self._losses = [*self._losses, *progress.workers_lost]
        if progress.validation is not None:
            validated = (progress.sim_steps, progress.validation)
            self._validations = [*self._validations, validated]

    def stopping(self) -> None:
        self._message = "stopping after this update (once more: at once)"

    def finished(self, end: End) -> None:
        self._live.stop()
        self._doing, self._message = "done", ""
        width, height = self._console.size
        for line in self.lines(width, min(height, 24)):
            self._console.print(line, no_wrap=True, overflow=self._overflow)
        for text in end.lines():
            click.echo(text)

    # Drawing ---------------------------------------------------------------

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, height = console.size
        for line in self.lines(width, height):
            line.no_wrap = True
            line.truncate(width, overflow=self._overflow)
            yield line

    def lines(self, width: int, height: int) -> list[Text]:
        """What is shown, at most ``height`` lines: what matters most comes first."""
        shown = [*self._head(width), *self._table(width)]
        if self._message:
            shown.insert(0, Text(self._message, style="bold yellow"))
        room = height - len(shown)
        curves = [("return", "cyan"), ("mean_speed_mps", "green")][: room // 3]
        for key, style in curves if self._validations else ():
            tall = min(TALLEST, room // len(curves) - (2 if room > 12 else 1))
            if room > 12:
                shown.append(Text(""))
            shown += self._curve(key, style, width, tall)
        return shown[:height]

    def _head(self, width: int) -> Iterator[Text]:
        start, progress = self._start, self._progress
        training = start.config.training
        seconds = time.monotonic() - self._since
        head = Text(f"{start.config.name}  {training.algorithm}  seed {training.seed}", "bold")
        doing = self._doing if self._doing == "done" else f"{self._doing}, {seconds:.0f} s"
        head.append(" " * max(2, width - len(head) - len(doing)))
        head.append(doing, "magenta")
        yield head
        yield Text(f"{start.config.n_agents} learning vehicles, {start.path}")
        done = start.resumed_at if progress is None else progress.sim_steps
        total = training.total_steps
        full = min(width, width * done // total)
        mark, rest = "#-" if self._ascii else "█░"
        yield Text.assemble((mark * full, "cyan"), (rest * (width - full), "dim"))
        told = f"{done:,} of {total:,} steps ({done / total:.0%})"
        if progress is not None:
            left = (total - done) / max(progress.steps_per_second, 1e-9)
            if self._doing != "done":
                left -= time.monotonic() - self._updated_at
                told += f"   {duration(max(0.0, left))} left"
            told += f"   {progress.steps_per_second:,.0f} steps/s"
        yield Text(told)
        yield Text("")

    def _table(self, width: int) -> Iterator[Text]:
        column = min(COLUMN, (width - LABEL) // 2)
        steps, last = self._validations[-1] if self._validations else (None, {})
        at = "" if steps is None else f"   at {steps:,} steps"
        yield Text(f"{'':{LABEL}}{'training':>{column}}{'validation':>{column}}{at}", "bold")
        for key, (label, form) in FIGURES.items():
            cells = (form.format(row[key]) if key in row else "-" for row in (self._episodes, last))
            yield Text(f"{label:{LABEL}}" + "".join(f"{cell:>{column}}" for cell in cells))
        progress = self._progress
        reward = "-" if progress is None else f"{progress.metrics['return_per_step']:.4g}"
        yield Text(f"{'return a step':{LABEL}}{reward:>{column}}")
        if self._model:
            yield Text(f"{'model error':{LABEL}} {model_errors(self._model)}")
        seconds = self._seconds
        if spent := sum(seconds.values()):
            shares = (f"{name} {seconds[key] / spent:.0%}" for key, name in SHARES.items())
            yield Text(f"{'time':{LABEL}} {'   '.join(shares)}")
        if progress is not None:
            about = f"  {self._warning}" if self._warning else ""
            yield Text(f"{'warnings of SUMO':{LABEL}} {progress.n_warnings:,}{about}")
        if losses := self._losses:
            yield Text(f"{'lost workers':{LABEL}} {len(losses)}  {losses[-1]}")

    def _curve(self, key: str, style: str, width: int, height: int) -> Iterator[Text]:
        steps, values = zip(
            *((steps, figures[key]) for steps, figures in self._validations), strict=True
        )
        label, form = FIGURES[key]
        low, high, last = (form.format(one) for one in (min(values), max(values), values[-1]))
        yield Text(f"{label} of validation: {last} now, {low} to {high}", "bold")
        total = self._start.config.training.total_steps
        along = over_steps(steps, values, total, width)
        for line in bars(along, height, ASCII_BLOCKS if self._ascii else BLOCKS):
            yield Text(line, style)


def duration(seconds: float) -> str:
    """Hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


def model_errors(metrics: dict[str, float]) -> str:
    """Errors of the nearest and the farthest prediction that is logged, in control intervals."""
    ahead: dict[int, dict[str, str]] = {}
    for key, value in metrics.items():
        if found := MODEL_ERROR.match(key):
            ahead.setdefault(int(found[2]), {})[found[1]] = f"{value:.1%}"
    near, far = min(ahead), max(ahead)
    told = f"{near} ahead: " + ", ".join(f"{what} {error}" for what, error in ahead[near].items())
    return told if far == near else f"{told}; {far} ahead: {', '.join(ahead[far].values())}"


def over_steps(
    steps: Sequence[int], values: Sequence[float], total: int, width: int
) -> list[float | None]:
    """One value for each column of a curve that spans ``total`` steps: the last until there.

    None before the first value and after the last.
    """
    ends = [total * (column + 1) / width for column in range(width)]
    return [
        values[after - 1]
        if (after := bisect_right(steps, end)) and end - total / width < steps[-1]
        else None
        for end in ends
    ]


def bars(values: Sequence[float | None], height: int, blocks: str = BLOCKS) -> list[str]:
    """Columns from the lowest value (an eighth of a line) to the highest (all lines)."""
    known = [value for value in values if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    # What hardly changes stays near the middle.
    span = max(high - low, LEAST_SPAN * max(abs(low), abs(high))) or 1.0
    base, most = (low + high - span) / 2, 8 * height
    eighths = [
        0 if value is None else 1 + round((most - 1) * (value - base) / span) for value in values
    ]
    return [
        "".join(blocks[min(8, max(0, eighth - 8 * line))] for eighth in eighths)
        for line in reversed(range(height))
    ]
