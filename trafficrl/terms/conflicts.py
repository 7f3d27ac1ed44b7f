"""Whom a vehicle meets at a crossing: the next ahead and the next behind on the other arm.

Each vehicle is projected onto its distance still to go to the crossing, less
than zero once it is past; the other arm's vehicles then stand in a row with it
(virtual platooning: Medina, van de Wouw and Nijmeijer, "Cooperative
intersection control based on virtual platooning", IEEE Transactions on
Intelligent Transportation Systems 19 (2018)).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trafficrl.types import VEHICLE_LENGTH, FloatArray, IntArray, VehicleStates, constant

LEVEL = VEHICLE_LENGTH  # m, two closer than this in the projection would be inside together


class ConflictNeighbours(NamedTuple):
    """Next vehicles of the other arm in the order of arrival, all (B, M).

    ``leader`` and ``follower`` index the M vehicles, -1 where there is none;
    the gaps are differences of the distances to go, in m, ``inf`` without one,
    and down to -``LEVEL`` where two are level.
    """

    leader: IntArray
    leader_gap: FloatArray
    follower: IntArray
    follower_gap: FloatArray


def conflict_neighbours(states: VehicleStates) -> ConflictNeighbours:
    """Who arrives at the next crossing just before and just after each vehicle.

    A vehicle's arm is the pass of the crossing that it reaches first. Of two
    that are level (``LEVEL``) the one with the lower number goes first, at every pass:
    by the right of way they would take turns, and never get apart. Found once for
    each ``states``, as several features and reward terms ask.
    """
    if not isinstance(states.conflicts, ConflictNeighbours):
        states.conflicts = _find_conflicts(states)
    return states.conflicts


def _find_conflicts(states: VehicleStates) -> ConflictNeighbours:
    shape = states.speed.shape
    nobody, far = constant(shape, -1), constant(shape, np.inf)
    found = ConflictNeighbours(nobody, far, nobody, far)
    if not states.crossings:
        return found
    number = np.arange(shape[1])
    lower = number < number[:, None]
    for first, second in states.crossings:
        ahead = _ahead_on_other_arm(states, first, second)
        leads = np.where(np.abs(ahead) < LEVEL, lower, ahead > 0.0)
        found = ConflictNeighbours(
            *_nearer(found.leader, found.leader_gap, np.where(leads, ahead, np.inf)),
            *_nearer(found.follower, found.follower_gap, np.where(leads, np.inf, -ahead)),
        )
    return found


def distance_to_crossing(states: VehicleStates) -> FloatArray:
    """m still to go to the next pass of a crossing, (B, M), ``inf`` without a crossing."""
    distance = np.full(states.speed.shape, np.inf)
    for arm in (arm for arms in states.crossings for arm in arms):
        to_go = np.mod(arm - states.position, states.path_length[:, None])
        distance = np.minimum(distance, to_go)
    return distance


def _ahead_on_other_arm(states: VehicleStates, first: float, second: float) -> FloatArray:
    """m that vehicle j is closer to the crossing than i, (B, M, M), NaN to itself.

    The course is closed.
    """
    position, length = states.position, states.path_length[:, None]
    on_first = np.mod(first - position, length) < np.mod(second - position, length)
    shift = np.where(on_first, second - first, first - second)  # from the own arm to the other
    ahead = position[:, None, :] - (position + shift)[:, :, None]
    ahead -= length[..., None] * np.round(ahead / length[..., None])
    own = np.arange(position.shape[1])
    ahead[:, own, own] = np.nan
    return ahead


def _nearer(
    index: IntArray, gap: FloatArray, candidates: FloatArray
) -> tuple[IntArray, FloatArray]:
    """The nearest of the candidates (B, M, M), or who was known before if that is nearer."""
    candidates = np.nan_to_num(candidates, nan=np.inf, posinf=np.inf)
    nearest = candidates.argmin(axis=2)
    distance = candidates.min(axis=2)
    closer = distance < gap
    return np.where(closer, nearest, index), np.where(closer, distance, gap)
