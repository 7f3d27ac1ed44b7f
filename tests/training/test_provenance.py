"""What made a run is said of the sources that run, and of no others."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from trafficrl.training import versions as module
from trafficrl.training.provenance import provenance


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=me", "-c", "user.email=me@example.org"]
    done = subprocess.run(
        ["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("tracked", [True, False])
def test_the_revision_is_of_a_checkout_that_tracks_the_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracked: bool
) -> None:
    """Not of one that has them in an ignored folder, such as its .venv."""
    installed = tmp_path / ".venv" / "versions.py"
    installed.parent.mkdir()
    installed.write_text("")
    (tmp_path / ".gitignore").write_text(".venv\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".gitignore", *(["-f", str(installed)] if tracked else []))
    git(tmp_path, "commit", "-q", "-m", "theirs")
    (tmp_path / ".gitignore").write_text(".venv\n*.log\n")
    monkeypatch.setattr(module, "__file__", str(installed))
    said = provenance()
    revision = git(tmp_path, "rev-parse", "HEAD")
    expected = (revision, 1) if tracked else (None, None)
    assert (said["git_revision"], said["git_changed_files"]) == expected
