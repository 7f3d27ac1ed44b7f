"""The window of sumo-gui: what is drawn in it, from where, and its pictures."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from trafficrl.simulation import xmlfiles
from trafficrl.types import FloatArray

Colour = tuple[int, int, int]

SCHEME = "trafficrl"
COLOUR_BY_PARAMETER = "34"  # sumo-gui's number for vehicles coloured by a parameter of theirs
ROAD: Colour = (205, 205, 205)
LINK: Colour = (230, 159, 0)  # Okabe and Ito's orange
LINK_WIDTH = 0.4  # m
LINK_LAYER = 50.0  # over roads, under vehicles
MISSING: Colour = (120, 120, 120)
MISSING_VALUE = sys.float_info.max  # what SUMO takes a parameter for that is not set
DRAWN_FROM = 3.0  # pixels a metre; from further away vehicles are drawn larger than they are
BESIDE_NETWORK = 4.0  # m
LEGEND_SHARE = 0.18  # of the width, at the left, is taken by the legend
# What a window of sumo-gui has around its view, pixels, without a window manager.
FRAME = (10, 186)


@dataclass(frozen=True)
class Legend:
    """What the colours of vehicles mean: ``stops`` are values and their colours, rising."""

    caption: str
    stops: tuple[tuple[float, Colour], ...]


class View:
    """What sumo-gui shows of a simulation; ``SumoSimulation.show`` opens it.

    ``size`` is that of its pictures in pixels, at least 1280 wide: in a narrower window the
    tool bars take more room. Nothing here has a part in the simulation.
    """

    def __init__(self, legend: Legend, *, size: tuple[int, int] = (1280, 720)) -> None:
        self.legend = legend
        self.size = size
        self._api: Any = None
        self._name = ""
        self._links = 0
        self._followed = ""
        self._folder = tempfile.TemporaryDirectory(prefix="trafficrl-view-")

    def options(self) -> list[str]:
        """Command-line options of sumo-gui."""
        settings = Path(self._folder.name) / "view.xml"
        settings.write_text(view_settings(self.legend))
        window = [size + frame for size, frame in zip(self.size, FRAME, strict=True)]
        return [
            *("--gui-settings-file", str(settings)),
            *("--window-size", ",".join(map(str, window))),
            *("--start", "true", "--quit-on-end", "true", "--delay", "0"),
        ]

    def open(self, api: Any) -> None:
        """sumo-gui has loaded a network; ``api`` is the connection to it."""
        self._api, self._links, self._followed = api, 0, ""
        self._name = api.gui.getIDList()[0]
        api.gui.setSchema(self._name, SCHEME)
        self.look_at(np.array(api.simulation.getNetBoundary()), BESIDE_NETWORK)

    def colour(self, vehicles: Sequence[str], values: FloatArray) -> None:
        """Colour vehicles by their values (V,); NaN is grey."""
        known = np.where(np.isnan(values), MISSING_VALUE, values)
        for vehicle, value in zip(vehicles, known.tolist(), strict=True):
            self._api.vehicle.setParameter(vehicle, self.legend.caption, repr(value))

    def link(self, ends: FloatArray) -> None:
        """Draw lines between points (E, 2, 2) in m instead of those drawn before."""
        polygon = self._api.polygon
        for index, line in enumerate(ends.tolist()):
            if index < self._links:
                polygon.setShape(f"link-{index}", line)
            else:
                polygon.add(
                    f"link-{index}",
                    line,
                    (*LINK, 255),
                    fill=False,
                    layer=LINK_LAYER,
                    lineWidth=LINK_WIDTH,
                )
        for index in range(len(ends), self._links):
            polygon.remove(f"link-{index}")
        self._links = len(ends)

    def follow(self, vehicle: str, place: FloatArray, margin: float) -> None:
        """Keep the camera on a vehicle that is at ``place`` (2,), ``margin`` metres around it."""
        if vehicle != self._followed:
            self.look_at(place[None], margin)
            self._api.gui.trackVehicle(self._name, vehicle)
            self._followed = vehicle

    def look_at(self, points: FloatArray, margin: float) -> None:
        """Show all of these points (V, 2) in m and ``margin`` metres around them."""
        low, high = points.min(axis=0) - margin, points.max(axis=0) + margin
        low[0] -= (high[0] - low[0]) * LEGEND_SHARE / (1.0 - LEGEND_SHARE)
        self._api.gui.setBoundary(self._name, *low.tolist(), *high.tolist())

    def picture(self, file: Path) -> None:
        """Have a PNG of what is shown after the next simulation step, when it is there."""
        # At the view's own size: SUMO distorts others.
        self._api.gui.screenshot(self._name, str(file), -1, -1)

    def close(self) -> None:
        """Remove the files that it needed."""
        self._api = None
        self._folder.cleanup()


def view_settings(legend: Legend) -> str:
    """SUMO's file of GUI settings: roads in grey, vehicles by the parameter of the legend."""
    root = xmlfiles.Element("viewsettings")
    scheme = xmlfiles.add(root, "scheme", {"name": SCHEME})
    xmlfiles.add(scheme, "background", {"backgroundColor": "white", "showGrid": "0"})
    edges = xmlfiles.add(scheme, "edges", {"laneEdgeMode": "0", "showLinkDecals": "0"})
    _colours(edges, "uniform", [("road", "", ROAD)])
    vehicles = xmlfiles.add(
        scheme,
        "vehicles",
        {
            "vehicleMode": COLOUR_BY_PARAMETER,
            "vehicleParam": legend.caption,
            "vehicleQuality": "2",  # cars, not triangles
            "vehicle_minSize": DRAWN_FROM,
            "vehicle_constantSize": "1",
            "vehicle_exaggeration": "1",
            "showBlinker": "0",
        },
    )
    stops = [("", xmlfiles.number(value), colour) for value, colour in legend.stops]
    missing = ("missing data", "", MISSING)  # without a threshold: for the missing value
    _colours(vehicles, "by param (numerical)", [*stops, missing])
    junctions = xmlfiles.add(scheme, "junctions", {"junctionMode": "0", "drawShape": "1"})
    _colours(junctions, "uniform", [("", "", ROAD)])
    # The rerouters that keep vehicles on a loop are drawn as signs, which nobody misses.
    xmlfiles.add(scheme, "additionals", {"add_exaggeration": "0", "add_minSize": "1000"})
    xmlfiles.add(scheme, "polys", {})
    xmlfiles.add(scheme, "legend", {"showSizeLegend": "1", "showVehicleColorLegend": "1"})
    return xmlfiles.text(root)


def _colours(
    parent: xmlfiles.Element, scheme: str, entries: Sequence[tuple[str, str, Colour]]
) -> None:
    """Names, thresholds and colours of one of sumo-gui's colour schemes."""
    element = xmlfiles.add(parent, "colorScheme", {"name": scheme, "interpolated": "1"})
    for name, threshold, colour in entries:
        attributes: dict[str, str | float] = {"color": ",".join(map(str, colour))}
        attributes |= {"name": name} if name else {}
        attributes |= {"threshold": threshold} if threshold else {}
        xmlfiles.add(element, "entry", attributes)
