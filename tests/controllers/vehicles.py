"""A vehicle and its leader, to see what a controller makes of them."""

from __future__ import annotations

import numpy as np

from trafficrl.controllers import Controller
from trafficrl.types import VehicleStates

FREE = float("inf")  # m, the headway without a leader


def pair(
    speed: float,
    leader_speed: float,
    headway: float,
    time: float = 0.0,
    *,
    acceleration: float = 0.0,
    leader_command: float = 0.0,
    driven: float = 0.0,
) -> VehicleStates:
    """A leader (column 0) without a leader of its own, and its follower (column 1).

    ``acceleration`` and ``driven`` are the follower's, ``leader_command`` is in m/s2.
    """
    zeros, false = np.zeros((1, 2)), np.zeros((1, 2), dtype=bool)
    return VehicleStates(
        time=time,
        position=zeros,
        distance=np.array([[driven, driven]]),
        speed=np.array([[leader_speed, speed]]),
        acceleration=np.array([[0.0, acceleration]]),
        headway=np.array([[FREE, headway]]),
        leader=np.array([[-1, 0]]),
        follower=np.array([[1, -1]]),
        commanded_acceleration=np.array([[leader_command, 0.0]]),
        commanded_speed=zeros,
        overridden=false,
        collided=false,
        target_speed=zeros,
        target_acceleration=zeros,
        final_target_speed=zeros,
        path_length=np.array([FREE]),
    )


def of_both(controller: Controller, states: VehicleStates, step: float = 0.1) -> list[float]:
    """Accelerations of leader and follower in their first step."""
    controller.reset(states, np.random.default_rng(0))
    leader, follower = controller.acceleration(states, step)[0].tolist()
    return [leader, follower]


def of_follower(controller: Controller, states: VehicleStates, step: float = 0.1) -> float:
    """The follower's acceleration in its first step."""
    return of_both(controller, states, step)[1]


def of_leader(controller: Controller, speed: float, step: float = 0.1) -> float:
    """The acceleration of a vehicle that nobody drives ahead of."""
    return of_both(controller, pair(0.0, speed, 1000.0), step)[0]
