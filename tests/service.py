"""The fork server, as tests use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

LIMIT = 60.0  # s: what takes longer hangs


class Answer(NamedTuple):
    """What came of a command line."""

    code: int | None
    died: str  # how, where it did
    out: str
    err: str


class Service:
    """Calls command lines, each in a process of its own that is forked in milliseconds."""

    def __init__(self, folder: Path) -> None:
        self.cache = folder / "cache"
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        environment = {
            **os.environ,
            "XDG_CACHE_HOME": str(self.cache),
            "TMPDIR": str(self.temporary),
            "MPLCONFIGDIR": str(folder / "matplotlib"),
            "OMP_NUM_THREADS": "1",
        }
        for name in ("DISPLAY", "TRAFFICRL_DEBUG"):
            environment.pop(name, None)
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(Path(__file__).with_name("forkserver.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def call(self, arguments: Sequence[str], folder: Path, seconds: float = LIMIT) -> Answer:
        """The command line with ``folder`` as its working directory."""
        question = {"arguments": list(arguments), "folder": str(folder), "seconds": seconds}
        asked, answers = self._process.stdin, self._process.stdout
        assert asked is not None and answers is not None
        asked.write(json.dumps(question) + "\n")
        asked.flush()
        return Answer(**json.loads(answers.readline()))

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=30)
