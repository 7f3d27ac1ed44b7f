"""Touches libsumo and traci, as ``connection`` does for a SUMO of somebody else and nothing else.

One process holds one libsumo simulation, and libsumo swaps it silently when a
second one starts; ``SumoSimulation`` refuses the second instead.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import io
import itertools
import math
import subprocess
import tempfile
import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from typing import Any

from trafficrl.config.scenario import SimulationConfig
from trafficrl.errors import ConnectionLost, SimulationError
from trafficrl.simulation.networks import BuiltNetwork
from trafficrl.simulation.options import sumo_options
from trafficrl.simulation.programs import sumo_program
from trafficrl.simulation.stderr import errors_from_stderr
from trafficrl.simulation.sumo_types import SumoTypes
from trafficrl.simulation.sumo_warnings import Context, Tally, WarningReader
from trafficrl.simulation.vehicles import SumoVehicles, translated
from trafficrl.simulation.view import View
from trafficrl.types import VEHICLE_TYPE, FloatArray, IntArray, VehicleType

WHOLE_LAW = 31  # the speed mode with all of SUMO's checks
NO_COMMAND = -1.0  # as a speed: SUMO decides
START_TIMEOUT = 120.0  # s, for loading a large network
CLOSE_TIMEOUT = 10.0  # s
START_POLL = 0.02  # s between tries to connect
STEPPING = translated("a simulation step")
_labels = itertools.count()
_in_process: weakref.ReferenceType[SumoSimulation] | None = None


class SumoSimulation(SumoVehicles):
    """A running SUMO with vehicles that are driven by commanded speeds, or by its own models.

    The same calls go to libsumo (in process) or traci (a SUMO process of its
    own); both give bit-identical results.
    """

    def __init__(self, config: SimulationConfig, *, vehicle_length: float) -> None:
        super().__init__()
        self.config = config
        self.vehicle_length = vehicle_length
        self._network: BuiltNetwork | None = None
        self._types = SumoTypes(config, vehicle_length)
        self._released: set[str] = set()  # vehicles that SUMO drives by a model of its own
        self._warnings = WarningReader(config.step_s)
        self._backend = config.backend
        self._view: View | None = None
        self._process: subprocess.Popen[bytes] | None = None  # SUMO, where it has one

    # Life ------------------------------------------------------------------

    def load(self, network: BuiltNetwork, *, seed: int = 0) -> None:
        """Start SUMO on ``network``, or load it into the SUMO that runs.

        ``seed`` is that of SUMO's own randomness: lane changes, and what route files draw.
        """
        log = self._warnings.next_file()
        types = self._types.write()
        options = sumo_options(self.config, network, seed, types=types, warnings=log)
        running = self._api is not None
        try:
            files = " and ".join(map(str, (network.net_file, *network.route_files)))
            with translated(f"loading {files}"), errors_from_stderr():
                if running:
                    self._api.load(options)
                else:
                    self._start(options)
                self._api.simulation.getTime()  # traci says with the next call that it failed
                if self._view is not None:
                    self._view.open(self._api)
        except SimulationError:
            if self._api is not None:
                self._forget()
            raise
        finally:
            self._warnings.loaded(log)
        self._network = network
        self._ids = []
        self._released.clear()

    def show(self, view: View) -> None:
        """From its next start on SUMO is sumo-gui, a process of its own, and shows ``view``.

        The methods of ``view`` may be called once a network is loaded.
        """
        self._view, self._backend = view, "traci"

    def close(self) -> None:
        """End SUMO; a closed simulation can load again."""
        if self._api is not None:
            with _ended_in_time(self._process), suppress(ConnectionLost), translated("closing"):
                self._api.close()
            self._forget()
        self._types.close()
        self._warnings.close()

    def _forget(self) -> None:
        global _in_process
        self._use(None)
        self._process = None
        self._ids = []
        self._released.clear()
        if self._backend == "libsumo":
            _in_process = None

    def _start(self, options: list[str]) -> None:
        global _in_process
        if self._backend == "libsumo":
            if _in_process is not None and _in_process() is not None:
                raise SimulationError(
                    "a libsumo simulation runs already in this process and it can hold one only "
                    "(close the other environment first, use another process, "
                    "or set simulation.backend: traci)"
                )
            self._use(_import("libsumo"))
            self._api.start(["sumo", *options])
            _in_process = weakref.ref(self)
        else:
            program = "sumo" if self._view is None else "sumo-gui"
            shown = [] if self._view is None else self._view.options()
            command = [str(sumo_program(program)), *options, *shown]
            connection, self._process = _start_process(command)
            self._use(connection)

    def admit(self, vehicle_type: VehicleType) -> None:
        """Have SUMO know a vType, for ``release``, from the next ``load`` on."""
        self._types.add(vehicle_type)

    @property
    def has_own_models(self) -> bool:
        """Whether SUMO may drive vehicles by models of its own."""
        return len(self._types) > 0

    # Warnings ----------------------------------------------------------------

    def warnings_belong_to(self, context: Context | None) -> None:
        """From now on SUMO's warnings come of this; None leaves them out."""
        self._warnings.belong_to(context, self._clock())

    def episode(self, *, begun: bool) -> None:
        """An episode begins now, or is being prepared: their times in warnings count from here."""
        now = self._clock()
        self._warnings.episode(now if begun else None, now)

    def take_warnings(self) -> Tally:
        """SUMO's warnings since the last time."""
        flush = _flush() if self._backend == "libsumo" and self._api is not None else None
        if flush is not None:
            flush()
        return self._warnings.take(complete=flush is not None)

    def _clock(self) -> float:
        """s, of SUMO's own clock."""
        with translated("reading its clock"):
            return 0.0 if self._api is None else float(self._api.simulation.getTime())

    # Vehicles --------------------------------------------------------------

    def place(
        self,
        ids: Sequence[str],
        positions: FloatArray,
        speeds: FloatArray,
        replicas: IntArray,
        lanes: IntArray,
    ) -> None:
        """Remove every vehicle, then insert ``ids`` on their replica's course.

        ``positions`` in m along the course, ``speeds`` in m/s, one of each a
        vehicle. Exact for vehicles that are driven by commands, and twenty times
        faster than loading anew. ``SimulationError`` if SUMO does not take all.
        """
        network, api = self._network, self._api
        assert network is not None, "load a network first"
        with translated("placing the vehicles"):
            self._remove_all()
            routes = set(api.route.getIDList())
            for vehicle, position, speed, replica, lane in zip(
                ids, positions, speeds, replicas, lanes, strict=True
            ):
                course = network.courses[int(replica)]
                edge, edge_position = course.locate(float(position))
                if edge not in routes:
                    api.route.add(edge, list(course.route_from(edge)))
                    routes.add(edge)
                self._add(vehicle, edge, int(lane), edge_position, float(speed))
        self._insert(ids)

    def place_on_routes(
        self,
        ids: Sequence[str],
        routes: Sequence[Sequence[str]],
        lanes: Sequence[int],
        positions: FloatArray,
        speed: float,
    ) -> None:
        """Insert ``ids``, each on that lane of the first edge of its route.

        ``positions`` in m along the lane, ``speed`` in m/s. The network should be
        newly loaded. ``SimulationError`` if SUMO does not take all.
        """
        with translated("placing the vehicles"):
            for vehicle, route, lane, position in zip(ids, routes, lanes, positions, strict=True):
                self._api.route.add(vehicle, list(route))
                self._add(vehicle, vehicle, lane, float(position), speed)
        self._insert(ids)

    def _add(self, vehicle: str, route: str, lane: int, position: float, speed: float) -> None:
        self._api.vehicle.add(
            vehicle,
            route,
            typeID=VEHICLE_TYPE,
            depart="now",
            departLane=str(lane),
            departPos=repr(position),
            departSpeed=repr(speed),
        )
        self._set_modes(vehicle)

    def _insert(self, ids: Sequence[str]) -> None:
        """The step in which added vehicles enter the network."""
        assert self._network is not None
        with translated("placing the vehicles"):
            self._api.simulationStep()
        self._ids = list(ids)
        self._released.clear()
        inserted = self._api.vehicle.getIDCount()
        if inserted != len(self._ids):
            raise SimulationError(
                f"SUMO inserted {inserted} of {len(self._ids)} vehicles into "
                f"{self._network.net_file} "
                "(fewer vehicles, a longer road or other start positions are needed)"
            )

    def _set_modes(self, vehicle: str) -> None:
        self._api.vehicle.setSpeedMode(vehicle, self.config.speed_mode)
        self._api.vehicle.setLaneChangeMode(vehicle, self.config.lane_change_mode)

    # Vehicles that come and go ------------------------------------------------

    def take_over(self, vehicle: str) -> None:
        """Make a route file's vehicle one of the scenario's type that obeys commands."""
        with translated(f"taking over vehicle '{vehicle}'"):
            self._api.vehicle.setType(vehicle, VEHICLE_TYPE)
            self._api.vehicle.setSpeedFactor(vehicle, 1.0)
            self._set_modes(vehicle)

    def watch(self, ids: Sequence[str]) -> None:
        """From now on these are the vehicles that are commanded and read, in this order."""
        super().watch(ids)
        self._released &= set(ids)

    def set_route(self, vehicle: str, edges: Sequence[str]) -> None:
        """Give a vehicle another route, which begins with the edge that it is on."""
        with translated(f"routing vehicle '{vehicle}'"):
            self._api.vehicle.setRoute(vehicle, list(edges))

    # Driving -----------------------------------------------------------------

    def _remove_all(self) -> None:
        present = self._api.vehicle.getLoadedIDList()  # also those that wait for insertion
        for vehicle in present:
            self._api.vehicle.remove(vehicle)
        if present:
            self._api.simulationStep()

    def release(self, vehicles: Sequence[str], vehicle_type: VehicleType) -> None:
        """Leave these vehicles to SUMO, its model of that vType and its whole law."""
        name, api = self._types.name(vehicle_type), self._api.vehicle
        with translated(f"handing vehicles to its model {vehicle_type['carFollowModel']}"):
            for vehicle in vehicles:
                api.setType(vehicle, name)
                api.setSpeedMode(vehicle, WHOLE_LAW)
                api.setSpeed(vehicle, NO_COMMAND)
        self._released.update(vehicles)

    def take_back(self, vehicles: Sequence[str]) -> None:
        """Drive those of these vehicles by commands again that were released."""
        with translated("taking vehicles back from its own models"):
            for vehicle in sorted(self._released.intersection(vehicles)):
                self._api.vehicle.setType(vehicle, VEHICLE_TYPE)
                self._api.vehicle.setSpeedMode(vehicle, self.config.speed_mode)
        self._released.difference_update(vehicles)

    def step(self, speeds: FloatArray) -> None:
        """Command ``speeds`` (V,) in m/s to all vehicles and simulate one step.

        NaN commands nothing, which is for released vehicles alone.
        """
        ids, commands = self._ids, speeds.tolist()
        if math.isnan(sum(commands)):
            for vehicle, speed in zip(ids, commands, strict=True):
                if math.isnan(speed) and vehicle not in self._released:
                    raise SimulationError(f"{vehicle}: its commanded speed is not a number")
            told = [index for index, speed in enumerate(commands) if not math.isnan(speed)]
            ids, commands = [ids[index] for index in told], [commands[index] for index in told]
        calls = self._calls
        with STEPPING:
            # Of what calls a function for each of a list the quickest.
            deque(map(calls.set_speed, ids, commands), maxlen=0)
            calls.step()

    def _min_gap(self, vehicle: str) -> float:
        """m; SUMO's own models may have another than the scenario."""
        if vehicle in self._released:
            return float(self._api.vehicle.getMinGap(vehicle))
        return self.config.min_gap_m


@contextmanager
def _ended_in_time(process: subprocess.Popen[bytes] | None) -> Iterator[None]:
    """Kills a SUMO that does not end in ``CLOSE_TIMEOUT``: sumo-gui can hang as it ends."""
    if process is None:
        yield
        return
    timer = threading.Timer(CLOSE_TIMEOUT, process.kill)
    timer.start()
    try:
        yield
        process.wait()
    finally:
        timer.cancel()


def _start_process(command: Sequence[str]) -> tuple[Any, subprocess.Popen[bytes]]:
    """A SUMO that is started, and a connection to it; ``SimulationError`` with its first error."""
    traci = _import("traci")
    port = _import("sumolib.miscutils").getFreeSocketPort()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            [*command, "--remote-port", str(port)], stdout=subprocess.DEVNULL, stderr=said
        )
        try:
            with redirect_stdout(io.StringIO()):  # traci tells of every try to connect
                connection = traci.connect(
                    port,
                    numRetries=round(START_TIMEOUT / START_POLL),
                    proc=process,
                    waitBetweenRetries=START_POLL,
                    label=f"trafficrl-{next(_labels)}",
                )
            return connection, process
        except Exception as error:
            process.kill()
            process.wait()
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
            errors = [line for line in lines if line.startswith("Error")] or lines[-1:]
            reason = errors[0] if errors else str(error)
            raise SimulationError(f"{command[0]}: did not start: {reason}") from None


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SimulationError(
            f"cannot import {name}: {error} (run 'trafficrl doctor', which names what to install)"
        ) from None


@functools.cache
def _flush() -> Callable[[], None] | None:
    """Has libsumo write out what it holds back of its files, None where that cannot be done.

    Its own functions have none for it. Without, warnings are seen some 8 kB late, and all
    of them when SUMO loads anew or ends.
    """
    try:
        library = ctypes.CDLL(_import("libsumo.libsumo")._libsumo.__file__)
        flush = library["_ZN12OutputDevice8flushAllEv"]  # static void OutputDevice::flushAll()
    except (OSError, AttributeError):
        return None
    flush.restype, flush.argtypes = None, ()
    return lambda: flush()
