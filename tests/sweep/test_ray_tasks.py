"""What sweeps do on a Ray cluster, as far as it can be seen without one."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Any

import pytest

from trafficrl.cli.main import main
from trafficrl.errors import TrafficRLError
from trafficrl.sweep.ray_tasks import slots, train
from trafficrl.training.versions import compared

from .sweeps import a_job, write_sweep


def test_a_machine_that_does_not_see_the_directory_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    said = train(vars(a_job(folder)), str(folder / ".session-x"), compared())
    assert list(said) == ["unfit"] and "does not see it" in str(said["unfit"])
    assert not folder.exists()


def test_a_machine_with_other_versions_is_told(tmp_path: Path) -> None:
    session = tmp_path / ".session-x"
    session.touch()
    folder = tmp_path / "run"
    said = train(vars(a_job(folder)), str(session), compared() | {"torch": "1.0.0"})
    assert f"{platform.node()}, a machine of the cluster, has torch 2" in str(said["unfit"])
    assert "(here 1.0.0)" in str(said["unfit"]) and not folder.exists()


def nodes(*cpus: float) -> list[dict[str, Any]]:
    return [{"Alive": True, "Resources": {"CPU": one}} for one in cpus]


def test_slots_are_counted_on_each_machine() -> None:
    gone = {"Alive": False, "Resources": {"CPU": 64.0}}
    assert slots([*nodes(3.0, 3.0), gone], 2.0) == 2
    assert slots([*nodes(3.0, 1.0), {"Alive": True, "Resources": {}}], 0.5) == 8
    with pytest.raises(TrafficRLError) as raised:
        slots([*nodes(3.0, 2.0), gone], 4.0)
    assert str(raised.value) == (
        "--cpus 4: no machine of the cluster has as many CPUs (of 2 machines the largest has 3)"
    )


def test_a_cluster_that_is_not_there_leaves_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    sweep = write_sweep(tmp_path / "sweep.yaml")
    path = tmp_path / "s"
    assert main(["sweep", str(sweep), "--output", str(path), "--on", "ray://127.0.0.1:1"]) == 1
    error = capfd.readouterr().err
    assert error.startswith("error: ray://127.0.0.1:1: ") and error.count("\n") == 1
    assert not path.exists()
