"""Scenarios: their models, and reading and writing them as YAML."""

from __future__ import annotations

from trafficrl.config.loading import dump_scenario, load_scenario, scenario_schema
from trafficrl.config.scenario import ScenarioConfig

__all__ = ["ScenarioConfig", "dump_scenario", "load_scenario", "scenario_schema"]
