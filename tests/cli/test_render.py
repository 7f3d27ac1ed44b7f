"""``trafficrl render``: a video by one command without a display, and what it refuses."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from trafficrl.cli.main import main
from trafficrl.cli.render import render
from trafficrl.rendering import QUANTITIES

needs_screen = pytest.mark.skipif(
    shutil.which("Xvfb") is None, reason="Xvfb is not installed (apt-get install xvfb)"
)


@pytest.fixture(autouse=True)
def no_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)


@needs_screen
def test_a_trained_run_becomes_a_video_without_a_display(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "ring.gif"
    options = ["--video", str(path), "--seconds", "0.4", "--speed", "5", "--graph"]
    assert main(["render", str(trained), *options]) == 0
    assert path.read_bytes().startswith(b"GIF8")
    said = capsys.readouterr()
    assert "0 to 2 s" in said.out and f"wrote {path}" in said.out
    assert said.err == "", "no note: the replay is the evaluated episode"


@needs_screen
def test_a_network_of_the_users_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network = "sumo_configs/figure_eight/figure_eight.net.xml"
    frames = tmp_path / "frames"
    options = ["--net-file", network, "--vehicles", "5", "--seconds", "0.2", "--color", "reward"]
    assert main(["render", "sumo:IDM", *options, "--frames", str(frames)]) == 0
    assert len(list(frames.glob("*.png"))) == 5


def test_without_a_display_the_video_is_named(refused: Callable[..., str]) -> None:
    assert "make a --video instead" in refused("render", "idm", "--scenario", "ring", code=2)


@pytest.mark.parametrize(
    ("options", "message", "code"),
    [
        (["--video", "a.mp4", "--frames", "b"], "give one of --video and --frames", 2),
        (["--video", "a.avi"], "not '.avi'", 1),
        (["--video", "a.gif", "--size", "12"], "'12' is not a size such as 1280x720", 2),
        (["--video", "a.gif", "--size", "12x7"], "not from 1280x240", 2),
        (["--video", "a.gif", "--speed", "0"], "not in the range x>0", 2),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_left(
    refused: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    message: str,
    code: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in refused("render", "idm", "--scenario", "ring", *options, code=code)
    assert list(tmp_path.iterdir()) == []


@needs_screen
def test_a_vehicle_that_is_not_there_leaves_no_video(
    refused: Callable[..., str], tmp_path: Path, small: list[str]
) -> None:
    video = tmp_path / "a.gif"
    options = ["--scenario", "ring", *small, "--follow", "cav_9", "--video", video]
    assert "no such vehicle (there are cav_0 to cav_5" in refused("render", "idm", *options)
    assert list(tmp_path.iterdir()) == []


def test_the_command_line_knows_every_colour() -> None:
    [color] = [option for option in render.params if option.name == "color"]
    assert list(color.type.choices) == list(QUANTITIES)
