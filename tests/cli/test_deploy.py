"""``trafficrl deploy``: it drives, it gives back, and every end of it is told in one line."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from trafficrl.cli.main import main
from trafficrl.deployment.live import Summary
from trafficrl.deployment.traffic import LiveTraffic
from trafficrl.simulation.connection import SumoConnection
from trafficrl.simulation.programs import sumo_program

ROOT = Path(__file__).parents[2]
Start = Callable[..., tuple[subprocess.Popen[bytes], int]]
SUMMARY = r"{} steps \({} s\), 22 vehicles driven, mean speed \d+\.\d\d m/s, 0 collided, \d+% of"


@pytest.fixture
def sumo() -> Iterator[Start]:
    """``sumo(name, *options)``: one that runs on a bundled network, and its port."""
    running = []

    def start(name: str = "ring", *options: str) -> tuple[subprocess.Popen[bytes], int]:
        with socket.create_server(("localhost", 0)) as server:
            port = server.getsockname()[1]
        file = ROOT / f"sumo_configs/{name}/{name}.sumocfg"
        command = [sumo_program("sumo"), "-c", file, "--remote-port", str(port), *options]
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL))
        return running[-1], port

    yield start
    for process in running:
        process.kill()
        process.wait()


@pytest.fixture
def deployed() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts ``trafficrl deploy`` as a process of its own."""
    running = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "trafficrl", "deploy", *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        running.append(subprocess.Popen(command, text=True, **pipes))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_a_run_drives(trained: Path, sumo: Start, capfd: pytest.CaptureFixture[str]) -> None:
    process, port = sumo()
    capfd.readouterr()
    arguments = ["--port", str(port), "--steps", "20", "--speed-mode", "1"]
    assert main(["deploy", str(trained), *arguments]) == 0
    captured = capfd.readouterr()
    assert re.match("20 steps are over: " + SUMMARY.format(20, "2.0"), captured.out)
    assert captured.out.count("\n") == 1 and captured.err == ""
    assert process.wait(timeout=20) == 0, "with its last client SUMO ends"


def test_a_controller_and_a_pattern_that_nobody_matches(
    sumo: Start, capfd: pytest.CaptureFixture[str]
) -> None:
    _, port = sumo("ring", "--end", "3")
    capfd.readouterr()
    options = ["--port", str(port), "--vehicles", "nobody*"]
    assert main(["deploy", "idm:time_headway=1.2", *options]) == 0
    assert capfd.readouterr().out == (
        "SUMO's end time, 3 s, is reached: 29 steps (2.9 s): no vehicle was driven\n"
    )


def step_until(sumo_client: SumoConnection, mode: int) -> None:
    """Step as the first of two clients until the other has given all this speed mode."""
    for _ in range(2000):
        sumo_client.step(np.empty(0))
        if modes(sumo_client) == {mode}:
            return
    raise AssertionError(f"speed modes are {modes(sumo_client)}")


def modes(sumo_client: SumoConnection) -> set[int]:
    return {sumo_client._api.vehicle.getSpeedMode(one) for one in sumo_client.on_the_road()}


@pytest.fixture
def two_clients(
    sumo: Start, deployed: Callable[..., subprocess.Popen[str]]
) -> Iterator[tuple[subprocess.Popen[str], SumoConnection]]:
    """Who drives all vehicles of a SUMO, and another client of it, which goes on alone."""
    process, port = sumo("ring", "--num-clients", "2")
    drives = deployed("idm", "--port", port, "--order", "2", "--speed-mode", "0")
    with closing(SumoConnection("localhost", port, wait=20.0, order=1)) as other:
        step_until(other, 0)
        yield drives, other
        other.step(np.empty(0))
        assert len(other.on_the_road()) == 22 and process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_gives_the_vehicles_back_and_sumo_runs_on(
    two_clients, number: signal.Signals
) -> None:
    drives, other = two_clients
    drives.send_signal(number)
    step_until(other, 31)
    out, err = drives.communicate(timeout=30)
    assert drives.returncode == 0
    assert re.match("stopped: " + SUMMARY.format(r"[\d,]+", r"[\d.]+"), out)
    assert err.splitlines() == [
        "",
        "giving the vehicles back after this step (once more: at once)",
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_interrupt_in_a_step_gives_the_vehicles_back_too(
    two_clients, number: signal.Signals
) -> None:
    """The step lasts until the other client of that SUMO makes it, too."""
    drives, other = two_clients
    drives.send_signal(number)
    drives.stderr.readline(), drives.stderr.readline()  # it has understood
    drives.send_signal(number)
    step_until(other, 31)
    assert drives.wait(timeout=30) == 130


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Callable[[subprocess.Popen[bytes]], None]:
    """Has a process killed in the 20th step that is driven."""

    def arrange(process: subprocess.Popen[bytes]) -> None:
        add = Summary.add

        def then_kill(summary: Summary, traffic: LiveTraffic) -> None:
            add(summary, traffic)
            if summary.steps == 20:
                process.kill()
                process.wait()

        monkeypatch.setattr(Summary, "add", then_kill)

    return arrange


@pytest.mark.parametrize("options", [[], ["--steps", "30"]])
def test_a_sumo_that_is_killed(
    sumo: Start, killed, capfd: pytest.CaptureFixture[str], options: list[str]
) -> None:
    """An end was set and is not reached: an error, after the summary of what there was."""
    process, port = sumo("ring", *(["--end", "-1"] if options else []))
    killed(process)
    capfd.readouterr()
    assert main(["deploy", "idm", "--port", str(port), *options]) == 1
    captured = capfd.readouterr()
    assert re.match(SUMMARY.format(20, "2.0"), captured.out)
    assert captured.err == f"error: localhost:{port}: SUMO has closed the connection\n"


def test_a_sumo_that_closes_where_no_end_is_set(
    sumo: Start, killed, capfd: pytest.CaptureFixture[str]
) -> None:
    """That is its end, as closing the window of sumo-gui."""
    process, port = sumo("ring", "--end", "-1")
    killed(process)
    capfd.readouterr()
    assert main(["deploy", "idm", "--port", str(port)]) == 0
    captured = capfd.readouterr()
    summary = SUMMARY.format(20, "2.0")
    assert re.match(f"SUMO has closed the connection: {summary}", captured.out)
    assert captured.err == ""


def test_where_no_sumo_is(refused) -> None:
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
    message = refused("deploy", "idm", "--port", str(port), "--wait", "0")
    assert message.startswith(f"localhost:{port}: no SUMO there (Connection refused; start one")


def test_what_is_no_sumo(refused) -> None:
    with socket.create_server(("localhost", 0)) as server:

        def answer() -> None:
            stream, _ = server.accept()
            with stream:
                stream.recv(100)
                stream.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        port = server.getsockname()[1]
        message = refused("deploy", "idm", "--port", str(port))
    assert message == f"localhost:{port}: what answers is no SUMO\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nothing"], 1, "nothing: neither a run directory, nor an exported policy, nor a contr"),
        (["sumo:Krauss"], 1, "sumo:Krauss: is SUMO's own model"),
        (["idm", "--assign", "slot"], 1, "idm: --assign deals the policies of a trained run"),
        (["{run}", "--assign", "shared"], 1, "--assign shared: each of its 6 vehicles"),
        (["{run}/scenario.yaml"], 1, "scenario.yaml: not an exported policy"),
        (["idm", "--port", "0"], 2, "0 is not in the range 1<=x<=65535"),
        (["idm", "--steps", "0"], 2, "0 is not in the range x>=1"),
        (["idm", "--speed-mode", "200"], 2, "200 is not in the range 0<=x<=127"),
        ([], 2, "Missing argument 'RUN'"),
    ],
)
def test_mistakes(refused, trained: Path, arguments, code: int, message: str) -> None:
    words = [word.format(run=trained) for word in arguments]
    assert message in refused("deploy", *words, code=code)


def test_an_interval_that_sumo_cannot_hold(refused, trained: Path, sumo: Start) -> None:
    _, port = sumo("ring", "--step-length", "0.2")
    message = refused("deploy", trained, "--port", str(port))
    assert "decides every 0.5 s, which is no whole number of that SUMO's steps of 0.2 s" in message
