"""Checkpoints that are damaged, of something else, or hostile."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from trafficrl.training.checkpoint import load_checkpoint, save_checkpoint

from .cases import Case, Prepare

EVALUATE, RESUME = "evaluate run --episodes 1", "train --resume run"


class Trap:
    """Makes a folder where it is unpickled, which is a change that no case may make."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("sprung",)


class Exec:
    """The same by way of Python source."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("import os; os.mkdir('sprung')",)


def data(content: bytes) -> Prepare:
    """The best checkpoint and the latest are these bytes."""

    def prepare(folder: Path) -> None:
        for path in (folder / "run").glob("*.pt"):
            path.write_bytes(content)

    return prepare


def damaged(change: Callable[[bytearray], bytes | bytearray]) -> Prepare:
    """All checkpoints with a change in their bytes."""

    def prepare(folder: Path) -> None:
        for path in (folder / "run").glob("*.pt"):
            path.write_bytes(change(bytearray(path.read_bytes())))

    return prepare


def saved(content: Any, **options: Any) -> Prepare:
    """All checkpoints hold what ``torch.save`` makes of this."""

    def prepare(folder: Path) -> None:
        for path in (folder / "run").glob("*.pt"):
            torch.save(content, path, **options)

    return prepare


def changed(change: Callable[[dict[str, Any]], object]) -> Prepare:
    """All checkpoints are whole, with a checksum, and say something else."""

    def prepare(folder: Path) -> None:
        for path in (folder / "run").glob("*.pt"):
            content = load_checkpoint(path)
            change(content)
            content.pop("format", None)
            save_checkpoint(path, content)

    return prepare


def each_weight(change: Callable[[torch.Tensor], torch.Tensor]) -> Prepare:
    """Every tensor of what was learned is another one."""

    def altered(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return change(value)
        if isinstance(value, dict):
            return {key: altered(one) for key, one in value.items()}
        return [altered(one) for one in value] if isinstance(value, list) else value

    return changed(
        lambda content: content.update({learned(content): altered(content[learned(content)])})
    )


def learned(content: dict[str, Any]) -> str:
    """The key of what was learned: the best policies stand alone."""
    return "policies" if "policies" in content else "learner"


def instead(weights: Any) -> Prepare:
    """Something else in place of what was learned."""
    return changed(lambda content: content.update({learned(content): weights}))


def flipped(place: float) -> Prepare:
    def change(content: bytearray) -> bytearray:
        content[int(place * len(content))] ^= 0xFF
        return content

    return damaged(change)


def bomb(folder: Path) -> None:
    """A small zip file that holds a pickle of 256 MB of zeros."""
    for path in (folder / "run").glob("*.pt"):
        with (
            zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file,
            file.open("archive/data.pkl", "w", force_zip64=True) as member,
        ):
            for _ in range(256):
                member.write(bytes(2**20))


def whole_pickle(content: Any, protocol: int = 2) -> bytes:
    return pickle.dumps(content, protocol)


BYTES: list[tuple[str, bytes]] = [
    ("empty", b""),
    ("a byte", b"\0"),
    ("zeros", bytes(5000)),
    ("text", b"weights: 1\n"),
    ("every byte", bytes(range(256)) * 20),
    ("a zip file that ends at once", b"PK\x03\x04"),
    ("an empty zip file", b"PK\x05\x06" + bytes(18)),
    ("a pickle", whole_pickle({"weights": [1.0, 2.0]})),
    ("a pickle with code", whole_pickle(Trap())),
    ("a pickle with source", whole_pickle(Exec(), 0)),
    ("a pickle with code of the newest protocol", whole_pickle({"learner": Trap()}, 5)),
    ("a pickle that names a function", b"cos\nsystem\n(S'mkdir sprung'\ntR."),
    ("a pickle without end", b"(" * 5000),
    ("a page", b"<html><body>404</body></html>"),
    ("JSON", b'{"format": 2}'),
    ("an array of NumPy's", b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False}\n"),
]


def both(name: str, says: str, prepare: Prepare) -> list[Case]:
    """Evaluated and resumed."""
    return [
        Case(f"{name}: {command.split()[0]}", command, says, prepare)
        for command in (EVALUATE, RESUME)
    ]


CASES = [
    *(case for name, content in BYTES for case in both(name, ".pt: ", data(content))),
    *both("cut in half", ".pt: not a readable", damaged(lambda c: c[: len(c) // 2])),
    *both("without its last byte", ".pt: not a readable", damaged(lambda c: c[:-1])),
    *both("with a line more", ".pt: not a readable", damaged(lambda c: c + b"\n")),
    *(
        case
        for at in (0.0, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.999)
        for case in both(f"a byte turned at {at:g}", ".pt: not a", flipped(at))
    ),
    *both("a zip bomb", ".pt: not a", bomb),
    *both("code among tensors", ".pt: not a", saved({"format": 2, "learner": Trap()})),
    *both(
        "code in the old format",
        ".pt: not a",
        saved({"format": 2, "learner": Trap()}, _use_new_zipfile_serialization=False),
    ),
    *both("a whole module", ".pt: not a", saved(torch.nn.Linear(2, 2))),
    *both("a tensor alone", "not a checkpoint of this version", saved(torch.ones(3))),
    *both("a list", "not a checkpoint of this version", saved([1, 2])),
    *both("of another program", "not a checkpoint of this version", saved({"state_dict": {}})),
    *both("of a later version", "not a checkpoint of this version", saved({"format": 99})),
    *both("a format of text", "not a checkpoint of this version", saved({"format": "2"})),
    *both("nothing but a format", ".pt: ", saved({"format": 2})),
    *both("without weights", ".pt: does not fit", changed(lambda c: c.pop(learned(c)))),
    *both("weights of text", ".pt: does not fit", instead("weights")),
    *both("weights of nothing", ".pt: does not fit", instead(None)),
    *both("no weights in it", ".pt: does not fit", instead({})),
    *both(
        "one vehicle more",
        ".pt: does not fit",
        each_weight(lambda t: torch.cat([t, t[:1]]) if t.ndim else t),
    ),
    *both(
        "transposed",
        ".pt: does not fit",
        each_weight(lambda t: t.transpose(0, -1).contiguous() if t.ndim else t),
    ),
    *both("scalars", ".pt: does not fit", each_weight(lambda t: torch.tensor(1.0))),
    *both(
        "not a number",
        "of the learner is nan",
        each_weight(lambda t: t * float("nan") if t.is_floating_point() else t),
    ),
    Case("no algorithm", EVALUATE, "unknown algorithm None", changed(lambda c: c.pop("algorithm"))),
    Case(
        "another algorithm",
        EVALUATE,
        ".pt: does not fit",
        changed(lambda c: c.update(algorithm="dsac")),
    ),
    Case(
        "an unknown algorithm",
        EVALUATE,
        "unknown algorithm 'ddpg'",
        changed(lambda c: c.update(algorithm="ddpg")),
    ),
    Case(
        "a list of algorithms",
        EVALUATE,
        "unknown algorithm",
        changed(lambda c: c.update(algorithm=["dppo"])),
    ),
    Case("no widths", EVALUATE, ".pt: does not fit", changed(lambda c: c.pop("widths"))),
    Case("widths of text", EVALUATE, ".pt: does not fit", changed(lambda c: c.update(widths="ab"))),
    Case(
        "widths below 0",
        EVALUATE,
        ".pt: does not fit",
        changed(lambda c: c.update(widths=[-1, -1])),
    ),
    Case(
        "huge widths",
        EVALUATE,
        ".pt: does not fit",
        changed(lambda c: c.update(widths=[10**12, 10**12])),
    ),
    Case("no collector", RESUME, ".pt: does not fit", changed(lambda c: c.pop("collectors"))),
    Case(
        "a collector of text",
        RESUME,
        ".pt: does not fit",
        changed(lambda c: c.update(collectors="x")),
    ),
    Case(
        "an empty collector",
        RESUME,
        ".pt: does not fit",
        changed(lambda c: c.update(collectors=[{}])),
    ),
    Case("no streams", RESUME, ".pt: does not fit", changed(lambda c: c.pop("streams"))),
    Case(
        "streams of text",
        RESUME,
        ".pt: does not fit",
        changed(lambda c: c.update(streams={"actions": "x"})),
    ),
    Case(
        "steps of text", RESUME, ".pt: does not fit", changed(lambda c: c.update(sim_steps="many"))
    ),
    Case("steps below 0", RESUME, ".pt: does not fit", changed(lambda c: c.update(sim_steps=-5))),
    Case(
        "an iteration of text",
        RESUME,
        ".pt: does not fit",
        changed(lambda c: c.update(iteration="one")),
    ),
    Case("a best of text", RESUME, ".pt: does not fit", changed(lambda c: c.update(best="good"))),
    Case(
        "a directory",
        EVALUATE,
        "best.pt: ",
        lambda f: ((f / "run/best.pt").unlink(), (f / "run/best.pt").mkdir()),
    ),
    Case(
        "a link to itself",
        EVALUATE,
        "best.pt: ",
        lambda f: ((f / "run/best.pt").unlink(), (f / "run/best.pt").symlink_to("best.pt")),
    ),
    Case(
        "a pipe",
        EVALUATE,
        "not a regular file",
        lambda f: ((f / "run/best.pt").unlink(), os.mkfifo(f / "run/best.pt")),
    ),
    Case("none", EVALUATE, "best.pt: no such checkpoint", lambda f: (f / "run/best.pt").unlink()),
]
