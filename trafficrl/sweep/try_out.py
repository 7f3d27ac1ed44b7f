"""Whether a scenario can be trained at all, before a night of trainings that cannot."""

from __future__ import annotations

from pathlib import Path

from trafficrl.config import ScenarioConfig
from trafficrl.training.run_directory import RunDirectory
from trafficrl.training.trainer import Trainer


def try_out(config: ScenarioConfig) -> None:
    """Raise what a training would raise at its start; nothing is written."""
    Trainer(config, RunDirectory(Path("nowhere")), workers=1).close()
