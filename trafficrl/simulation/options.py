"""The options that every SUMO here is started with."""

from __future__ import annotations

from pathlib import Path

from trafficrl.config.scenario import SimulationConfig
from trafficrl.simulation.course import BuiltNetwork


def sumo_options(
    config: SimulationConfig, network: BuiltNetwork, seed: int, *, types: Path, warnings: Path
) -> list[str]:
    """Command-line options, without the program's name.

    ``types`` is a file with vTypes; SUMO writes its warnings to ``warnings``.
    """
    options = {
        "net-file": str(network.net_file.resolve()),
        "step-length": repr(config.step_s),
        "seed": str(seed),
        "time-to-teleport": "-1",
        "collision.action": "warn",
        "collision.check-junctions": "true",
        # Contact; by default SUMO calls it a collision below minGap already.
        "collision.mingap-factor": "0",
        "step-method.ballistic": str(config.step_method == "ballistic").lower(),
        # Vehicles that are placed stand where they should; those of flows have to find a gap.
        "insertion-checks": "all" if network.route_files else "none",
        "no-step-log": "true",
        "no-warnings": "true",  # on stderr
        "error-log": str(warnings.resolve()),
        "duration-log.disable": "true",
    }
    additional = [file for file in (network.additional_file, types) if file is not None]
    options["additional-files"] = ",".join(str(file.resolve()) for file in additional)
    if network.route_files:
        options["route-files"] = ",".join(str(file.resolve()) for file in network.route_files)
    return [word for key, value in options.items() for word in (f"--{key}", value)]
