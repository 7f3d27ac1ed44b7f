"""``trafficrl report``: one page that needs nothing beside it and says what was measured."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from trafficrl.cli.main import main
from trafficrl.errors import CheckpointError
from trafficrl.reporting import Options, Report, as_html
from trafficrl.reporting.facts import facts_of
from trafficrl.reporting.report import TaskReport
from trafficrl.training.run_directory import RunDirectory


class Page(HTMLParser):
    """Tags with what they load, and the cells of tables."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.tags: list[str] = []
        self.cells: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag in {"td", "th"}:
            self.cells.append("")
        self.loads += [
            str(value) for name, value in attributes if name in {"src", "href", "srcset", "data"}
        ]

    def handle_endtag(self, tag: str) -> None:
        self.tags.append(f"/{tag}")

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] in {"td", "th"}:
            self.cells[-1] += data


@pytest.fixture(scope="module")
def written(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of one run whose description is no honest text."""
    run = tmp_path_factory.mktemp("report") / "run"
    shutil.copytree(trained, run)
    scenario = run / "scenario.yaml"
    text = re.sub("description: .*", "description: <script>alert(1)</script>", scenario.read_text())
    scenario.write_text(text)
    path = run.parent / "report.html"
    options = ["--episodes", "2", "--controller", "constant:0", "--no-clip"]
    assert main(["report", str(run), *options, "--output", str(path)]) == 0
    return path


def test_everything_is_within_the_page(written: Path) -> None:
    page = Page(written)
    assert page.loads and all(load.startswith("data:") for load in page.loads)
    assert "link" not in page.tags and "url(" not in written.read_text()


def test_texts_of_others_are_shown_and_not_run(written: Path) -> None:
    assert "script" not in Page(written).tags
    assert "&lt;script&gt;alert(1)" in written.read_text()


def test_the_tables_are_those_of_compare(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(written.parent / "run")
    assert main(["compare", run, "constant:0", "--episodes", "2"]) == 0
    shown = [
        cell
        for line in capsys.readouterr().out.splitlines()[1:]
        for cell in re.split(r"  +", line.strip())
        if cell and not cell.startswith("ring:")
    ]
    assert len(shown) > 20
    assert set(shown) <= set(Page(written).cells)


def test_versions_settings_and_command_are_there(written: Path) -> None:
    text = written.read_text()
    assert "libsumo 1.28" in text and "rollout_steps: 40" in text and "320" in text
    assert "No clip was asked for." in text


@pytest.mark.skipif(shutil.which("Xvfb") is None, reason="Xvfb is not installed")
def test_a_clip_is_embedded(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    path = tmp_path / "report.html"
    options = ["--episodes", "1", "--controller", "idm", "--output", str(path)]
    assert main(["report", str(trained), *options]) == 0
    assert any(load.startswith("data:video/mp4;base64,AAAA") for load in Page(path).loads)


def test_a_run_without_an_update_leaves_no_page(
    refused: Callable[..., str], trained: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    (run / "timing.jsonl").unlink()
    output = tmp_path / "report.html"
    message = refused("report", run, "--output", output)
    assert message == f"{run}/timing.jsonl: nothing has been logged yet\n"
    with open(run / "timing.jsonl", "w") as file:
        file.write('{"iteration": 1, "sim_\n')
    message = refused("report", run, "--output", output)
    assert message.startswith(f"{run}/timing.jsonl: not readable (")
    assert not output.exists()


def test_another_suffix_is_refused(refused: Callable[..., str], trained: Path) -> None:
    assert "an .html file" in refused("report", trained, "--output", "a.pdf", code=2)


def test_where_a_run_comes_from_is_told_with_all_its_sessions(
    trained: Path, tmp_path: Path
) -> None:
    """Those are named that went on with other sources or versions."""
    run = RunDirectory(tmp_path / "run")
    shutil.copytree(trained, run.path)
    began = {**run.info(), "git_revision": "0123456789abcdef", "git_changed_files": 0}
    torch = began["versions"]["torch"]
    same = {**began, "at_sim_steps": 80}
    other = {**same, "at_sim_steps": 160, "git_revision": "fedcba", "git_changed_files": 2}
    newer = {**same, "at_sim_steps": 240, "versions": {**began["versions"], "torch": "9.9"}}
    for change, revision, resumed in (
        ({"git_revision": None}, "outside a checkout", []),
        ({"git_changed_files": 3}, "0123456789ab, 3 files changed", []),
        ({"resumed": [same]}, "0123456789ab", []),
        (
            {"resumed": [same, other, newer]},
            "0123456789ab",
            [
                "from step 160 with git_revision fedcba (was 0123456789abcdef), 2 files changed",
                f"from step 240 with torch 9.9 (was {torch})",
            ],
        ),
    ):
        run.info_file.write_text(json.dumps({**began, **change}))
        facts = facts_of(run)
        assert (facts.short_revision, facts.resumed) == (revision, resumed)
        page = as_html(Report([TaskReport(run.scenario(), [facts], [])], Options(), []))
        assert all(text in page for text in (revision, *resumed))
    run.info_file.write_text('{"resumed": [1]}')
    with pytest.raises(CheckpointError, match="resumed should be a list of mappings"):
        facts_of(run)
