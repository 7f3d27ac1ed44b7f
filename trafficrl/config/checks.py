"""What the sections of a scenario demand of each other.

A section's own limits stand beside its fields; here is what no section can
know alone. ``ScenarioConfig`` runs ``check_scenario`` on itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from trafficrl.config.networks import (
    ClosedNetwork,
    CourseNetwork,
    FigureEightNetwork,
    NetworkConfig,
    RoadNetwork,
)
from trafficrl.config.scenario import (
    PlatoonStart,
    RoutesStart,
    ScenarioConfig,
    UniformStart,
    VehicleGroup,
    WarmupConfig,
)
from trafficrl.controllers import CONTROLLERS, make_controller
from trafficrl.errors import ScenarioError
from trafficrl.terms import FEATURES, NEEDS_LEAD, REWARD_TERMS
from trafficrl.types import LEAD, LEARNED, TAIL_ROOM, VEHICLE_LENGTH

LARGEST, SMALLEST = 1e9, 1e-9  # in SI units; beyond them single precision ends in infinity
FINAL_SPEED = "final_speed"  # parameter of the lead, which max_speed_mps does not bound
Problem = tuple[tuple[str | int, ...], str]


class CheckError(ValueError):
    """All problems found, each with the path of the key to change."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__(
            "; ".join(f"{'.'.join(map(str, path))}: {message}" for path, message in problems)
        )


def check_scenario(config: ScenarioConfig) -> None:
    """Raise ``CheckError`` with every contradiction between the sections of ``config``."""
    problems = list(_check_numbers(config.model_dump()))
    # What the other checks make of such numbers would only hide them.
    problems = problems or [
        *_check_times(config),
        *_check_controllers(config),
        *_check_start(config),
        *_check_speed(config),
        *_check_streets(config),
        *_check_graph(config),
        *_check_terms(config),
        *_check_algorithm(config),
    ]
    if problems:
        raise CheckError(problems)


def has_crossing(network: NetworkConfig) -> bool:
    """Whether the vehicles' course crosses itself."""
    return isinstance(network, FigureEightNetwork)


def has_lead(config: ScenarioConfig) -> bool:
    """Whether a scripted lead drives in front."""
    return any(group.controller == LEAD for group in config.vehicles)


def size_problem(number: float) -> str | None:
    """Why a number is none that anything here is made for; None where it is one."""
    if abs(number) > LARGEST:
        return f"should be at most {LARGEST:g} in size, not {number:g}"
    if 0 < abs(number) < SMALLEST:
        return f"should be 0 or at least {SMALLEST:g} in size, not {number:g}"
    return None


def _check_numbers(section: object, path: tuple[str | int, ...] = ()) -> Iterator[Problem]:
    """Numbers that nothing here is made for."""
    if isinstance(section, dict | list):
        items = section.items() if isinstance(section, dict) else enumerate(section)
        for key, value in items:
            yield from _check_numbers(value, (*path, key))
    elif isinstance(section, float) and (wrong := size_problem(section)):
        yield path, wrong


def _check_times(config: ScenarioConfig) -> Iterator[Problem]:
    step, interval = config.simulation.step_s, config.episode.control_interval_s
    milliseconds = 1000 * step
    if not math.isclose(milliseconds, max(1, round(milliseconds)), rel_tol=1e-9):
        yield (
            ("simulation", "step_s"),
            f"{step:g} s is not a whole number of milliseconds, which is what SUMO counts in",
        )
    multiple = max(1, round(interval / step))
    if not math.isclose(interval, multiple * step, rel_tol=1e-9):
        yield (
            ("episode", "control_interval_s"),
            f"{interval:g} s is not a whole multiple of simulation.step_s = {step:g} s "
            f"(nearest: {multiple * step:g})",
        )


def _check_controllers(config: ScenarioConfig) -> Iterator[Problem]:
    if all(group.controller != LEARNED for group in config.vehicles):
        yield ("vehicles",), f"at least one vehicle should have the controller '{LEARNED}'"
    for index, group in enumerate(config.vehicles):
        if group.controller != LEARNED:
            yield from _check_controller(("vehicles", index), group)
        if group.controller == LEAD and index > 0:
            yield ("vehicles", index, "controller"), f"only the first group can be the '{LEAD}'"
        elif group.controller == LEAD and group.count > 1:
            yield ("vehicles", index, "count"), f"should be 1, as one vehicle is the '{LEAD}'"
    if config.warmup is not None:
        yield from _check_controller(("warmup",), config.warmup)


def _check_controller(
    path: tuple[str | int, ...], section: VehicleGroup | WarmupConfig
) -> Iterator[Problem]:
    """A controller with parameters that it does not take, or cannot work with."""
    try:
        make_controller(section.controller, section.parameters)
    except ScenarioError as error:
        known = section.controller in CONTROLLERS
        yield (*path, "parameters" if known else "controller"), str(error)


def _check_terms(config: ScenarioConfig) -> Iterator[Problem]:
    """Some features and terms compare with the profile of a scripted lead."""
    if has_lead(config):
        return
    listed = [
        (("observation", index), item.feature, FEATURES)
        for index, item in enumerate(config.observation)
    ] + [
        (("reward", "terms", index), item.term, REWARD_TERMS)
        for index, item in enumerate(config.reward.terms)
    ]
    for path, name, registry in listed:
        if registry.has_trait(name, NEEDS_LEAD):
            yield path, f"'{name}' needs a first vehicle with the controller '{LEAD}'"


def _check_start(config: ScenarioConfig) -> Iterator[Problem]:
    network, start = config.network, config.start
    if start.kind != network.start_kind:
        yield (
            ("start", "kind"),
            f"'{start.kind}' does not go with {network.title} (should be '{network.start_kind}')",
        )
    elif isinstance(network, RoadNetwork):
        yield from _check_platoon(config, network.length_m)
    elif isinstance(network, ClosedNetwork):
        yield from _check_room(config, network)


def _check_speed(config: ScenarioConfig) -> Iterator[Problem]:
    """SUMO takes no vehicle that departs faster than its road or its vType allows."""
    network, start = config.network, config.start
    if isinstance(start, RoutesStart) or start.kind != network.start_kind:
        return
    fastest = start.speed_mps * (start.speed_factor[1] if isinstance(start, PlatoonStart) else 1.0)
    limits = {"2 simulation.max_speed_mps": 2 * config.simulation.max_speed_mps}
    if isinstance(network, CourseNetwork):
        limits["network.speed_limit_mps"] = network.speed_limit_mps
    for key, limit in limits.items():
        if fastest > limit:
            yield (
                ("start", "speed_mps"),
                f"vehicles would depart at up to {fastest:g} m/s (at most {key} = {limit:g})",
            )


def _check_room(config: ScenarioConfig, network: ClosedNetwork) -> Iterator[Problem]:
    length, start, count = network.shortest_lap, config.start, config.n_vehicles
    most = math.floor(length / (VEHICLE_LENGTH + config.simulation.min_gap_m) + 1e-9)
    if count > most:
        yield (
            ("vehicles",),
            f"{count} vehicles do not fit {network.title} of {length:.4g} m (at most {most})",
        )
    elif isinstance(start, UniformStart) and count > 1:
        free = length / count - VEHICLE_LENGTH
        if 2 * start.jitter_m > free:
            yield (
                ("start", "jitter_m"),
                f"{start.jitter_m:g} m lets vehicles overlap (at most {free / 2:.3g})",
            )


def _check_streets(config: ScenarioConfig) -> Iterator[Problem]:
    """What only vehicles in line on a course of their own can have."""
    if isinstance(config.network, CourseNetwork):
        return
    where = f"on streets (network '{config.network.kind}')"
    for index, group in enumerate(config.vehicles):
        if group.controller == LEAD:
            yield ("vehicles", index, "controller"), f"nobody is the '{LEAD}' {where}"
    if config.training.replicas > 1:
        yield ("training", "replicas"), f"should be 1 {where}: there is one copy of it"
    if not config.training.crossing_collisions:
        yield ("training", "crossing_collisions"), f"should be true {where}: every contact counts"


def _check_graph(config: ScenarioConfig) -> Iterator[Problem]:
    if config.graph.conflict_distance_m is not None and not has_crossing(config.network):
        yield (
            ("graph", "conflict_distance_m"),
            f"{config.network.title} has no crossing of a course with itself (leave it out)",
        )


def _check_platoon(config: ScenarioConfig, road_length: float) -> Iterator[Problem]:
    start = config.start
    if not isinstance(start, PlatoonStart):
        return
    count = config.n_vehicles
    gaps = max(0, count - 2) + (start.first_headway_factor[1] if count > 1 else 0)
    length = count * VEHICLE_LENGTH + gaps * start.headway_m + TAIL_ROOM
    fastest = max(
        config.simulation.max_speed_mps,
        start.speed_mps * start.speed_factor[1],
        *(group.parameters.get(FINAL_SPEED, 0.0) for group in config.vehicles),  # of the lead
    )
    warmup = config.warmup.duration_s if config.warmup is not None else 0.0
    needed = length + fastest * (config.episode.steps * config.simulation.step_s + warmup)
    if length > road_length:
        yield (
            ("vehicles",),
            f"a platoon of {count} vehicles is up to {length:.4g} m long and does not fit "
            f"a road of {road_length:.4g} m",
        )
    elif needed > road_length:
        yield (
            ("network", "length_m"),
            f"{road_length:g} m can end before the episode does (at {fastest:g} m/s it takes "
            f"{math.ceil(needed)} m)",
        )


def _check_algorithm(config: ScenarioConfig) -> Iterator[Problem]:
    known = list(type(config.algorithms).model_fields)
    if config.training.algorithm not in known:
        yield (
            ("training", "algorithm"),
            f"no algorithm is called '{config.training.algorithm}' (known: {', '.join(known)})",
        )
