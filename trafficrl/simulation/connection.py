"""A SUMO that somebody else has started, over TraCI. The other module that touches traci."""

from __future__ import annotations

import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np

from trafficrl.errors import ConnectionLost, SimulationError, TrafficRLError
from trafficrl.simulation.sumo import NO_COMMAND
from trafficrl.simulation.vehicles import SumoVehicles
from trafficrl.types import FloatArray

LARGEST_ANSWER = 2**26  # bytes; SUMO's answers on 100,000 vehicles are smaller
RETRY_S = 0.2
PATIENCE_S = 5.0  # without an answer to the first question, before that is said
STALL_S = 20.0  # within an answer: SUMO sends each at once


class SumoConnection(SumoVehicles):
    """Somebody else's SUMO: its vehicles are watched, commanded and given back.

    Raises ``SimulationError`` where nobody answers within ``wait`` s or it is another version,
    and ``ConnectionLost`` from any call once SUMO is gone. ``order`` tells several clients of
    one SUMO apart. ``on_silence`` is called once if the first answer takes long, as it does
    until somebody starts the simulation in sumo-gui.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        wait: float = 0.0,
        order: int | None = None,
        on_silence: Callable[[], None] | None = None,
    ) -> None:
        super().__init__()
        self.where = f"{host}:{port}"
        # Of all that were ever taken over, as some go and come again (teleported).
        self._modes: dict[str, tuple[int, int]] = {}  # as they were before
        self._limits: dict[str, tuple[float, float]] = {}  # minGap in m, maxSpeed in m/s
        self._taken: set[str] = set()  # who is to be given back
        import traci

        self._connection: Any = self._connect(traci, host, port, wait)
        self._answers = _Answers(self.where, self._connection, on_silence)
        # traci itself takes any four bytes for a length, and an end for an answer.
        self._connection._recvExact = lambda: traci.storage.Storage(self._answers.next())
        # Not that of traci.exceptions, in whose place libsumo puts its own.
        refused = traci.connection.TraCIException
        self._use(_Guarded(self._connection, self._answers, refused))
        try:
            if order is not None:
                self._api.setOrder(order)
            self._check_version(traci.constants.TRACI_VERSION)
            with self.sensible():
                self.step_length = float(self._api.simulation.getDeltaT())  # s
                self.end_time = float(self._api.simulation.getEndTime())  # s, below 0: never
                if not 0.0 < self.step_length < np.inf:
                    raise ValueError(f"steps of {self.step_length} s")
        except BaseException:
            # Who has not answered yet, as a sumo-gui that nobody starts, is not waited for.
            self._answers.broken |= self._answers.waits
            self.close()
            raise
        self._answers.on_silence = None

    @property
    def is_open(self) -> bool:
        """Whether SUMO can still be told something."""
        return not self._answers.broken

    @contextmanager
    def sensible(self) -> Iterator[None]:
        """While what SUMO tells is taken in: what is not of its kind ends the connection."""
        try:
            yield
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:100]
            raise self._answers.lost(f"what SUMO tells makes no sense ({reason})") from error

    @property
    def time(self) -> float:
        """SUMO's time, s."""
        return float(self._api.simulation.getTime())

    def expects_vehicles(self) -> bool:
        """Whether there are vehicles, or more will come."""
        return int(self._api.simulation.getMinExpectedNumber()) > 0

    def take_over(self, vehicle: str, speed_mode: int | None, lane_change_mode: int | None) -> None:
        """Drive a vehicle from now on; a mode of None leaves SUMO's checks as they are."""
        api = self._api.vehicle
        if vehicle not in self._modes:
            self._modes[vehicle] = api.getSpeedMode(vehicle), api.getLaneChangeMode(vehicle)
            self._limits[vehicle] = api.getMinGap(vehicle), api.getMaxSpeed(vehicle)
        self._taken.add(vehicle)
        if speed_mode is not None:
            api.setSpeedMode(vehicle, speed_mode)
        if lane_change_mode is not None:
            api.setLaneChangeMode(vehicle, lane_change_mode)

    def max_speeds(self) -> FloatArray:
        """What each watched vehicle can drive, (V,) in m/s."""
        return np.array([self._limits[vehicle][1] for vehicle in self._ids], dtype=np.float64)

    def step(self, speeds: FloatArray) -> None:
        """Command ``speeds`` (V,) in m/s and simulate one step; NaN: as it was commanded before."""
        for vehicle, speed in zip(self._ids, speeds.tolist(), strict=True):
            if speed == speed:
                self._api.vehicle.setSpeed(vehicle, speed)
        self._api.simulationStep()

    def give_back(self) -> None:
        """Leave all vehicles that were taken over to SUMO, with the modes that they had.

        Those too that are between two roads now (teleported). One that refuses keeps no other.
        """
        api = self._api.vehicle
        self.watch([])
        self._taken &= set(api.getLoadedIDList())  # the others have arrived
        for vehicle in sorted(self._taken):
            speed_mode, lane_change_mode = self._modes[vehicle]
            try:
                api.setSpeed(vehicle, NO_COMMAND)
                api.setSpeedMode(vehicle, speed_mode)
                api.setLaneChangeMode(vehicle, lane_change_mode)
            except ConnectionLost:
                raise
            except SimulationError:  # SUMO refuses
                pass
            self._taken.discard(vehicle)

    def close(self) -> None:
        """Give back who is not yet, and end the connection; SUMO then does as it likes.

        An interrupt is obeyed once that is done, a second one at once.
        """
        try:
            self._hang_up()
        except KeyboardInterrupt:
            self._hang_up()
            raise
        finally:
            self._answers.broken = True
            self._answers.close()

    def _hang_up(self) -> None:
        if self.is_open:
            with suppress(TrafficRLError):  # it is closed already, then
                if self._taken:
                    self.give_back()
                self._api.close()

    def _min_gap(self, vehicle: str) -> float:
        return self._limits[vehicle][0]

    def _connect(self, traci: Any, host: str, port: int, wait: float) -> Any:
        last_try = time.monotonic() + wait
        while True:
            try:
                return traci.connection.Connection(host, port, None, None, False, None)
            except TypeError:  # of a name that is no host's
                raise SimulationError(f"{self.where}: not a host name") from None
            except OSError as error:
                final = isinstance(error, socket.gaierror) or time.monotonic() >= last_try
                if final:
                    raise SimulationError(
                        f"{self.where}: no SUMO there ({error.strerror or error}; start one with "
                        f"'sumo -c X.sumocfg --remote-port {port} --num-clients 1')"
                    ) from None
            time.sleep(RETRY_S)

    def _check_version(self, needed: int) -> None:
        number, name = self._api.getVersion()
        if number != needed:
            raise SimulationError(
                f"{self.where}: {' '.join(name.split())[:60] or 'what answers'} speaks TraCI "
                f"{number} (should be {needed}, that of SUMO 1.28)"
            )


class _Answers:
    """Questions to a socket and whole answers from it; what cannot be one ends the connection.

    Stands in for the socket of a traci connection. An interrupt (Ctrl-C) may come at any
    moment of an answer: what is left of it is taken in before the next question.
    """

    def __init__(self, where: str, connection: Any, on_silence: Callable[[], None] | None) -> None:
        self.where = where
        self.broken = False  # for ever
        self.waits = False  # for an answer, or the rest of one
        self.on_silence = on_silence
        self._begun = bytearray()  # what is there of an answer
        self._connection = connection
        self._socket: socket.socket = connection._socket
        connection._socket = self

    def send(self, question: bytes) -> None:
        """As a socket does."""
        self.waits = True
        self._socket.sendall(question)

    def close(self) -> None:
        """As a socket does."""
        self._socket.close()

    def settle(self) -> None:
        """Be done with a question that was interrupted; ``ConnectionLost`` after ``STALL_S``."""
        self._connection._string, self._connection._queue = b"", []
        if not self.waits:
            self._begun.clear()
        elif not self.broken:
            if not self._begun and not self._ready(STALL_S):
                raise self.lost("SUMO does not answer: vehicles may not be given back")
            self.next()

    def next(self) -> bytes:
        """The coming answer without its length; ``ConnectionLost`` if there is none."""
        try:
            if self.on_silence is not None and not self._ready(PATIENCE_S):
                self.on_silence()
            self._receive(1, within=None)
            if not self._begun:
                raise self.lost("SUMO has closed the connection", in_order=True)
            self._receive(4, STALL_S)
            (length,) = struct.unpack("!i", self._begun[:4].ljust(4, b"\0"))
            if not 4 < length <= LARGEST_ANSWER:
                raise self.lost("what answers is no SUMO")
            self._receive(length, STALL_S)
        except ConnectionResetError:
            raise self.lost("SUMO has closed the connection", in_order=True) from None
        except OSError as error:
            raise self.lost(f"the connection to SUMO is lost ({error.strerror})") from None
        if len(self._begun) < length:
            raise self.lost("the connection to SUMO breaks off in an answer")
        answer = bytes(self._begun[4:])
        self.waits = False
        self._begun.clear()
        return answer

    def _ready(self, seconds: float | None) -> bool:
        return bool(select.select([self._socket], [], [], seconds)[0])

    def _receive(self, size: int, within: float | None) -> None:
        """The answer up to so many bytes, fewer where the connection ends or nothing comes."""
        # Interrupts come while it waits; what was received would be lost with one.
        while (missing := size - len(self._begun)) > 0 and self._ready(within):
            part = self._socket.recv(min(missing, 2**16))
            if not part:
                break
            self._begun += part

    def lost(self, how: str, *, in_order: bool = False) -> ConnectionLost:
        """The error that says so; nothing more is asked or told after it."""
        self.broken = True
        error = ConnectionLost(f"{self.where}: {how}")
        error.in_order = in_order
        return error


class _Guarded:
    """A traci object whose calls fail with our errors alone, whatever the answer held."""

    def __init__(self, target: Any, answers: _Answers, refused: type[Exception]) -> None:
        self._target, self._answers, self._refused = target, answers, refused

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        guarded = (
            self._call(found, name)
            if callable(found)
            else _Guarded(found, self._answers, self._refused)
        )
        self.__dict__[name] = guarded  # found at once the next time
        return guarded

    def _call(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            try:
                self._answers.settle()
                return function(*arguments)
            except TrafficRLError:
                raise
            except self._refused as error:
                reason = " ".join(str(error).split())
                raise SimulationError(
                    f"{self._answers.where}: SUMO refuses {name}: {reason}"
                ) from None
            except OSError:  # of sending
                raise self._answers.lost("SUMO has closed the connection", in_order=True) from None
            except Exception as error:  # an answer is taken apart without any check
                reason = " ".join(f"{type(error).__name__}: {error}".split())[:100]
                raise self._answers.lost(
                    f"the answer to {name} makes no sense ({reason})"
                ) from None

        return call
