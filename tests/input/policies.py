"""Exporting and deploying what cannot be."""

from __future__ import annotations

import io
import os
from typing import Any

import torch

from .cases import Case, Prepare
from .checkpoints import BYTES, Trap

DEPLOY = "deploy {} --port 1 --wait 0"  # nobody listens there


def holds(content: bytes, name: str = "p.pt") -> Prepare:
    return lambda folder: (folder / name).write_bytes(content)


def saved(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def deploy(name: str, says: str, content: bytes) -> Case:
    return Case(f"deploy {name}", DEPLOY.format("p.pt"), says, holds(content))


CASES = [
    *(deploy(name, "p.pt: not an exported policy", content) for name, content in BYTES),
    deploy(
        "code among weights",
        "p.pt: not an exported policy (it holds other things",
        saved({"card": Trap(), "weights": {}}),
    ),
    deploy(
        "code in weights",
        "p.pt: not an exported policy (it holds other things",
        saved({"card": "{}", "weights": {"policy": Trap()}}),
    ),
    deploy("a checkpoint", "p.pt: not an exported policy", saved({"format": 3, "learner": {}})),
    deploy("a tensor", "p.pt: not an exported policy", saved(torch.ones(3))),
    deploy("a card of text", "p.pt", saved({"card": "hello", "weights": {}})),
    deploy("a card of nothing", "p.pt", saved({"card": None, "weights": {}})),
    deploy("an empty card", "p.pt", saved({"card": "{}", "weights": {}})),
    deploy("a deep card", "p.pt", saved({"card": "[" * 100_000, "weights": {}})),
    deploy("a list for a card", "p.pt", saved({"card": "[1]", "weights": {}})),
    Case(
        "deploy a trained run's checkpoint",
        DEPLOY.format("run/best.pt"),
        "run/best.pt: not an exported policy",
    ),
    Case("deploy nothing", DEPLOY.format("nowhere"), "nowhere"),
    Case("deploy no name", DEPLOY.format("''"), "neither a"),
    Case(
        "deploy a directory",
        DEPLOY.format("d"),
        "d: not a run directory",
        lambda f: (f / "d").mkdir(),
    ),
    Case("deploy a pipe", DEPLOY.format("p.pt"), "p.pt", lambda f: os.mkfifo(f / "p.pt")),
    Case("deploy /dev/zero", DEPLOY.format("/dev/zero"), "not a regular file"),
    Case("deploy a constant of no number", DEPLOY.format("constant:nan"), "constant:nan"),
    Case(
        "deploy a parameter of no number", DEPLOY.format("idm:noise=nan"), "'nan' is not a number"
    ),
    Case("nobody listens", DEPLOY.format("idm"), "no SUMO there"),
    Case("an unknown host", "deploy idm --host nowhere.invalid --wait 0", "nowhere.invalid"),
    Case("an empty host", "deploy idm --host '' --port 1 --wait 0", "1"),
    Case(
        "a host of any kind",
        "deploy idm --host '\u202e \x1b[31m' --port 1 --wait 0",
        "not a host name",
    ),
    *(
        Case(f"port {value}", f"deploy idm --port '{value}'", "Invalid value for '--port'", code=2)
        for value in ("", "0", "-1", "65536", "x", "1e3", "nan")
    ),
    *(
        Case(
            f"wait {value}",
            f"deploy idm --port 1 --wait '{value}'",
            "Invalid value for '--wait'",
            code=2,
        )
        for value in ("", "-1", "x", "nan", "inf")
    ),
    *(
        Case(
            f"steps {value}",
            f"deploy idm --port 1 --steps '{value}'",
            "Invalid value for '--steps'",
            code=2,
        )
        for value in ("0", "-1", "1e3", "nan")
    ),
    Case(
        "a speed mode that is none",
        "deploy idm --port 1 --speed-mode 128",
        "Invalid value for '--speed-mode'",
        code=2,
    ),
    Case("nobody named", "deploy", "Missing argument 'RUN'", code=2),
    Case("export nothing", "export", "Missing argument 'RUN'", code=2),
    Case("export without a file", "export run", "Missing option '--output'", code=2),
    Case(
        "export to a directory",
        "export run --output d",
        "'d' is a directory",
        lambda f: (f / "d").mkdir(),
        code=2,
    ),
    Case(
        "export below a file",
        "export run --output f/x.pt",
        "cannot be written",
        lambda f: (f / "f").write_text("x"),
    ),
    Case("export below nothing", "export run --output none/x.pt", "cannot be written"),
    Case("export nowhere", "export nowhere --output x.pt", "nowhere: no such run directory"),
    Case("export a controller", "export idm --output x.pt", "idm: no such run directory"),
    Case(
        "export an unknown format",
        "export run --format jit --output x.pt",
        "'jit' is not one of",
        code=2,
    ),
    Case(
        "export a damaged run",
        "export run --output x.pt",
        "best.pt: not a readable",
        lambda f: (f / "run/best.pt").write_bytes(b"x"),
    ),
    Case(
        "export a run without checkpoints",
        "export run --output x.pt",
        "best.pt: no such checkpoint",
        lambda f: (f / "run/best.pt").unlink(),
    ),
]
