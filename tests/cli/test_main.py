"""What the command line answers, above all to mistakes: one line and an exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

import trafficrl
from trafficrl.cli import doctor
from trafficrl.cli.main import COMMANDS, cli, main
from trafficrl.errors import ScenarioError

COMMAND = [sys.executable, "-m", "trafficrl"]


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch):
    """Adds a subcommand `fail` that raises what the test gives it."""

    def add(error: BaseException) -> None:
        def callback() -> None:
            raise error

        monkeypatch.delenv("TRAFFICRL_DEBUG", raising=False)
        monkeypatch.setitem(cli.commands, "fail", click.Command("fail", callback=callback))

    return add


def test_help_names_every_command_and_imports_none_of_them() -> None:
    script = (
        "import sys; from trafficrl.cli.main import main; main(['--help']); "
        "print([m for m in sys.modules if m.startswith('trafficrl.cli.')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    *lines, loaded = done.stdout.splitlines()
    assert loaded == "['trafficrl.cli.main']"
    assert [line.split()[0] for line in lines[lines.index("Commands:") + 1 :]] == list(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert f"Usage: trafficrl {name} " in capsys.readouterr().out


def test_version_is_the_package_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert trafficrl.__version__ in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["tran"], ["--frobnicate"], ["doctor", "--frobnicate"]])
def test_wrong_usage_is_one_line_and_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: No such") and error.count("\n") == 1


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ScenarioError("ring.yaml:3:1: lenght: unknown key"), "ring.yaml:3:1: lenght: unknown key"),
        (PermissionError(13, "Permission denied", "/runs"), "/runs: Permission denied"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (
            ValueError("a defect\nwith details"),
            "unexpected ValueError: a defect (TRAFFICRL_DEBUG=1 shows the traceback)",
        ),
    ],
)
def test_a_failure_is_one_line_and_1(failing, error, line, capsys) -> None:
    failing(error)
    assert main(["fail"]) == 1
    assert capsys.readouterr().err == f"error: {line}\n"


def test_debug_lets_the_traceback_through(failing, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(ScenarioError("wrong"))
    monkeypatch.setenv("TRAFFICRL_DEBUG", "1")
    with pytest.raises(ScenarioError):
        main(["fail"])


def test_an_interrupt_is_130(failing, capsys: pytest.CaptureFixture[str]) -> None:
    failing(KeyboardInterrupt())
    assert main(["fail"]) == 130
    assert capsys.readouterr().err.strip() == "interrupted"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_one_line_and_1() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*COMMAND, "--help"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert (done.returncode, done.stderr) == (1, "error: No space left on device\n")


def test_a_reader_that_leaves_is_not_an_error_message() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [*COMMAND, "--help"], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60
    )
    os.close(writer)
    assert done.stderr == ""


def test_doctor_passes_where_the_tests_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor"]) == 0
    report = capsys.readouterr().out
    assert "fail" not in report
    assert "Eclipse SUMO" in report


def test_doctor_says_which_package_brings_a_missing_library(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(doctor.SYSTEM_LIBRARIES, "libnowhere.so.1", "libnowhere1")
    assert main(["doctor", "--missing-packages"]) == 0
    assert capsys.readouterr().out == "libnowhere1\n"


def test_doctor_fails_with_the_remedy_where_a_package_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "SUMO_PACKAGES", ("no-such-package",))
    assert main(["doctor"]) == 1
    report = capsys.readouterr().out
    assert "fail  no-such-package" in report and "-> pip install" in report
