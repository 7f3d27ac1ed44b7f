"""Pictures as files: the same bytes of the same data, whole or not at all, text as text."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest

from trafficrl.errors import TrafficRLError
from trafficrl.evaluation.trajectory import Trajectory
from trafficrl.plots import learning_curves, picture_files, time_space, vehicle_series
from trafficrl.plots.files import FORMATS
from trafficrl.plots.style import set_title

from .conftest import MakeRun

SVG = "{http://www.w3.org/2000/svg}"
# Another process, in which sets and addresses are in another order.
SCRIPT = """
import sys
from pathlib import Path
from trafficrl.plots import learning_curves, picture_files
from trafficrl.training.run_directory import RunDirectory

with picture_files([Path(name) for name in sys.argv[2:]]) as write:
    write(learning_curves([RunDirectory(Path(sys.argv[1]))], "kl"))
"""


def names(folder: Path, stem: str = "picture") -> list[Path]:
    return [folder / f"{stem}{suffix}" for suffix in FORMATS]


def test_the_same_data_give_the_same_bytes(tmp_path: Path, laps: Trajectory) -> None:
    written = []
    for stem in ("one", "other"):
        with picture_files(names(tmp_path, stem)) as write:
            write(time_space([laps], ["idm"]))
        written.append([path.read_bytes() for path in names(tmp_path, stem)])
    assert written[0] == written[1]


def test_another_process_gives_the_same_bytes(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run([{"iteration": i, "sim_steps": 10 * i, "kl": 0.1 * i} for i in (1, 2, 3)], "run")
    with picture_files(names(tmp_path)) as write:
        write(learning_curves([run], "kl"))
    others = names(tmp_path, "other")
    subprocess.run(
        [sys.executable, "-c", SCRIPT, str(run.path), *map(str, others)],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        check=True,
        timeout=120,
    )
    for own, other in zip(names(tmp_path), others, strict=True):
        assert own.read_bytes() == other.read_bytes(), own.suffix


def test_text_stays_text_and_no_date_is_written(tmp_path: Path, laps: Trajectory) -> None:
    png, pdf, svg = names(tmp_path)
    figure = vehicle_series(laps)
    set_title(figure, "a title of ours")
    with picture_files([png, pdf, svg]) as write:
        write(figure)
    words = [element.text for element in ElementTree.parse(svg).getroot().iter(f"{SVG}text")]
    assert {"a title of ours", "time (s)", "speed (m/s)", "cav_3"} <= set(words)
    assert b"/FontFile2" in pdf.read_bytes(), "TrueType, type 42"
    assert b"CreationDate" not in pdf.read_bytes() and b"<dc:date>" not in svg.read_bytes()


def test_an_unknown_suffix_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for name in ("p.gif", "p"):
        files = [tmp_path / "p.png", tmp_path / name]
        with pytest.raises(TrafficRLError, match=r"end in \.png, \.pdf, \.svg, not"):  # noqa: SIM117
            with picture_files(files):
                raise AssertionError("never opens")
    assert os.listdir(tmp_path) == []


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_text("old")
    with pytest.raises(RuntimeError), picture_files([path]):
        raise RuntimeError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["picture.png"]


def test_the_callers_settings_neither_change_nor_matter(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run([{"iteration": 1, "sim_steps": 10, "kl": 0.1}], "run")

    def drawn(stem: str) -> list[bytes]:
        with picture_files(names(tmp_path, stem)) as write:
            write(learning_curves([run], "kl"))
        return [path.read_bytes() for path in names(tmp_path, stem)]

    before = drawn("plain")
    with matplotlib.rc_context(
        {"font.size": 20.0, "axes.facecolor": "red", "svg.fonttype": "path"}
    ):
        settings = dict(matplotlib.rcParams)
        assert drawn("own") == before
        assert dict(matplotlib.rcParams) == settings


def test_matplotlib_is_imported_only_to_draw_and_pyplot_never(make_run: MakeRun) -> None:
    run = make_run([{"iteration": 1, "sim_steps": 10, "kl": 0.1}], "run")
    script = f"""
import sys, trafficrl.plots
from pathlib import Path
from trafficrl.training.run_directory import RunDirectory
print("matplotlib" in sys.modules)
trafficrl.plots.learning_curves([RunDirectory(Path({str(run.path)!r}))], "kl")
print("matplotlib" in sys.modules, "matplotlib.pyplot" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == ["False", "True", "False"]
