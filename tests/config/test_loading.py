"""Reading scenarios: ``extends``, overrides, and writing them back."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trafficrl.config import ScenarioConfig, dump_scenario, load_scenario, scenario_schema
from trafficrl.resources import scenario_names


class TestExtends:
    def test_mappings_merge_and_lists_and_scalars_replace(self, base: str, write: Any) -> None:
        write(base, "base.yaml")
        child = "extends: base.yaml\nname: child\nnetwork: {lanes: 2}\nobservation:\n"
        config = load_scenario(write(f"{child}  - {{feature: speed}}\n"))
        parent = load_scenario(write(base))
        assert config.name == "child"
        assert config.network == parent.network.model_copy(update={"lanes": 2})
        assert [item.feature for item in config.observation] == ["speed"]
        assert config.vehicles == parent.vehicles

    def test_another_kind_replaces_the_whole_mapping(self, base: str, write: Any) -> None:
        write(base, "base.yaml")
        config = load_scenario(
            write("extends: base.yaml\nnetwork: {kind: figure_eight, radius_m: 40}\n")
        )
        assert config.network.model_dump() == {
            "kind": "figure_eight",
            "radius_m": 40.0,
            "lanes": 1,
            "speed_limit_mps": 30.0,
        }

    def test_chains_go_from_folder_to_folder(self, base: str, write: Any) -> None:
        write(base, "base.yaml")
        write("extends: ../base.yaml\nname: middle\ndescription: middle\n", "sub/middle.yaml")
        config = load_scenario(write("extends: sub/middle.yaml\nname: last\n"))
        assert (config.name, config.description) == ("last", "middle")

    def test_a_bundled_scenario_can_be_extended(self, write: Any) -> None:
        config = load_scenario(write("extends: ring\nname: mine\n"))
        assert config == load_scenario("ring", ["name=mine"])

    def test_a_cycle_is_refused(self, write: Any, failure: Any) -> None:
        write("extends: b.yaml\n", "a.yaml")
        write("extends: ./a.yaml\n", "b.yaml")
        message = failure(write("extends: a.yaml\n"))
        assert "b.yaml:1:1: extends: a scenario cannot extend itself" in message
        assert re.search(r"small\.yaml -> .*a\.yaml -> .*b\.yaml -> .*a\.yaml\)$", message)

    def test_mistakes_point_into_the_file_they_stand_in(
        self, base: str, write: Any, failure: Any
    ) -> None:
        parent = write(base.replace("count: 2", "count: 0"), "base.yaml")
        child = write("extends: base.yaml\nepisode: {steps: 0}\n")
        lines = failure(child).splitlines()
        assert lines[0].startswith(f"{parent}:8:5: vehicles.0.count: ")
        assert lines[1].startswith(f"{child}:2:11: episode.steps: ")

    def test_null_takes_a_section_away(self, base: str, write: Any) -> None:
        write(f"{base}warmup: {{controller: idm, duration_s: 5}}\n", "base.yaml")
        assert load_scenario(write("extends: base.yaml\n")).warmup is not None
        assert load_scenario(write("extends: base.yaml\nwarmup: null\n")).warmup is None


class TestOverrides:
    @pytest.mark.parametrize(
        ("override", "get", "value"),
        [
            ("training.total_steps=20000", lambda c: c.training.total_steps, 20000),
            ("algorithms.dppo.policy_lr=7e-4", lambda c: c.algorithms.dppo.policy_lr, 7e-4),
            ("observation.1.scale=5", lambda c: c.observation[1].scale, 5.0),
            ("observation.1.clip=null", lambda c: c.observation[1].clip, None),
            ("description=on = off", lambda c: c.description, "on = off"),
            (
                "warmup={controller: idm, duration_s: 3}",
                lambda c: c.warmup and c.warmup.duration_s,
                3.0,
            ),
            ("vehicles=[{controller: learned}]", lambda c: len(c.vehicles), 1),
            (
                "reward.terms.0.parameters.target_mps=5",
                lambda c: c.reward.terms[0].parameters,
                {"target_mps": 5.0},
            ),
        ],
    )
    def test_an_override_replaces_one_value(
        self, base: str, write: Any, override: str, get: Any, value: object
    ) -> None:
        path = write(base)
        assert get(load_scenario(path)) != value
        assert get(load_scenario(path, [override])) == value

    def test_the_last_override_wins_and_builds_on_the_earlier(self, base: str, write: Any) -> None:
        overrides = ["warmup.controller=idm", "warmup.duration_s=1", "warmup.duration_s=2"]
        config = load_scenario(write(base), overrides)
        assert config.warmup is not None
        assert (config.warmup.controller, config.warmup.duration_s) == ("idm", 2.0)

    def test_a_config_can_be_overridden_and_stays_as_it_was(
        self, base: str, write: Any, failure: Any
    ) -> None:
        config = load_scenario(write(base))
        assert load_scenario(config) == config
        assert load_scenario(config, ["training.seed=7"]).training.seed == 7
        assert config.training.seed == 0
        assert failure(config, "training.seed=-1").startswith("--set training.seed: should be")


@pytest.mark.parametrize("name", scenario_names())
def test_every_bundled_scenario_survives_writing_and_reading(name: str, write: Any) -> None:
    config = load_scenario(name)
    assert load_scenario(write(dump_scenario(config))) == config


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    description=st.text(st.characters(exclude_categories=["Cs"])),
    length=st.floats(50, 1e9),
    low=st.floats(-1e9, -1e-9),
    high=st.floats(1e-9, 1e9),
)
def test_what_is_written_loads_to_an_equal_config(
    base: str, write: Any, description: str, length: float, low: float, high: float
) -> None:
    plain = load_scenario(write(base)).model_dump()
    plain["description"] = description
    plain["network"]["length_m"] = length
    plain["observation"][0]["clip"] = [low, high]
    config = ScenarioConfig.model_validate(plain)
    assert load_scenario(write(dump_scenario(config))) == config


def test_the_schema_knows_every_key_of_a_scenario() -> None:
    schema = scenario_schema()
    assert set(schema["properties"]) == set(ScenarioConfig.model_fields)
    assert not schema["additionalProperties"]
    json.dumps(schema)


def test_reading_a_scenario_imports_neither_torch_nor_sumo() -> None:
    script = (
        "import sys; from trafficrl.config import load_scenario; load_scenario('ring');"
        "print([m for m in ('torch', 'libsumo', 'traci', 'pettingzoo') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
