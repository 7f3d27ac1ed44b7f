"""A screen for sumo-gui where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from trafficrl.errors import SimulationError

ROOM = 100  # pixels more than the window needs
INSTALL = "apt-get install -y --no-install-recommends xvfb fontconfig-config"


@contextmanager
def display(size: tuple[int, int]) -> Iterator[None]:
    """An invisible X display of at least ``size`` pixels, as DISPLAY, by Xvfb.

    Where there is no Xvfb the present display will do; ``SimulationError`` without either.
    """
    xvfb = shutil.which("Xvfb")
    if xvfb is None:
        if not os.environ.get("DISPLAY"):
            raise SimulationError(
                f"Xvfb: not installed, and there is no display to draw on ({INSTALL})"
            )
        yield
        return
    screen = "x".join(str(length + ROOM) for length in size) + "x24"
    said, told = os.pipe()  # through which Xvfb says which number it has taken
    command = [xvfb, "-displayfd", str(told), "-screen", "0", screen, "-nolisten", "tcp"]
    server = subprocess.Popen(
        command, pass_fds=[told], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    os.close(told)
    with os.fdopen(said) as stream:
        number = stream.readline().strip()
    before = os.environ.get("DISPLAY")
    try:
        if not number:
            raise SimulationError(f"{xvfb}: ended with status {server.wait()} ({INSTALL})")
        os.environ["DISPLAY"] = f":{number}"
        yield
    finally:
        os.environ.pop("DISPLAY", None)
        if before is not None:
            os.environ["DISPLAY"] = before
        server.terminate()
        server.wait()
