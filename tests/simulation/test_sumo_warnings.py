"""What SUMO warns of is kept with the time of the episode, counted, and bounded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.simulation.conftest import Prepare, Traffic
from trafficrl.simulation import sumo_warnings
from trafficrl.simulation.sumo import _flush
from trafficrl.simulation.sumo_warnings import (
    KEPT,
    KINDS,
    OTHERS,
    SumoWarning,
    Tally,
    WarningReader,
    describe,
    kind_of,
)

STEP = 0.1  # s
CONTACT = "Vehicle *; collision with vehicle *, lane=*, gap=*, time=*, stage=move"
BACKENDS = ["libsumo", "traci"]


@pytest.fixture(params=BACKENDS)
def traffic(prepare: Prepare, request: pytest.FixtureRequest) -> Traffic:
    return prepare("ring_free", f"simulation.backend={request.param}").load()


def crash(traffic: Traffic) -> float:
    """v1 drives at 5 m/s into v0, which stands 10 m ahead; s of the episode at the contact."""
    traffic.simulation.episode(begun=False)
    traffic.place(np.array([115.0, 100.0]))
    traffic.simulation.episode(begun=True)
    for step in range(1, 100):
        traffic.simulation.step(np.array([0.0, 5.0]))
        if traffic.collided():
            return step * STEP
    raise AssertionError("no contact")


def seen(tally: Tally) -> list[tuple[object, float | None]]:
    return [(warning.context, warning.time) for warning in tally.kept]


def test_a_collision_is_told_with_its_time_in_the_episode(traffic: Traffic) -> None:
    time = crash(traffic)
    assert 2.0 < time < 2.3  # 10 m at 5 m/s
    traffic.simulation.close()
    tally = traffic.simulation.take_warnings()
    assert tally.counts == {CONTACT: 1}
    (warning,) = tally.kept
    assert warning.time == pytest.approx(time) and "'v1'; collision" in warning.text
    assert traffic.simulation.take_warnings().total == 0, "told once"


def test_libsumo_tells_at_once(prepare: Prepare) -> None:
    assert _flush() is not None, "this SUMO writes its warnings late"
    traffic = prepare("ring_free").load()
    crash(traffic)
    assert traffic.simulation.take_warnings().counts == {CONTACT: 1}


def test_each_warning_belongs_to_what_was_done_at_its_time(traffic: Traffic) -> None:
    """Also where SUMO's log is behind, and where its clock runs on from episode to episode."""
    simulation = traffic.simulation
    simulation.warnings_belong_to({"episode": 0})
    first = crash(traffic)
    simulation.warnings_belong_to(None)
    crash(traffic)
    simulation.warnings_belong_to({"episode": 1})
    last = crash(traffic)
    simulation.close()
    tally = simulation.take_warnings()
    assert first == last
    assert seen(tally) == [({"episode": index}, pytest.approx(first)) for index in (0, 1)]
    assert tally.counts == {CONTACT: 2}


def test_loading_anew_loses_nothing(traffic: Traffic) -> None:
    for episode in range(3):
        traffic.simulation.warnings_belong_to({"episode": episode})
        traffic.load()
        time = crash(traffic)
    traffic.simulation.close()
    tally = traffic.simulation.take_warnings()
    assert seen(tally) == [({"episode": index}, pytest.approx(time)) for index in range(3)]


def test_what_happens_before_the_episode_begins_has_no_time(prepare: Prepare) -> None:
    traffic = prepare("ring_free").load()
    crash(traffic)
    traffic.simulation.take_warnings()
    traffic.simulation.episode(begun=False)  # as in a warm-up
    traffic.place(np.array([115.0, 100.0]))
    while not traffic.collided():
        traffic.simulation.step(np.array([0.0, 5.0]))
    traffic.simulation.episode(begun=True)
    tally = traffic.simulation.take_warnings()
    assert seen(tally) == [({}, None)]
    assert "before it began" in describe(tally)


def test_what_was_read_takes_no_room(traffic: Traffic, monkeypatch: pytest.MonkeyPatch) -> None:
    """SUMO's own log is emptied while SUMO writes it, and every warning is still counted."""
    monkeypatch.setattr(sumo_warnings, "ROOM", 4096)
    tally, simulation, blocks = Tally(), traffic.simulation, []
    traffic.place_evenly(22)
    for step in range(600):  # from 3 m/s to a standstill, 299 times
        simulation.step(np.full(22, 3.0 * (step % 2)))
        if step % 25 == 0:
            tally.merge(simulation.take_warnings())
            file = simulation._warnings._file
            assert file is not None
            blocks.append(file.stat().st_blocks * 512)
    simulation.close()
    tally.merge(simulation.take_warnings())
    assert max(blocks) <= 65536 < 100 * tally.total  # bytes, written in all
    assert tally.counts == {kind_of(tally.kept[0].text): 22 * 299}
    assert len(tally.kept) == KEPT


def test_blocks_may_end_inside_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As SUMO writes them where it is a process of its own, and the log is emptied after each."""
    monkeypatch.setattr(sumo_warnings, "ROOM", 0)
    reader, file = WarningReader(STEP), tmp_path / "log"
    file.touch()
    reader.loaded(file)
    texts = [f"Vehicle 'v{index}'; emergency braking" for index in range(60)]
    log = "".join(f"Warning: {text}\n" for text in texts).encode()
    with open(file, "r+b", buffering=0) as stream:
        for begin in range(0, len(log), 37):
            stream.write(log[begin : begin + 37])
            reader._read_on()
            assert file.stat().st_size == 0
    assert [warning.text for warning in reader.take(complete=True).kept] == texts


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (
            "Vehicle 'a'; collision with vehicle 'b', lane='e0_0', gap=-0.09, time=7.50, stage=x.",
            "Vehicle *; collision with vehicle *, lane=*, gap=*, time=*, stage=x",
        ),
        ("Teleporting vehicle 'v.1'; waited too long", "Teleporting vehicle *; waited too long"),
        ("3 vehicles, time=12.00.", "* vehicles, time=*"),
    ],
)
def test_a_kind_has_no_names_and_numbers(text: str, kind: str) -> None:
    assert kind_of(text) == kind


def warnings(kinds: Sequence[str]) -> list[SumoWarning]:
    return [SumoWarning(f"{kind} {index}", kind, None, {}) for index, kind in enumerate(kinds)]


def tally_of(some: Sequence[SumoWarning]) -> Tally:
    tally = Tally()
    for warning in some:
        if tally.count(warning.kind):
            tally.kept.append(warning)
    return tally


def test_all_are_counted_and_the_first_of_each_kind_kept() -> None:
    tally = tally_of(warnings(["a", "b"] * (KEPT + 5)))
    assert tally.counts == {"a": KEPT + 5, "b": KEPT + 5} and tally.total == 2 * KEPT + 10
    assert tally.kept == warnings(["a", "b"] * KEPT)
    assert "the first 100 of each kind in x" in describe(tally, Path("x"))


def test_merging_is_as_counting_one_after_the_other() -> None:
    some = warnings(["a", "b", "a"] * 50)
    for cut in (0, 1, 70, 149):
        tally = tally_of(some[:cut])
        before = len(tally.kept)
        news = tally.merge(tally_of(some[cut:]))
        assert tally == tally_of(some) and tally.kept[before:] == news


def test_kinds_are_bounded() -> None:
    tally = tally_of(warnings([f"kind-{index}" for index in range(KINDS + 7)]))
    assert len(tally.counts) == KINDS + 1 and tally.counts[OTHERS] == 7
    assert tally.total == KINDS + 7
