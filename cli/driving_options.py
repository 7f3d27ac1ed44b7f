"""Options of commands that drive an episode with each of several controllers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .evaluation_options import (
    assign_option,
    checkpoint_option,
    episode_option,
    seed_option,
    set_option,
)
from .network_options import NetworkChoice, network_options

if TYPE_CHECKING:
    from trafficrl.config import ScenarioConfig
    from trafficrl.evaluation.compare import Contender
    from trafficrl.evaluation.dealing import Assignment
    from trafficrl.evaluation.driver import Driver
    from trafficrl.evaluation.trajectory import Trajectory

_OPTIONS = (
    click.option("--scenario", metavar="S", help="Scenario to drive in  [default: the runs' own]"),
    network_options,
    seed_option,
    episode_option,
    checkpoint_option,
    assign_option,
    set_option,
)
# Parameters of these that say how an episode comes about, and not which of several it is.
DRIVING = (
    *("scenario", "net_file", "osm_file", "xodr_file", "route_files", "vehicles"),
    *("seed", "checkpoint", "assign", "overrides"),
)


@dataclass(frozen=True)
class Drive:
    """Who drives where."""

    label: str
    driver: Driver
    config: ScenarioConfig


@dataclass(frozen=True)
class DrivingChoice:
    """Which episode is driven, where, and how runs take part in it."""

    scenario: str | None
    network: NetworkChoice | None
    seed: int
    episode: int
    checkpoint: str
    assign: Assignment | None
    overrides: tuple[str, ...]

    def drives(self, texts: Sequence[str]) -> list[Drive]:
        """Runs and controllers, all in one scenario; a run takes its own view of it along."""
        from trafficrl.evaluation.carry import carry, check_overrides
        from trafficrl.evaluation.compare import Contender
        from trafficrl.evaluation.drivers import make_driver

        contenders = []
        for text in texts:
            # --assign is of runs; that there is none is said of the first controller.
            of_runs = Path(text).exists() or not any(Path(one).exists() for one in texts)
            driver, trained = make_driver(text, self.checkpoint, self.assign if of_runs else None)
            contenders.append(Contender(text, [driver], trained_on=trained))
        where = self._where(contenders)
        names = [_name(one) for one in contenders]
        drives = []
        for one, name in zip(contenders, names, strict=True):
            config = where
            if one.trained_on is not None:
                check_overrides(one.trained_on, self.overrides)
                config = carry(one.trained_on, where)
            label = name if names.count(name) == 1 else one.name
            drives.append(Drive(label, one.drivers[0], config))
        return drives

    def trajectory(self, drive: Drive) -> Trajectory:
        """The episode, driven, with lanes and coordinates."""
        from trafficrl.evaluation.evaluate import run_episodes

        found: list[Trajectory] = []
        run_episodes(
            drive.driver,
            drive.config,
            episodes=1,
            seed=self.seed,
            first=self.episode,
            places=True,
            on_episode=found.append,
        )
        return found[0]

    def _where(self, contenders: Sequence[Contender]) -> ScenarioConfig:
        from trafficrl.config import load_scenario
        from trafficrl.evaluation.compare import scenarios_to_drive

        if self.network is not None:
            return load_scenario(self.network.scenario(self.scenario), self.overrides)
        named = [] if self.scenario is None else [self.scenario]
        return scenarios_to_drive(contenders, named, self.overrides)[0]


def _name(contender: Contender) -> str:
    """A run by scenario, algorithm and seed."""
    trained = contender.trained_on
    if trained is None:
        return contender.name
    return f"{trained.name} {trained.training.algorithm} {trained.training.seed}"


def driving_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options; the command gets them as ``driving``."""

    @functools.wraps(command)
    def wrapped(
        scenario: str | None,
        network: NetworkChoice | None,
        seed: int,
        episode: int,
        checkpoint: str,
        assign: Assignment | None,
        overrides: tuple[str, ...],
        **others: Any,
    ) -> Any:
        choice = DrivingChoice(scenario, network, seed, episode, checkpoint, assign, overrides)
        return command(driving=choice, **others)

    for option in reversed(_OPTIONS):
        wrapped = option(wrapped)
    return wrapped
