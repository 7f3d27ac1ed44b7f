"""The vTypes of vehicles, which SUMO takes from a file alone."""

from __future__ import annotations

import tempfile
from pathlib import Path

from trafficrl.config.scenario import SimulationConfig
from trafficrl.errors import SimulationError
from trafficrl.simulation import xmlfiles
from trafficrl.types import VEHICLE_TYPE, VehicleType

PASSENGER_CAR: VehicleType = {
    "vClass": "passenger",
    "emissionClass": "HBEFA4/PC_petrol_Euro-4",  # SUMO's default
    "carFollowModel": "Krauss",  # whose safe speed checks commands
    "decel": 4.5,
}


class SumoTypes:
    """The vTypes that a simulation may need, and the file that it loads them from.

    They say everything themselves: a route file may have changed SUMO's default type.
    """

    def __init__(self, config: SimulationConfig, vehicle_length: float) -> None:
        self._scenario: VehicleType = {
            "length": vehicle_length,
            "minGap": config.min_gap_m,
            "tau": config.time_headway_s,
            "maxSpeed": config.max_speed_mps,
            "sigma": 0.0,
            "speedFactor": 1.0,
            "speedDev": 0.0,
        }
        self._commanded: VehicleType = {
            **PASSENGER_CAR,
            **self._scenario,
            "accel": config.acceleration_mps2,
            # Commands are bounded by us; initial speeds may lie above that bound.
            "maxSpeed": 2.0 * config.max_speed_mps,
        }
        self._types: list[VehicleType] = []  # of SUMO's own models
        self._written = 0
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __len__(self) -> int:
        return len(self._types)

    def add(self, vehicle_type: VehicleType) -> None:
        """Write it too, from the next time on."""
        if vehicle_type not in self._types:
            self._types.append(vehicle_type)

    def name(self, vehicle_type: VehicleType) -> str:
        """Its id in SUMO; ``SimulationError`` where SUMO has not loaded it."""
        if vehicle_type not in self._types[: self._written]:
            model = vehicle_type["carFollowModel"]
            raise SimulationError(
                f"SUMO has not loaded the vType of its model {model} (admit it before the reset)"
            )
        return f"{VEHICLE_TYPE}-{self._types.index(vehicle_type)}"

    def write(self) -> Path:
        """The file with all of them, which ``close`` removes."""
        self._written = len(self._types)
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="trafficrl-")
        root = xmlfiles.Element("additional")
        xmlfiles.add(root, "vType", {"id": VEHICLE_TYPE, **self._commanded})
        for vehicle_type in self._types:
            attributes = {"id": self.name(vehicle_type), **self._scenario, **vehicle_type}
            xmlfiles.add(root, "vType", attributes)
        path = Path(self._folder.name) / "types.add.xml"
        path.write_text(xmlfiles.text(root))
        return path

    def close(self) -> None:
        """Remove the file."""
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None
