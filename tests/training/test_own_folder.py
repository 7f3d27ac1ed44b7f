"""What killed processes leave in the machine's folder for temporary files does not stay."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from trafficrl.training.own_folder import OwnFolder


def test_folders_of_killed_processes_are_removed_by_the_next_and_others_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    code = (
        "from trafficrl.training.own_folder import OwnFolder\n"
        "folder = OwnFolder()\n"
        "(folder.path / 'net.xml').touch()\n"
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=False)
    [left] = tmp_path.iterdir()
    first, second = OwnFolder(), OwnFolder()
    assert not left.exists()
    assert sorted(tmp_path.iterdir()) == sorted([first.path, second.path])
    for one in (first, second):
        (one.path / "net.xml").touch()
        one.remove()
    assert not list(tmp_path.iterdir())
