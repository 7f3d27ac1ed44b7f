"""The kinds of networks, each a model of its section in the scenario.

Vehicles on a ``CourseNetwork`` drive in line along one course; on a
``StreetNetwork`` they find their way through any network that SUMO can load.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, model_validator

from trafficrl.config.base import PositiveInterval, Section

Junctions = Literal["priority", "right_before_left", "traffic_light"]


class Network(Section):
    """What every kind says of itself."""

    kind: str

    @property
    def title(self) -> str:
        """What it is, with its article."""
        return f"a {self.kind}".replace("_", " ")

    @property
    def summary(self) -> str:
        """The kind and its size, in a few words."""
        raise NotImplementedError

    @property
    def start_kind(self) -> str:
        """The kind of start that goes with it."""
        raise NotImplementedError

    @property
    def fixed_order(self) -> bool:
        """Whether who follows whom stays as it is at the start."""
        return False


class CourseNetwork(Network):
    """One course: all of it is drawn here, in as many copies as there are replicas."""

    lanes: int = Field(1, ge=1, le=8, description="lanes side by side")
    speed_limit_mps: float = Field(30.0, gt=0, description="speed limit, m/s")

    @property
    def fixed_order(self) -> bool:
        return self.lanes == 1


class ClosedNetwork(CourseNetwork):
    """A course that ends where it begins."""

    @property
    def start_kind(self) -> str:
        return "uniform"

    @property
    def shortest_lap(self) -> float:
        """Length of the lane, m, and the least of them where it is drawn."""
        raise NotImplementedError


class RingNetwork(ClosedNetwork):
    """A closed single road; the length is that of the lane, to the millimetre."""

    kind: Literal["ring"]
    length_m: float = Field(260.0, ge=20, description="length of one lap, m")
    length_range_m: PositiveInterval | None = Field(
        None, description="draw the length of each episode from this interval, m (whole metres)"
    )

    @property
    def summary(self) -> str:
        lanes = "" if self.lanes == 1 else f", {self.lanes} lanes"
        if self.length_range_m is None:
            return f"ring, {self.length_m:g} m{lanes}"
        low, high = self.length_range_m
        return f"ring, {low:g} to {high:g} m{lanes}"

    @property
    def shortest_lap(self) -> float:
        return self.length_m if self.length_range_m is None else self.length_range_m[0]


class FigureEightNetwork(ClosedNetwork):
    """Two three-quarter circles joined by a crossing with right of way."""

    kind: Literal["figure_eight"]
    lanes: Literal[1] = Field(1, description="one: the lanes of a crossing differ in length")
    radius_m: float = Field(30.0, ge=10, description="radius of both circles, m")

    @property
    def summary(self) -> str:
        return f"figure eight, radius {self.radius_m:g} m"

    @property
    def shortest_lap(self) -> float:
        # Two three-quarter circles and the four arms of the crossing.
        return self.radius_m * (3 * math.pi + 4)


class RoadNetwork(CourseNetwork):
    """A straight open road."""

    kind: Literal["road"]
    length_m: float = Field(3000.0, gt=50, description="length, m")

    @property
    def summary(self) -> str:
        return f"road, {self.length_m:g} m"

    @property
    def start_kind(self) -> str:
        return "platoon"


class StreetNetwork(Network):
    """Any network: one copy, in a file of SUMO's that exists or is made and cached.

    Paths are relative to the scenario file that names them, or to the working
    directory where no file does; a plain name stands for a file that comes with
    the package.
    """

    route_files: list[str] = Field(
        default_factory=list,
        description="SUMO route files with the vehicles, trips and flows that come and go, or "
        "names such as 'merge' of bundled ones; none: vehicles circulate for ever",
    )

    @property
    def source(self) -> str:
        """What a message should name: the file, or what it is."""
        return self.summary

    @property
    def title(self) -> str:
        return f"streets {'with' if self.route_files else 'without'} route_files"

    @property
    def start_kind(self) -> str:
        return "routes" if self.route_files else "spread"


class FileNetwork(StreetNetwork):
    """A network file of SUMO's."""

    kind: Literal["file"]
    net_file: str = Field(
        description="SUMO network (.net.xml, .net.xml.gz), or the name of a bundled one: 'merge'"
    )

    @property
    def source(self) -> str:
        return self.net_file

    @property
    def summary(self) -> str:
        return f"file {self.net_file}"


class OsmNetwork(StreetNetwork):
    """A map of OpenStreetMap, converted for passenger cars."""

    kind: Literal["osm"]
    osm_file: str = Field(description="OpenStreetMap file (.osm, .osm.xml, .osm.gz)")

    @property
    def source(self) -> str:
        return self.osm_file

    @property
    def summary(self) -> str:
        return f"OpenStreetMap {self.osm_file}"


class OpenDriveNetwork(StreetNetwork):
    """A road network in the OpenDRIVE format, converted for passenger cars."""

    kind: Literal["opendrive"]
    xodr_file: str = Field(description="OpenDRIVE file (.xodr)")

    @property
    def source(self) -> str:
        return self.xodr_file

    @property
    def summary(self) -> str:
        return f"OpenDRIVE {self.xodr_file}"


class GeneratedNetwork(StreetNetwork):
    """What netgenerate makes of a few parameters; every street goes both ways."""

    lanes: int = Field(1, ge=1, le=8, description="lanes of each direction")
    speed_limit_mps: float = Field(13.89, gt=0, description="speed limit, m/s")
    junctions: Junctions = Field("priority", description="who goes first at a junction")


class GridNetwork(GeneratedNetwork):
    """Streets at right angles."""

    kind: Literal["grid"]
    columns: int = Field(4, ge=2, le=100, description="junctions from west to east")
    rows: int = Field(4, ge=2, le=100, description="junctions from south to north")
    block_m: float = Field(120.0, ge=20, description="from junction to junction, m")

    @property
    def summary(self) -> str:
        return f"grid, {self.columns} by {self.rows} junctions"


class SpiderNetwork(GeneratedNetwork):
    """Streets outwards, and circles across them; the innermost circle is the first junctions'.

    Streets do not meet in the middle: netgenerate gives a junction there no right of way.
    """

    kind: Literal["spider"]
    arms: int = Field(6, ge=3, le=100, description="streets outwards")
    circles: int = Field(3, ge=1, le=100, description="circles around the middle")
    spacing_m: float = Field(80.0, ge=20, description="from circle to circle, m")

    @property
    def summary(self) -> str:
        return f"spider, {self.arms} arms and {self.circles} circles"


class RandomNetwork(GeneratedNetwork):
    """Streets drawn at random from a seed."""

    kind: Literal["random"]
    iterations: int = Field(40, ge=1, le=10_000, description="how many streets are tried")
    min_length_m: float = Field(100.0, ge=20, description="shortest street, m")
    max_length_m: float = Field(250.0, ge=20, description="longest street, m")
    seed: int = Field(0, ge=0, lt=2**31, description="draws the network")

    @model_validator(mode="after")
    def _shortest_first(self) -> RandomNetwork:
        if self.min_length_m > self.max_length_m:
            raise ValueError("min_length_m should be at most max_length_m")
        return self

    @property
    def summary(self) -> str:
        return f"random streets, seed {self.seed}"


NetworkConfig = Annotated[
    RingNetwork
    | FigureEightNetwork
    | RoadNetwork
    | FileNetwork
    | GridNetwork
    | SpiderNetwork
    | RandomNetwork
    | OsmNetwork
    | OpenDriveNetwork,
    Field(discriminator="kind"),
]
