"""The files that come with the package are found where they are installed."""

from __future__ import annotations

import pytest

from trafficrl import resources
from trafficrl.errors import ScenarioError


def test_every_bundled_name_is_a_file() -> None:
    names = resources.scenario_names()
    assert "ring" in names
    assert names == sorted(set(names))
    assert all(resources.scenario_path(name).is_file() for name in names)


def test_an_unknown_name_is_answered_with_the_closest_first() -> None:
    with pytest.raises(ScenarioError, match=r"'rimg' \(there are: ring, "):
        resources.scenario_path("rimg")


def test_the_sumo_files_are_in_a_folder() -> None:
    assert resources.sumo_config_dir().is_dir()
