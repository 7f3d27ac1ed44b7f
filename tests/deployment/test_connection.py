"""Whatever answers, or stops to, ends in one line; a SUMO that is left is as it was."""

from __future__ import annotations

import re
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import count

import numpy as np
import pytest

from trafficrl.deployment.live import Summary, drive, live_driver
from trafficrl.errors import ConnectionLost, SimulationError, TrafficRLError
from trafficrl.simulation import connection
from trafficrl.simulation.connection import SumoConnection

Serve = Callable[..., int]
OK = struct.pack("!BBBi", 7, 0x00, 0, 0)  # of getVersion: length, command, result, no text


def message(content: bytes) -> bytes:
    return struct.pack("!i", len(content) + 4) + content


def version(number: int, name: bytes) -> bytes:
    answer = struct.pack("!BBii", 10 + len(name), 0x00, number, len(name)) + name
    return message(OK + answer)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """``serve(*answers)``: the port of who gives these one after the other, and then hangs up."""
    servers: list[socket.socket] = []

    def begin(*answers: bytes) -> int:
        server = socket.create_server(("localhost", 0))
        servers.append(server)

        def run() -> None:
            stream, _ = server.accept()
            with stream, suppress(OSError):  # the other end may hang up first
                for answer in answers:
                    stream.recv(4096)
                    stream.sendall(answer)
                stream.shutdown(socket.SHUT_WR)
                while stream.recv(4096):
                    pass

        threading.Thread(target=run, daemon=True).start()
        port: int = server.getsockname()[1]
        return port

    yield begin
    for server in servers:
        server.close()


def failure(port: int) -> SimulationError:
    with pytest.raises(SimulationError) as caught, closing(SumoConnection("localhost", port)):
        pass
    text = str(caught.value)
    assert text.startswith(f"localhost:{port}: ") and "\n" not in text
    return caught.value


@pytest.mark.parametrize(
    ("answers", "message_"),
    [
        ([], "SUMO has closed the connection"),
        ([b"HTTP/1.1 400 Bad Request\r\n\r\n"], "what answers is no SUMO"),
        ([b"\x00" * 64], "what answers is no SUMO"),
        ([b"\xff" * 64], "what answers is no SUMO"),
        ([b"SSH-2.0-OpenSSH_9.2\r\n"], "what answers is no SUMO"),
        ([struct.pack("!i", 500) + b"few"], "breaks off in an answer"),
        ([b"\x00\x00"], "what answers is no SUMO"),
        ([message(b"\x00")], "the answer to getVersion makes no sense"),
        ([message(OK)], "the answer to getVersion makes no sense"),
        ([message(struct.pack("!BBBi", 7, 0x01, 0, 0))], "the answer to getVersion makes no sense"),
        ([message(OK + b"\x0a\x00\x00\x00\x00\x16\xff\xff\xff\xff")], "makes no sense"),
        ([message(OK + b"\x0a\x00\x00\x00\x00\x16\x7f\xff\xff\xff")], "makes no sense"),
        ([version(22, b"\xff\xfe\xfd")], "the answer to getVersion makes no sense"),
        ([message(struct.pack("!BBBi", 9, 0x00, 0xFF, 2) + b"no")], "SUMO refuses getVersion: no"),
        ([version(19, b"SUMO 0.32.0")], r"SUMO 0.32.0 speaks TraCI 19 \(should be 22, "),
        ([version(23, b"SUMO\n9")], "SUMO 9 speaks TraCI 23"),
        ([version(22, b"SUMO 1.28.0")], "SUMO has closed the connection"),
        ([version(22, b"SUMO 1.28.0"), message(OK)], "the answer to getDeltaT makes no sense"),
    ],
)
def test_what_is_no_sumo_is_told_on_one_line(serve: Serve, answers, message_: str) -> None:
    error = failure(serve(*answers))
    assert re.search(message_, str(error)), error
    assert isinstance(error, ConnectionLost) != ("refuses" in message_ or "speaks" in message_)


def test_random_bytes_are_told_on_one_line(serve: Serve) -> None:
    rng = np.random.default_rng(0)
    for size in (1, 3, 4, 20, 400):
        for _ in range(8):
            failure(serve(rng.bytes(size)))
            failure(serve(message(rng.bytes(size))))
            failure(serve(message(OK + rng.bytes(size))))


def test_where_nobody_listens() -> None:
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
    error = failure(port)
    assert "no SUMO there (Connection refused; start one with 'sumo -c X.sumocfg" in str(error)
    assert f"--remote-port {port}" in str(error)
    with pytest.raises(SimulationError, match=r"no-such-host\.invalid:8813: no SUMO there"):
        SumoConnection("no-such-host.invalid", 8813, wait=30.0)  # no time can help


def test_it_waits_for_a_sumo_that_is_being_started(start) -> None:
    process, port = start("ring")  # which is loading yet
    with closing(SumoConnection("localhost", port, wait=20.0)) as sumo:
        assert (sumo.step_length, sumo.end_time, sumo.time) == (0.1, 300.0, 0.0)
    assert process.wait(timeout=20) == 0


def test_a_vehicle_is_given_back_as_it_was(start) -> None:
    _, port = start("ring")
    with closing(SumoConnection("localhost", port, wait=20.0)) as sumo:
        sumo.step(np.empty(0))
        api = sumo._api.vehicle
        one, other = "vehicle_3", "vehicle_4"
        api.setSpeedMode(one, 25)
        api.setLaneChangeMode(one, 512)
        before = [
            (api.getSpeedMode(v), api.getLaneChangeMode(v), api.getTypeID(v)) for v in (one, other)
        ]
        for vehicle in (one, other):
            sumo.take_over(vehicle, 0, 0)
        sumo.watch([one])
        sumo.take_over(other, 0, 0)  # which was gone and is there again
        sumo.watch([one, other])
        assert (api.getSpeedMode(one), api.getLaneChangeMode(one)) == (0, 0)
        for _ in range(10):
            sumo.step(np.array([0.5, np.nan]))
        assert sumo.read()[0][0] == 0.5 and sumo.read()[0][1] > 0.6
        sumo.give_back()
        after = [
            (api.getSpeedMode(v), api.getLaneChangeMode(v), api.getTypeID(v)) for v in (one, other)
        ]
        assert after == before
        for _ in range(10):
            sumo.step(np.empty(0))
        assert api.getSpeed(one) > 1.0, "SUMO drives it again"


def test_nobody_is_left_without_checks(start, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that SUMO refuses to take back keeps no other; one that is off the road is loaded yet."""
    _, port = start("ring")
    with closing(SumoConnection("localhost", port, wait=20.0)) as sumo:
        sumo.step(np.empty(0))
        api = sumo._api.vehicle
        refused, off_the_road, last = sorted(sumo.on_the_road())[:3]
        for vehicle in (refused, off_the_road, last):
            sumo.take_over(vehicle, 0, 0)
        sumo.watch([refused, last])
        sumo._taken.add("arrived")
        set_speed = api.setSpeed

        def refuse(vehicle: str, speed: float) -> None:
            assert vehicle != "arrived"
            if vehicle == refused:
                raise SimulationError("SUMO refuses setSpeed")
            set_speed(vehicle, speed)

        monkeypatch.setitem(api.__dict__, "setSpeed", refuse)
        sumo.give_back()
        assert [api.getSpeedMode(v) for v in (refused, off_the_road, last)] == [0, 31, 31]


@pytest.mark.parametrize("come", [0, 2, 4, 9])
def test_an_answer_that_was_interrupted_is_taken_in(start, monkeypatch, come: int) -> None:
    """Ctrl-C before an answer or within it, and all vehicles are given back all the same."""
    _, port = start("ring")
    with closing(SumoConnection("localhost", port, wait=20.0)) as sumo:
        sumo.step(np.empty(0))
        api, answers, vehicles = sumo._api.vehicle, sumo._answers, sumo.on_the_road()
        for vehicle in vehicles:
            sumo.take_over(vehicle, 0, 0)

        def interrupted(size: int, within: float | None) -> None:
            answers._begun += answers._socket.recv(come) if come else b""
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(answers, "_receive", interrupted)
            with pytest.raises(KeyboardInterrupt):
                sumo.on_the_road()
        assert sumo.is_open
        sumo.give_back()
        assert {api.getSpeedMode(vehicle) for vehicle in vehicles} == {31}


def test_closing_waits_for_a_silent_sumo_no_longer_than_for_any_answer(
    start, monkeypatch: pytest.MonkeyPatch
) -> None:
    process, port = start("ring")
    with closing(SumoConnection("localhost", port, wait=20.0)) as sumo:
        sumo.step(np.empty(0))
        sumo.take_over("vehicle_3", 0, 0)
        monkeypatch.setattr(connection, "STALL_S", 0.1)
        process.send_signal(signal.SIGSTOP)
        monkeypatch.setattr(sumo._answers, "next", interrupt)
        with pytest.raises(KeyboardInterrupt):
            sumo.on_the_road()
        with pytest.raises(ConnectionLost, match="SUMO does not answer: vehicles may not be"):
            sumo.give_back()
        assert not sumo.is_open


def interrupt() -> bytes:
    raise KeyboardInterrupt


def test_what_sumo_refuses_leaves_the_connection_as_it_is(start) -> None:
    _, port = start("ring")
    with closing(SumoConnection("localhost", port, wait=20.0)) as sumo:
        with pytest.raises(SimulationError, match=r"SUMO refuses getSpeedMode: .*nobody") as caught:
            sumo.take_over("nobody", None, None)
        assert not isinstance(caught.value, ConnectionLost) and sumo.is_open
        sumo.step(np.empty(0))
        assert len(sumo.on_the_road()) == 22


def test_a_killed_sumo_is_noticed_with_the_next_question(start) -> None:
    process, port = start("ring")
    with closing(SumoConnection("localhost", port, wait=20.0)) as sumo:
        sumo.step(np.empty(0))
        process.kill()
        process.wait()
        with pytest.raises(ConnectionLost, match="SUMO has closed the connection") as caught:
            sumo.on_the_road()
        assert caught.value.in_order and not sumo.is_open
        with pytest.raises(ConnectionLost):
            sumo.step(np.empty(0))


def corrupting(port: int, seed: int) -> int:
    """The port of who passes everything on to a SUMO, but changes a byte of one of its answers."""
    server = socket.create_server(("localhost", 0))
    rng = np.random.default_rng(seed)
    victim = int(rng.integers(1, 400))

    def answers(sumo: socket.socket, client: socket.socket) -> None:
        for number in count():
            answer = bytearray(sumo.recv(2**16))
            if not answer:
                break
            if number == victim:
                answer[rng.integers(len(answer))] ^= int(rng.integers(1, 256))
            client.sendall(answer)

    def run() -> None:
        client, _ = server.accept()
        with suppress(OSError), server, client, connect(port) as sumo:
            threading.Thread(target=quietly, args=(answers, sumo, client), daemon=True).start()
            while question := client.recv(2**16):
                sumo.sendall(question)

    threading.Thread(target=run, daemon=True).start()
    found: int = server.getsockname()[1]
    return found


def quietly(function: Callable[..., None], *arguments: object) -> None:
    with suppress(OSError):
        function(*arguments)


def connect(port: int) -> socket.socket:
    """To a SUMO that may be starting yet."""
    for _ in range(200):
        with suppress(ConnectionRefusedError):
            return socket.create_connection(("localhost", port))
        time.sleep(0.05)
    raise AssertionError("no SUMO")


@pytest.mark.parametrize("name", ["idm", "run"])
def test_a_byte_that_goes_wrong_ends_in_one_line_or_changes_a_number(
    start, trained, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(connection, "STALL_S", 0.2)
    text = str(trained()) if name == "run" else name
    ends = set()
    for seed in range(15):
        _, port = start("ring")
        try:
            with closing(SumoConnection("localhost", corrupting(port, seed), wait=20.0)) as sumo:
                ends.add(drive(live_driver(text, "latest", None), sumo, "*", Summary(), steps=5))
        except TrafficRLError as error:
            assert "\n" not in str(error)
            ends.add(type(error).__name__)
    assert "ConnectionLost" in ends
