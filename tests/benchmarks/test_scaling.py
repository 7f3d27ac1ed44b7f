"""What is compared does the same work, whatever the number of vehicles."""

from __future__ import annotations

import pytest

from trafficrl.benchmarks import scaling
from trafficrl.benchmarks.device import device
from trafficrl.benchmarks.scaling import costs, ring_links, ring_of, standing
from trafficrl.config import load_scenario


def test_rings_are_equally_dense() -> None:
    shipped = load_scenario("ring")
    for size in scaling.SIZES:
        config = ring_of(size)
        assert config.n_agents == size
        assert config.network.length_m / size == pytest.approx(
            shipped.network.length_m / shipped.n_vehicles, rel=1e-3
        )


def test_links_are_those_of_a_ring() -> None:
    index, mask = ring_links(100, 3).value
    assert mask.all() and index[0].tolist() == [0, 99, 1, 98, 2, 97, 3]


@pytest.mark.parametrize("shared", [False, True])
def test_every_part_counts_its_vehicle_steps(monkeypatch, shared: bool) -> None:
    monkeypatch.setattr(scaling, "ENOUGH", 1)
    expected = {
        "inference": 1,
        "PPO update": scaling.INTERVALS,
        "SAC update": 256,
        "model training": 4 * 128 * 4,
        "model rollout": scaling.BRANCHES * scaling.BRANCH_LENGTH,
    }
    for name, prepare in costs(3, shared=shared).items():
        with prepare() as block:
            assert block() == 3 * expected[name], name


def test_sumo_stands_still_where_its_step_is_left_out(monkeypatch) -> None:
    import libsumo

    monkeypatch.setattr(scaling, "ENOUGH", 1)
    with standing(5)() as block:
        before = libsumo.simulation.getTime()
        assert block() == 5 * 5
        assert libsumo.simulation.getTime() == before


def test_without_a_gpu_there_is_nothing_to_compare() -> None:
    group = device()
    names = [case.name for case in group.cases]
    assert "PPO update, cpu" in names and "inference, cpu" not in names
    assert not group.ratios
