"""Checkpoint files: whole, plain, and refused in one line otherwise."""

from __future__ import annotations

import hashlib
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trafficrl.errors import CheckpointError
from trafficrl.training.checkpoint import load_checkpoint, save_checkpoint

CONTENT = {
    "weights": {"net.0": torch.arange(6.0).view(2, 3)},
    "rng": np.random.default_rng(3).bit_generator.state,
    "generator": torch.Generator().manual_seed(3).get_state(),
    "actions": None,
    "best": float("-inf"),
    "steps": 7,
}


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "a.pt", CONTENT)
    loaded = load_checkpoint(tmp_path / "a.pt")
    assert torch.equal(loaded["weights"]["net.0"], CONTENT["weights"]["net.0"])
    assert torch.equal(loaded["generator"], CONTENT["generator"])
    assert {key: loaded[key] for key in ("rng", "actions", "best", "steps")} == {
        key: CONTENT[key] for key in ("rng", "actions", "best", "steps")
    }
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.pt").endswith("no such checkpoint")
    assert "not a readable checkpoint" in refusal(tmp_path)


def test_a_truncated_file_is_refused_wherever_it_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    save_checkpoint(path, CONTENT)
    whole = path.read_bytes()
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        refusal(path)


def test_a_file_with_one_bit_changed_is_refused_wherever_that_is(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    save_checkpoint(path, CONTENT)
    whole = path.read_bytes()
    for place in range(0, len(whole), 13):
        changed = bytearray(whole)
        changed[place] ^= 1 << place % 8
        path.write_bytes(changed)
        refusal(path)


def test_the_checksum_is_that_of_the_file_that_torch_made(tmp_path: Path) -> None:
    """As docs/reliability.md checks it by hand, and torch reads it without us."""
    path = tmp_path / "a.pt"
    save_checkpoint(path, CONTENT)
    body, last = path.read_bytes().rsplit(b"\n", 2)[:2]
    assert last.decode() == f"sha256 {hashlib.sha256(body).hexdigest()}"
    assert torch.load(path, weights_only=True)["steps"] == 7


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello\nworld\n",
        b"PK\x03\x04",
        b"(.",
        b".",
        bytes(range(256)),
        pickle.dumps({"format": 1, "weights": 1}, protocol=0)[:-3],
        pickle.dumps(CheckpointError("x")),
    ],
    ids=lambda data: repr(data[:12]),
)
def test_a_foreign_file_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(data)
    refusal(path)


@pytest.mark.parametrize("content", [{"weights": 1}, {"format": 0}, {"format": "1"}, [1], 3])
def test_a_file_of_another_program_or_version_is_refused(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "a.pt")
    assert "not a checkpoint of this version of trafficrl" in refusal(tmp_path / "a.pt")


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_does_not_run(tmp_path: Path, zipped: bool) -> None:
    path, trap = tmp_path / "a.pt", tmp_path / "sprung"
    torch.save({"format": 1, "weights": Trap(trap)}, path, _use_new_zipfile_serialization=zipped)
    refusal(path)
    assert not trap.exists()
    with open(path, "wb") as file:
        pickle.dump(Trap(trap), file)
    refusal(path)
    assert not trap.exists()


@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_an_interrupted_save_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    path = tmp_path / "a.pt"
    save_checkpoint(path, {"steps": 1})

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    content: dict[str, Any] = {"steps": 2}
    if moment == "write":
        content["weights"] = lambda: None  # cannot be pickled
    else:
        monkeypatch.setattr(os, moment, fail)
    with pytest.raises((KeyboardInterrupt, AttributeError, pickle.PicklingError)):
        save_checkpoint(path, content)
    monkeypatch.undo()
    assert load_checkpoint(path)["steps"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["a.pt"]


def test_saving_leaves_the_generators_as_they_are(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    save_checkpoint(tmp_path / "a.pt", {"generator": generator.get_state()})
    restored = torch.Generator()
    restored.set_state(load_checkpoint(tmp_path / "a.pt")["generator"])
    assert torch.equal(torch.rand(5, generator=generator), torch.rand(5, generator=restored))
