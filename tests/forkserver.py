"""A process that calls the command line again and again, each time in a fork of itself.

What a fork does to itself (a crash inside SUMO, a loop without end, memory without bound) is
seen from outside; and as everything is imported before, a call takes milliseconds.

Reads lines of JSON, ``{"arguments": [...], "folder": path, "seconds": limit}``, and answers each
with ``{"code": exit code or null, "died": "" or how, "out": text, "err": text}``.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import sys
import tempfile
from importlib import import_module

MEMORY = 6 << 30  # bytes of address space: a machine's own limit would kill without a word
PRELOADED = (
    "libsumo",
    "traci",
    "matplotlib.pyplot",
    "trafficrl.training.trainer",
    "trafficrl.evaluation.compare",
    "trafficrl.evaluation.transfer_files",
    "trafficrl.rendering",
    "trafficrl.deployment.live",
    "trafficrl.sweep.runner",
    "trafficrl.plots",
    "trafficrl.reporting",
    *(
        f"trafficrl.cli.{name}"
        for name in ("train", "evaluate", "compare", "transfer", "render", "sweep")
    ),
)


def call(arguments: list[str], folder: str, seconds: float) -> dict[str, object]:
    """The command line in a fork, with ``folder`` as its working directory."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = os.fork()
        if child == 0:
            _be_the_command(arguments, folder, out.fileno(), err.fileno())
        died, code = "", None
        with open_pidfd(child) as descriptor:
            if not select.select([descriptor], [], [], seconds)[0]:
                died = f"still runs after {seconds:g} s"
                os.killpg(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if not died and os.WIFSIGNALED(status):
            died = signal.Signals(os.WTERMSIG(status)).name
        if not died:
            code = os.WEXITSTATUS(status)
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode(errors="replace"))
        return {"code": code, "died": died, "out": texts[0], "err": texts[1]}


class open_pidfd:
    """A descriptor that can be read when the process has ended."""

    def __init__(self, process: int) -> None:
        self._descriptor = os.pidfd_open(process)

    def __enter__(self) -> int:
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _be_the_command(arguments: list[str], folder: str, out: int, err: int) -> None:
    code = 70
    try:
        os.setpgid(0, 0)  # so that programs that it starts can be ended with it
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.chdir(folder)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        code = import_module("trafficrl.cli.main").main(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        import traceback

        os.write(2, traceback.format_exc().encode())
    finally:
        os._exit(code)


def serve() -> None:
    """Answer every line of standard input."""
    for name in PRELOADED:
        import_module(name)
    for line in sys.stdin:
        print(json.dumps(call(**json.loads(line))), flush=True)


if __name__ == "__main__":
    serve()
