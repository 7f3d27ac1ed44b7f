"""The courses of the tasks as SUMO files that open as they are in sumo-gui.

``sumo_configs/<name>/`` holds what ``write_sumo_files`` makes; write it anew with
``python -m trafficrl.simulation.sumo_files sumo_configs``. The vehicles are
SUMO's own Krauss drivers: nothing here learns. (The folders with a ``.netccfg``
are networks of streets, made by ``netconvert -c``.)
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from trafficrl.config.networks import (
    CourseNetwork,
    FigureEightNetwork,
    RingNetwork,
    RoadNetwork,
)
from trafficrl.errors import ScenarioError, SimulationError
from trafficrl.simulation import xmlfiles
from trafficrl.simulation.networks import BuiltNetwork, Course, build_network
from trafficrl.types import VEHICLE_LENGTH

_Attributes = dict[str, str | float]

_DRIVER: _Attributes = {
    "carFollowModel": "Krauss",
    "length": VEHICLE_LENGTH,
    "minGap": 2,
    "tau": 1,
    "sigma": 0,
    "speedFactor": 1,
    "speedDev": 0,
}
_FOLLOWERS, _HEADWAY, _TAIL = 8, 20.0, 50.0  # headway and the last vehicle's position in m


@dataclass(frozen=True)
class _Demo:
    """What differs between them; ``speed`` is that of insertion, in m/s."""

    network: CourseNetwork
    duration: float  # s, the horizon of the task
    view: _Attributes  # of sumo-gui: centre in m, zoom in % of the whole network
    vehicles: int
    speed: float = 0.0
    first_headway: float = _HEADWAY  # m, of the first follower
    lead_max_speed: float = 30.0  # m/s
    slows_down: bool = False  # the speed limit falls from 30 to 15 m/s in 30 s


_RING = RingNetwork.model_validate({"kind": "ring"})
_TWO_LANES = RingNetwork.model_validate({"kind": "ring", "length_m": 600.0, "lanes": 2})
_FIGURE_EIGHT = FigureEightNetwork.model_validate({"kind": "figure_eight"})
_ROAD = RoadNetwork.model_validate({"kind": "road"})
_PLATOON_VIEW: _Attributes = {"x": 750, "y": 0, "zoom": 190}
_DEMOS = {
    "ring": _Demo(_RING, 300, {"x": 0, "y": 0, "zoom": 95}, 22),
    "ring_2lanes": _Demo(_TWO_LANES, 300, {"x": 0, "y": 0, "zoom": 95}, 40),
    "figure_eight": _Demo(_FIGURE_EIGHT, 150, {"x": 0, "y": 0, "zoom": 95}, 14),
    "catchup": _Demo(_ROAD, 60, _PLATOON_VIEW, _FOLLOWERS + 1, 15.0, 40.0, 15.0),
    "slowdown": _Demo(_ROAD, 60, _PLATOON_VIEW, _FOLLOWERS + 1, 30.0, slows_down=True),
}
NAMES = tuple(_DEMOS)


def write_sumo_files(name: str, directory: Path) -> list[Path]:
    """Write ``<name>.sumocfg`` and the files that it names into ``directory``; return their paths.

    ``name`` is one of ``NAMES``. Raises ``ScenarioError`` for another name and
    ``SimulationError`` where netconvert fails or the directory is not writable.
    """
    if name not in _DEMOS:
        raise ScenarioError(f"{name}: no such network (there are {', '.join(NAMES)})")
    demo = _DEMOS[name]
    with tempfile.TemporaryDirectory() as scratch:
        network = build_network(demo.network, directory=Path(scratch))
        contents = {
            ".net.xml": network.net_file.read_text(),
            ".rou.xml": _routes(demo, network.courses[0]),
            ".view.xml": _view(demo),
        }
        additional = _additional(demo, network)
    if additional is not None:
        contents[".add.xml"] = additional
    contents[".sumocfg"] = _configuration(name, demo, additional is not None)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for suffix, content in contents.items():
            (directory / f"{name}{suffix}").write_text(content)
    except OSError as error:
        raise SimulationError(
            f"{directory}: cannot be written: {error.strerror} (give a writable directory)"
        ) from error
    return [directory / f"{name}{suffix}" for suffix in contents]


def _routes(demo: _Demo, course: Course) -> str:
    root = xmlfiles.Element("routes")
    xmlfiles.add(root, "vType", {"id": "car", **_DRIVER, "maxSpeed": 30})
    if course.closed:
        _add_circle(root, demo, course)
    else:
        _add_platoon(root, demo, course)
    return xmlfiles.text(root)


def _add_circle(root: xmlfiles.Element, demo: _Demo, course: Course) -> None:
    for edge in course.edges:
        route = " ".join(course.route_from(edge))
        xmlfiles.add(root, "route", {"id": f"from_{edge}", "edges": route})
    for index in range(demo.vehicles):
        edge, position = course.locate((index + 0.5) / demo.vehicles * course.length)
        vehicle = _add_vehicle(
            root, f"vehicle_{index}", "car", f"from_{edge}", position, demo.speed
        )
        if demo.network.lanes > 1:
            vehicle.set("departLane", str(index % demo.network.lanes))


def _add_platoon(root: xmlfiles.Element, demo: _Demo, course: Course) -> None:
    lead = {"id": "lead", **_DRIVER, "maxSpeed": demo.lead_max_speed, "color": "red"}
    xmlfiles.add(root, "vType", lead)
    xmlfiles.add(root, "route", {"id": "road", "edges": " ".join(course.edges)})
    spacing = _HEADWAY + VEHICLE_LENGTH
    front = _TAIL + (_FOLLOWERS - 1) * spacing
    position = front + demo.first_headway + VEHICLE_LENGTH
    _add_vehicle(root, "lead", "lead", "road", position, demo.speed)
    for index in range(_FOLLOWERS):
        name = f"follower_{index + 1}"
        _add_vehicle(root, name, "car", "road", front - index * spacing, demo.speed)


def _add_vehicle(
    root: xmlfiles.Element, name: str, kind: str, route: str, position: float, speed: float
) -> xmlfiles.Element:
    who: _Attributes = {"id": name, "type": kind, "route": route, "depart": 0}
    where: _Attributes = {"departPos": position, "departSpeed": speed, "insertionChecks": "none"}
    return xmlfiles.add(root, "vehicle", {**who, **where})


def _additional(demo: _Demo, network: BuiltNetwork) -> str | None:
    if network.additional_file is not None:
        return network.additional_file.read_text()
    if not demo.slows_down:
        return None
    root = xmlfiles.Element("additional")
    lanes = " ".join(f"{edge}_0" for edge in network.courses[0].edges)
    sign = xmlfiles.add(root, "variableSpeedSign", {"id": "slow_down", "lanes": lanes})
    for second in range(31):
        xmlfiles.add(sign, "step", {"time": second, "speed": 30 - second / 2})
    return xmlfiles.text(root)


def _view(demo: _Demo) -> str:
    root = xmlfiles.Element("viewsettings")
    if demo.network.kind == "road":  # else a vehicle would be four pixels of the screen
        scheme = xmlfiles.add(root, "scheme", {"name": "large vehicles"})
        xmlfiles.add(scheme, "edges", {"widthExaggeration": 4})
        xmlfiles.add(scheme, "vehicles", {"vehicle_exaggeration": 4})
    xmlfiles.add(root, "viewport", demo.view)
    xmlfiles.add(root, "delay", {"value": 50})
    return xmlfiles.text(root)


def _configuration(name: str, demo: _Demo, has_additional: bool) -> str:
    files = {"net-file": f"{name}.net.xml", "route-files": f"{name}.rou.xml"}
    if has_additional:
        files["additional-files"] = f"{name}.add.xml"
    sections: dict[str, dict[str, str | float]] = {
        "input": {**files},
        "time": {"begin": 0, "end": demo.duration, "step-length": 0.1},
        "processing": {
            "step-method.ballistic": "true",
            "collision.action": "warn",
            "collision.check-junctions": "true",
            "time-to-teleport": -1,
        },
        "report": {"no-step-log": "true"},
        "random_number": {"seed": 0},
        "gui_only": {"gui-settings-file": f"{name}.view.xml"},
    }
    root = xmlfiles.Element("configuration")
    for section, options in sections.items():
        parent = xmlfiles.add(root, section, {})
        for option, value in options.items():
            xmlfiles.add(parent, option, {"value": value})
    return xmlfiles.text(root)


if __name__ == "__main__":
    for demo_name in NAMES:
        write_sumo_files(demo_name, Path(sys.argv[1]) / demo_name)
