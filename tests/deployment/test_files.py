"""Exported policies: the same actions, no code in the file, and all that one needs to know."""

from __future__ import annotations

import io
import json
import pickle
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnxruntime
import pytest
import torch

from trafficrl import load_policy
from trafficrl.algorithms import ALGORITHMS
from trafficrl.deployment.card import PolicyCard, make_card, read_card
from trafficrl.deployment.files import FORMATS, compare, export_policy
from trafficrl.deployment.policy import Policy
from trafficrl.errors import CheckpointError, TrafficRLError
from trafficrl.training.run_directory import RunDirectory

SOME = [("ic3net", False, "ring"), ("dsac", True, "catchup")]
MANY = [
    *((algorithm, shared, "ring") for algorithm in sorted(ALGORITHMS) for shared in (True, False)),
    ("dsac", True, "catchup"),
    ("dppo", False, "paper/ring_dppo"),  # laps as angles
]


def exported(policy: Policy, path: Path, format: str) -> Policy:
    with path.open("wb") as stream:
        check = export_policy(policy, stream, format)
    assert check.vehicles == 960 and check.difference <= (0 if format == "torch" else 1e-5)
    return load_policy(path)


def the_same(original: Policy, other: Policy) -> None:
    assert other.card == original.card
    assert compare(original.card, original.network, other.network).passed
    wanted = [one.feature for one in original.features]
    raw = np.random.default_rng(1).uniform(0.0, 10.0, (9, len(wanted)))
    leader = [-1, 0, 1, 2, -1, 4, 5, 6, 7]
    for _ in range(5):
        values = [policy.act(raw, leader).values for policy in (original, other)]
        np.testing.assert_allclose(*values, atol=1e-5)


@pytest.fixture(scope="module")
def files(trained, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same shared policy in each format."""
    folder = tmp_path_factory.mktemp("files")
    policy = load_policy(trained("dppo", True), "latest")
    for format in FORMATS:
        exported(policy, folder / format, format)
    return {format: folder / format for format in FORMATS}


@pytest.mark.parametrize(("algorithm", "shared", "scenario"), MANY)
def test_weights_act_as_the_run(trained, tmp_path, algorithm, shared, scenario) -> None:
    policy = load_policy(trained(algorithm, shared, scenario), "latest")
    the_same(policy, exported(policy, tmp_path / "policy.pt", "torch"))


def test_a_graph_of_a_shared_policy_acts_as_the_run(trained, files) -> None:
    the_same(load_policy(trained("dppo", True), "latest"), load_policy(files["onnx"]))


@pytest.mark.parametrize(("algorithm", "shared", "scenario"), SOME)
def test_a_graph_acts_as_the_run(trained, tmp_path, algorithm, shared, scenario) -> None:
    policy = load_policy(trained(algorithm, shared, scenario), "latest")
    the_same(policy, exported(policy, tmp_path / "policy.onnx", "onnx"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("algorithm", "shared", "scenario"), [one for one in MANY if one not in SOME]
)
def test_every_graph_acts_as_the_run(trained, tmp_path, algorithm, shared, scenario) -> None:
    policy = load_policy(trained(algorithm, shared, scenario), "latest")
    the_same(policy, exported(policy, tmp_path / "policy.onnx", "onnx"))


def test_a_graph_needs_nothing_but_what_its_metadata_say(trained, files) -> None:
    """Whoever has a runtime and raw values in SI units gets m/s2, for any number of vehicles."""
    policy = load_policy(trained("dppo", True), "latest")
    session = onnxruntime.InferenceSession(files["onnx"])
    told = {
        name: json.loads(value)
        for name, value in session.get_modelmeta().custom_metadata_map.items()
    }
    assert [(one["feature"], one["unit"]) for one in told["observation"]] == [
        ("speed", "m/s"),
        ("headway", "m"),
        ("acceleration", "m/s2"),
    ]
    assert (told["action_unit"], told["control_interval_s"], told["policies"]) == ("m/s2", 0.5, 1)
    assert told["neighbours"] == ["the vehicle itself", "its leader", "its follower"]
    assert [one.name for one in session.get_inputs()] == ["features", "neighbours", "present"]

    raw = np.array([[4.0, 9.0, 0.1], [5.0, 6.0, 0.0], [4.5, 7.0, -0.2]], dtype=np.float32)
    neighbours = np.array([[0, 0, 1], [1, 0, 2], [2, 1, 2]])
    present = np.array([[1, 0, 1], [1, 1, 1], [1, 1, 0]], dtype=bool)
    given = {"features": raw, "neighbours": neighbours, "present": present}
    (action,) = session.run(["action"], given)
    np.testing.assert_allclose(action[:, 0], policy.act(raw, [-1, 0, 1]).values, atol=1e-6)


def test_no_file_says_where_it_was_made(files) -> None:
    for path in files.values():
        content = path.read_bytes()
        assert b".py" not in content and str(Path(__file__).parents[2]).encode() not in content


def test_a_difference_is_found_and_nothing_is_written(trained, monkeypatch) -> None:
    policy = load_policy(trained("dppo", True), "latest")
    content, other = FORMATS["torch"](policy.card, policy.network.trained)
    last = list(other.trained.all.acting_parts["policy"].parameters())[-1]
    last.data += 0.01
    assert not compare(policy.card, policy.network, other).passed
    monkeypatch.setitem(FORMATS, "torch", lambda card, trained: (content, other))
    stream = io.BytesIO()
    with pytest.raises(TrafficRLError, match=r"differs from the original by .* nothing is written"):
        export_policy(policy, stream, "torch")
    assert stream.getvalue() == b""


@pytest.mark.parametrize("algorithm", ["dppo", "ic3net"])
def test_what_is_not_a_number_is_a_difference(trained, monkeypatch, algorithm: str) -> None:
    policy = load_policy(trained(algorithm, True), "latest")
    act = policy.network.act
    for part in (0, 1) if algorithm == "ic3net" else (0,):

        def spoilt(*given, part: int = part):
            results = [np.array(one) for one in act(*given)]
            results[part][0, 0] = np.nan
            return results

        other = SimpleNamespace(act=spoilt)
        assert not compare(policy.card, policy.network, other).passed
        assert not compare(policy.card, other, policy.network).passed


def test_a_run_from_outside_a_checkout_has_no_known_revision(trained) -> None:
    card = load_policy(trained("dppo", True), "latest").card
    config = RunDirectory.open(trained("dppo", True)).scenario()
    for run in ({}, {"git_revision": None}):
        assert make_card(config, "best", run, 1, card.width, 0).git_revision == "unknown"
    assert make_card(config, "best", {"git_revision": "a"}, 1, card.width, 0).git_revision == "a"


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_a_missing_package_is_named_with_its_extra(trained, monkeypatch, package) -> None:
    policy = load_policy(trained("dppo", True), "latest")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(TrafficRLError, match=rf"need {package} .*trafficrl\[onnx\]"):
        export_policy(policy, io.BytesIO(), "onnx")


class Evil:
    """Would make a folder where a file is read carelessly."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> object:
        return (Path.mkdir, (self.target,))


def test_a_file_from_a_stranger_runs_no_code(trained, tmp_path) -> None:
    torch.save({"card": Evil(tmp_path / "owned"), "weights": {}}, tmp_path / "evil.pt")
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Evil(tmp_path / "owned")))
    for name in ("evil.pt", "evil.pkl"):
        with pytest.raises(CheckpointError, match=f"{name}: not an exported policy"):
            load_policy(tmp_path / name)
    assert not (tmp_path / "owned").exists()


def test_what_is_no_policy_is_refused_on_one_line(trained, files, tmp_path) -> None:
    run = trained("dppo", True)
    good, graph = files["torch"].read_bytes(), files["onnx"].read_bytes()
    other = torch.load(io.BytesIO(good), weights_only=True)
    other["weights"]["policy"] = {}
    changed = io.BytesIO()
    torch.save(other, changed)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("readme", "nothing")
    for content in (
        b"",
        b"text",
        b"PK",
        good[: len(good) // 2],
        graph[: len(graph) // 2],
        (run / "latest.pt").read_bytes(),
        changed.getvalue(),
        archive.getvalue(),
    ):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(CheckpointError, match="file: not a") as caught:
            load_policy(tmp_path / "file")
        assert "\n" not in str(caught.value)


def test_a_card_reads_back_and_its_mistakes_are_named(trained) -> None:
    card = load_policy(trained("dmpo", True), "latest").card
    assert read_card(card.dump(), "here") == card
    assert isinstance(card, PolicyCard) and card.algorithm == "dmpo"
    for change, message in (
        ({"format_version": 2}, "format_version"),
        ({"observation": []}, "observation"),
        ({"learner": {"speed": 1}}, "dmpo.speed"),
        ({"algorithm": "none"}, "none"),
        ({"hops": 2}, "hops"),
    ):
        text = json.dumps({**json.loads(card.dump()), **change})
        with pytest.raises(CheckpointError, match=f"here: not a policy .*{message}"):
            read_card(text, "here")
