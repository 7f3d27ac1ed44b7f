"""``trafficrl plot``: every picture, and every mistake in one line before anything is driven."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from trafficrl.cli.main import main
from trafficrl.cli.plot import plot

pytest.importorskip("matplotlib")

SHORT = ["--set", "episode.steps=20", "--set", "warmup=null"]
Refused = Callable[..., str]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    return tmp_path / "picture.png"


def drawn(path: Path, *arguments: str | Path) -> bool:
    """Whether the command writes a picture there."""
    assert main(["plot", *map(str, arguments), "--output", str(path)]) == 0
    return path.read_bytes().startswith(b"\x89PNG")


def test_every_picture_has_help() -> None:
    shown = CliRunner().invoke(plot, ["--help"]).output
    names = ("time-space", "vehicles", "learning", "model-error", "horizon", "transfer", "graph")
    assert sorted(plot.commands) == sorted(names)
    for name in names:
        assert name in shown
        assert "--output" in CliRunner().invoke(plot, [name, "--help"]).output


def test_a_run_and_a_controller_side_by_side(
    picture: Path, trained: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """In the scenario of the run."""
    assert drawn(picture, "time-space", trained, "idm:noise=0.2", *SHORT)
    assert capfd.readouterr().out == f"wrote {picture}\n"


def test_streets_are_drawn_along_a_route(picture: Path, capfd: pytest.CaptureFixture[str]) -> None:
    street = ["time-space", "idm", "--scenario", "transfer/merge", "--set", "episode.steps=300"]
    assert drawn(picture, *street)
    assert capfd.readouterr().out.startswith("route: motorway acceleration onward (driven most")
    assert drawn(picture, *street, "--route", "motorway acceleration")
    assert "route" not in capfd.readouterr().out


def test_trajectories_are_drawn_as_they_were_driven(tmp_path: Path, picture: Path) -> None:
    file, other = tmp_path / "t.csv", tmp_path / "other.png"
    where = ["--scenario", "ring", "--set", "episode.steps=60"]
    assert main(["evaluate", "idm", *where, "--episodes", "2", "--trajectories", str(file)]) == 0
    for command in ("time-space", "vehicles"):
        same = ["--title", "one", "--episode", "1"]
        assert drawn(picture, command, "idm", *where, *same)
        assert drawn(other, command, "--trajectories", file, *same)
        if command == "vehicles":  # the other has the name of the file above its panel
            assert picture.read_bytes() == other.read_bytes()
    assert drawn(picture, "time-space", "--trajectories", file, "--trajectories", file)


def test_vehicles_can_be_chosen(picture: Path, trained: Path, refused: Refused) -> None:
    assert drawn(picture, "vehicles", trained, *SHORT, "--only", "cav_0,cav_3")
    picture.unlink()
    mistake = refused("plot", "vehicles", trained, *SHORT, "--only", "me", "--output", picture)
    assert mistake.startswith("no vehicle is called 'me' (there are: cav_0, ")
    assert not picture.exists()


def test_learning_is_drawn_of_any_logged_column(picture: Path, trained: Path) -> None:
    assert drawn(picture, "learning", trained)
    assert drawn(picture, "learning", trained, "--metric", "kl")


def test_models_are_drawn_of_runs_that_have_one(
    tmp_path: Path,
    picture: Path,
    trained: Path,
    small: list[str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    run = tmp_path / "run"
    # Errors are measured on 50 control intervals that are held out.
    quick = ["episode.control_interval_s=0.1", "training.algorithm=dmpo"]
    quick += ["algorithms.dmpo.branches=4"]
    quick += ["algorithms.dmpo.inner_iterations=1", "algorithms.dmpo.model.max_updates=2"]
    options = [word for one in quick for word in ("--set", one)]
    output = ["--total-steps", "320", "--output", str(run)]
    assert main(["train", "ring", *small, *options, *output]) == 0
    for command in ("model-error", "horizon"):
        capfd.readouterr()
        assert drawn(picture, command, run, trained)
        note = f"note: {trained} is left out: no errors of a dynamics model are logged\n"
        assert capfd.readouterr().err == note


def test_the_graph_is_drawn_of_runs_and_of_scenarios(picture: Path, trained: Path) -> None:
    assert drawn(picture, "graph", trained, "--vehicle", "cav_3", "--hops", "1", "--time", "2")
    assert drawn(picture, "graph", "catchup", "--controller", "constant:3", "--time", "1")


def test_a_matrix_is_drawn(tmp_path: Path, picture: Path) -> None:
    short = tmp_path / "short.yaml"
    short.write_text("extends: ring\nepisode: {steps: 10}\n")
    where = ["--scenarios", str(short), "--episodes", "1", "--output", str(tmp_path / "matrix")]
    assert main(["transfer", "constant:0.5", *where]) == 0
    assert drawn(picture, "transfer", tmp_path / "matrix")


def test_several_files_sizes_and_titles(tmp_path: Path, trained: Path) -> None:
    files = [tmp_path / f"p.{ending}" for ending in ("png", "svg", "pdf")]
    words = [word for file in files for word in ("--output", str(file))]
    shape = ["--width", "2", "--height", "3", "--title", "a title"]
    assert main(["plot", "learning", str(trained), *words, *shape]) == 0
    from matplotlib.image import imread

    assert imread(files[0]).shape[:2] == (900, 600)
    assert "a title" in files[1].read_text()
    assert files[2].read_bytes().startswith(b"%PDF")


# Mistakes -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        ["time-space", "nowhere"],
        ["vehicles", "nowhere"],
        ["learning", "nowhere"],
        ["model-error", "nowhere"],
        ["horizon", "nowhere"],
        ["transfer", "nowhere"],
        ["graph", "nowhere"],
    ],
)
def test_an_unknown_suffix_is_said_before_all_else(
    tmp_path: Path, refused: Refused, words: list[str]
) -> None:
    file = tmp_path / "p.gif"
    mistake = refused("plot", *words, "--output", file)
    assert mistake == (
        f"{file}: pictures are written to files that end in .png, .pdf, .svg, not '.gif'\n"
    )
    right = refused("plot", *words, "--output", tmp_path / "p.png")
    assert "nowhere" in right
    assert list(tmp_path.iterdir()) == []


def test_runs_without_a_model_say_so(picture: Path, trained: Path, refused: Refused) -> None:
    for command in ("model-error", "horizon"):
        mistake = refused("plot", command, trained, "--output", picture)
        assert mistake.startswith(f"{trained}: no errors of a dynamics model are logged")
    assert not picture.exists()


def test_mistakes_are_named(picture: Path, trained: Path, refused: Refused) -> None:
    def of(*words: str | Path, code: int = 1) -> str:
        return refused("plot", *words, "--output", picture, code=code)

    assert "--scenario: is needed" in of("time-space", "idm")
    assert "either runs and controllers, or --trajectories" in of("time-space", code=2)
    assert "at a time" in of("vehicles", "idm", "ovm", code=2)
    assert "nobody drives on an edge 'x'" in of("time-space", trained, *SHORT, "--route", "x")
    assert "nothing is logged as 'x'" in of("learning", trained, "--metric", "x")
    assert "is given twice" in of("learning", trained, trained)
    assert "nothing there matches" in of("learning", f"{trained}/none-*")
    assert "'me' is there after 1 s" in of("graph", trained, "--vehicle", "me", "--time", "1")
    assert "the episode ends after 6 s" in of("graph", trained, "--time", "7")
    assert "the controller's" in of("time-space", trained, "--set", "graph.range_m=5")
    assert "deals the policies" in of("vehicles", "idm", "--scenario", "ring", "--assign", "slot")
    assert not picture.exists()


@pytest.mark.parametrize("command", ["time-space", "vehicles"])
@pytest.mark.parametrize(
    "option",
    [
        *(["--scenario", "ring"], ["--seed", "0"], ["--set", "graph.range_m=5"]),
        *(["--net-file", "n"], ["--osm", "n"], ["--opendrive", "n"]),
        *(["--checkpoint", "latest"], ["--assign", "slot"]),
    ],
)
def test_what_has_no_effect_on_trajectories_is_refused(
    picture: Path, refused: Refused, command: str, option: list[str]
) -> None:
    words = ["plot", command, "--trajectories", "t.csv", *option, "--output", picture]
    assert refused(*words, code=2).startswith(
        f"{option[0]} has no effect on --trajectories, which are driven already"
    )
    assert not picture.exists()


def test_what_has_no_effect_on_a_graph_is_refused(
    picture: Path, trained: Path, refused: Refused
) -> None:
    of_run = refused("plot", "graph", trained, "--controller", "idm", "--output", picture, code=2)
    assert of_run.startswith(f"--controller has no effect: the run {trained} drives")
    of_scenario = refused("plot", "graph", "ring", "--scenario", "x", "--output", picture, code=2)
    assert of_scenario.startswith("--scenario has no effect: ring is the scenario")
    assert not picture.exists()


def test_a_missing_matplotlib_is_said_first(
    picture: Path, trained: Path, refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    error = refused("plot", "time-space", trained, "--output", picture)
    assert "pip install 'trafficrl[plot]'" in error and not picture.exists()
