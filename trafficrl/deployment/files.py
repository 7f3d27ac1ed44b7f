"""Policies in files that hold no code: weights of torch, or a graph of ONNX.

The torch file is a mapping of plain containers, read with ``weights_only``: ``card`` is JSON,
``weights`` has the tensors of each part that acts. A program of torch.export would load without
this package, but reading one evaluates strings from the file; for that there is ONNX.
"""

from __future__ import annotations

import io
import json
import logging
import pickle
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray

from trafficrl.deployment.backends import Network, OnnxNetwork, TorchNetwork
from trafficrl.deployment.card import CHOICE, PolicyCard, read_card
from trafficrl.deployment.network import PolicyNetwork
from trafficrl.deployment.policy import Policy
from trafficrl.errors import CheckpointError, TrafficRLError
from trafficrl.graph import Neighbourhood
from trafficrl.training.trained import TrainedPolicies, fresh_algorithm

FLEETS = (1, 2, 3, 8, 22, 60)  # vehicles of a check
ROUNDS = 10  # of each, one step after the other
TOLERANCE = 1e-4  # in units of the action, of a difference that rounding can explain
ZIP = b"PK"  # how a torch file begins
ONNX = b"\x08"  # how a graph of ONNX does, by the number of its format


@dataclass(frozen=True)
class Check:
    """How an exported policy compares with the original on random input."""

    vehicles: int  # that decided
    difference: float  # largest, in units of the action; of choices how many differ

    @property
    def passed(self) -> bool:
        """Whether both are the same but for rounding."""
        return self.difference <= TOLERANCE


def export_policy(policy: Policy, stream: IO[bytes], format: str) -> Check:
    """Write a policy that was loaded from a run, once it has been checked; see ``FORMATS``.

    ``TrafficRLError`` where a package is missing, or the exported policy differs.
    """
    assert isinstance(policy.network, TorchNetwork), "of a run"
    content, exported = FORMATS[format](policy.card, policy.network.trained)
    check = compare(policy.card, policy.network, exported)
    if not check.passed:
        raise TrafficRLError(
            f"the exported policy differs from the original by {check.difference:.2g} "
            f"{policy.card.action_unit} on random input: nothing is written"
        )
    stream.write(content)
    return check


def read_policy(path: Path) -> tuple[PolicyCard, Network]:
    """A policy that was exported; ``CheckpointError`` where the file holds none."""
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise CheckpointError(f"{path}: not an exported policy (not a regular file)")
        content = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from None
    for begin, read in {ZIP: _read_torch, ONNX: _read_onnx}.items():
        if content.startswith(begin):
            return read(content, path)
    raise CheckpointError(f"{path}: not an exported policy (`trafficrl export RUN` writes one)")


def compare(card: PolicyCard, original: Network, other: Network) -> Check:
    """Both on the same random vehicles, which hear and remember at random."""
    rng = np.random.default_rng(0)
    offset, scale = (
        np.array([getattr(item, name) for item in card.observation]) for name in ("offset", "scale")
    )
    vehicles, difference = 0, 0.0
    for n in FLEETS:
        memory = np.zeros((n, card.memory_width), dtype=np.float32)
        for _ in range(ROUNDS):
            raw = offset + 3.0 * scale * rng.standard_normal((n, len(card.observation)))
            slots = rng.integers(-1, n, (n, card.width))
            slots[:, 0] = own = np.arange(n)
            hood = Neighbourhood(np.where(slots >= 0, slots, own[:, None]), slots >= 0)
            dealt = rng.integers(0, card.policies, n)
            (action, kept), (got, remembered) = (
                network.act(raw, hood, memory, dealt) for network in (original, other)
            )
            if card.action_unit == CHOICE:
                difference += float((action != got).sum())
            else:
                difference = _larger(difference, np.abs(action - got))
            difference = _larger(difference, np.abs(kept - remembered))
            memory, vehicles = kept, vehicles + n
    return Check(vehicles, difference)


def _larger(so_far: float, differences: NDArray[Any]) -> float:
    """The largest, NaN where one is; ``max`` leaves NaN out."""
    return float(differences.max(initial=so_far))


# Torch ------------------------------------------------------------------------


def _torch_file(card: PolicyCard, trained: TrainedPolicies) -> tuple[bytes, Network]:
    weights = {name: dict(part.state_dict()) for name, part in trained.all.acting_parts.items()}
    stream = io.BytesIO()
    torch.save({"card": card.dump(), "weights": weights}, stream)
    return stream.getvalue(), _read_torch(stream.getvalue(), Path("the exported policy"))[1]


def _read_torch(content: bytes, path: Path) -> tuple[PolicyCard, Network]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the error that follows says more
            found = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        if not isinstance(found, dict):
            raise ValueError("it is no mapping")
        card = read_card(found["card"], path)
        trained = _rebuilt(card, found["weights"])
    except CheckpointError:
        raise
    except Exception as error:  # of a damaged file, torch lets through nearly any
        reason = str(error).partition("\n")[0] or type(error).__name__
        if isinstance(error, pickle.UnpicklingError):
            reason = "it holds other things than weights"
        raise CheckpointError(f"{path}: not an exported policy ({reason})") from None
    return card, TorchNetwork(card, trained)


def _rebuilt(card: PolicyCard, weights: Mapping[str, Any]) -> TrainedPolicies:
    widths = (card.width, card.width)
    algorithm = fresh_algorithm(
        card.algorithm,
        card.learner_settings(),
        card.observation,
        card.action,
        card.policies,
        widths,
    )
    trained = TrainedPolicies(algorithm, card.policies, card.width)
    trained.all.take_weights(weights)
    return trained


# ONNX -------------------------------------------------------------------------


def _onnx_file(card: PolicyCard, trained: TrainedPolicies) -> tuple[bytes, Network]:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        _needed(package)
    network = PolicyNetwork(card, trained.all).eval()
    model = _onnx_model(network, card)
    for name, value in card.model_dump(mode="json").items():
        model.metadata_props.add(key=name, value=json.dumps(value))
    for value in (*model.graph.input, *model.graph.output):
        value.doc_string = _MEANINGS[value.name].format(action=card.action_meaning)
    content: bytes = model.SerializeToString()
    return content, OnnxNetwork(_session(content))


def _onnx_model(network: PolicyNetwork, card: PolicyCard) -> Any:
    """The network as a model of ONNX, for any number of vehicles."""
    n, hears = 3, (3, card.width)
    examples = {
        "features": torch.zeros(n, len(card.observation)),
        "neighbours": torch.zeros(hears, dtype=torch.int64),
        "present": torch.ones(hears, dtype=torch.bool),
        "memory": torch.zeros(n, card.memory_width),
        "policy": torch.zeros(n, dtype=torch.int64),
    }
    vehicles = torch.export.Dim("vehicles", min=1)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            network,
            tuple(examples[name] for name in network.inputs),
            dynamo=True,
            dynamic_shapes=(tuple({0: vehicles} for _ in network.inputs),),
            input_names=network.inputs,
            output_names=network.outputs,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _forget_the_source(model.graph)
    for function in model.functions:
        _forget_the_source(function)
    return model


def _forget_the_source(graph: Any) -> None:
    """Take out what the exporter notes of where in our source each node comes from."""
    for part in (*graph.node, *graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def _read_onnx(content: bytes, path: Path) -> tuple[PolicyCard, Network]:
    try:
        session = _session(content)
        found = session.get_modelmeta().custom_metadata_map
        text = json.dumps({name: json.loads(value) for name, value in found.items()})
    except TrafficRLError:
        raise
    except Exception as error:  # onnxruntime's own
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path}: not an exported policy ({reason})") from None
    return read_card(text, path), OnnxNetwork(session)


def _session(content: bytes) -> Any:
    runtime = _needed("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors come as exceptions
    return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _needed(package: str) -> Any:
    try:
        return import_module(package)
    except ImportError:
        raise TrafficRLError(
            f"ONNX files need {package} (pip install 'trafficrl[onnx]', or use --format torch)"
        ) from None


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks on packages that it could also export."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


_MEANINGS = {
    "features": "raw values in SI units, in the order of the metadata's observation, (vehicles, O)",
    "neighbours": "vehicles in the places of the metadata's neighbours, by index, (vehicles, K)",
    "present": "whether there is one in that place, (vehicles, K)",
    "memory": "what next_memory was in the last control interval; 0 for a new vehicle",
    "policy": "index of each vehicle's policy",
    "action": "{action}",
    "next_memory": "to be given back as memory in the next control interval",
}
FORMATS: dict[str, Callable[[PolicyCard, TrainedPolicies], tuple[bytes, Network]]] = {
    "torch": _torch_file,
    "onnx": _onnx_file,
}
