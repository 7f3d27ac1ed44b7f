"""Whether a scenario can be trained at all, before a night of trainings that cannot."""

from __future__ import annotations

import tempfile
from pathlib import Path

from trafficrl.config import ScenarioConfig
from trafficrl.training.run_directory import RunDirectory
from trafficrl.training.trainer import Trainer


def try_out(config: ScenarioConfig) -> None:
    """Raise what a training would raise at its start; nothing stays."""
    with tempfile.TemporaryDirectory(prefix="trafficrl-sweep-") as folder:
        Trainer(config, RunDirectory(Path(folder)), workers=1).close()
