"""How disturbances travel: stop-and-go waves of a loop, string stability of a line."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from trafficrl.evaluation.metrics.base import last_third, metric
from trafficrl.evaluation.trajectory import Trajectory
from trafficrl.types import BoolArray, FloatArray, IntArray

EXCITED = 0.1  # of the first vehicle's largest amplitude: from here on a frequency counts
UNDISTURBED = 0.01  # m/s, up to this amplitude the first vehicle drives evenly


@metric(
    "wave_amplitude_mps",
    "speed",
    "m/s",
    "amplitude of the stop-and-go wave, last third",
    better="lower",
    per_vehicle=False,
)
def wave_amplitude(trajectory: Trajectory) -> float:
    """Wave index of a loop: amplitude of the strongest sinusoidal wave of speed along it.

    The Fourier amplitude for wave number k on a loop of length L,
    A_k = 2/L |integral (v(x) - mean) exp(-2 pi i k x / L) dx|, with the integral
    by the trapezoid rule between the vehicles. A travelling wave
    v0 + A cos(2 pi k x / L - w t) has A_k = A at any time. A_k is averaged over
    the last third of the episode, then the largest counts, up to waves as short
    as two vehicles. (Along the road what Bando et al., "Dynamical model of
    traffic congestion and numerical simulation", Physical Review E 51 (1995),
    do by vehicle number.)
    """
    if not trajectory.closed:
        return np.nan
    length, position = trajectory.path_length, last_third(trajectory.position)
    order, road = _along_loop(position, length)
    position = np.nan_to_num(np.take_along_axis(position, order, axis=1))
    speed = np.nan_to_num(np.take_along_axis(last_third(trajectory.speed), order, axis=1))
    mean = (road * speed).sum(axis=1, keepdims=True) / length
    terms = road * (speed - mean)
    turn = np.exp(-2j * np.pi * position / length)
    amplitudes = []
    for _ in range((int((road > 0).sum(axis=1).min()) - 1) // 2):
        terms = terms * turn
        amplitudes.append(2.0 / length * np.abs(terms.sum(axis=1)).mean())
    return float(max(amplitudes, default=np.nan))


def _along_loop(position: FloatArray, length: float) -> tuple[IntArray, FloatArray]:
    """Order of the vehicles (T, M), absent ones last, and the m of road each stands for, 0 if none.

    That is half the way to the next one and half the way from the one before.
    """
    order = np.argsort(position, axis=1)  # NaN goes to the end
    along = np.take_along_axis(position, order, axis=1)
    count = (~np.isnan(along)).sum(axis=1)
    rows = np.flatnonzero(count)
    last = count[rows] - 1
    ahead = np.roll(along, -1, axis=1)
    ahead[rows, last] = along[rows, 0] + length
    to_next = ahead - along
    from_before = np.roll(to_next, 1, axis=1)
    from_before[rows, 0] = to_next[rows, last]
    return order, np.nan_to_num(0.5 * (to_next + from_before))


class HeadToTail(NamedTuple):
    """Gain of speed disturbances from the first to the last vehicle of a line, (F,) each."""

    frequency: FloatArray  # Hz, without 0
    gain: FloatArray
    excited: BoolArray  # frequencies that the first vehicle's speed has enough of


def head_to_tail(trajectory: Trajectory) -> HeadToTail | None:
    """|V_last(f)| / |V_first(f)| of the speeds of a line; None where there is no such line.

    Head-to-tail string stability (Ge and Orosz, "Dynamics of connected vehicle
    systems with delayed acceleration feedback", Transportation Research C 46,
    2014) is a gain of at most 1 at all frequencies. It is taken from the
    accelerations, A(f) = 2 pi i f V(f), which end in 0 where speeds may end
    elsewhere than they began: exact for a disturbance that starts in this episode
    from an even drive and has passed the last vehicle by its end. One that goes on
    to the end errs by about the time it takes through the line over the duration.
    A line is on an open road, with the same vehicles in the same order
    throughout, and without a collision.
    """
    line = _line(trajectory)
    if line is None:
        return None
    steps = len(trajectory.acceleration)
    first, last = np.abs(np.fft.rfft(trajectory.acceleration[:, line], axis=0))[1:].T
    frequency = np.arange(1.0, len(first) + 1.0) / (steps * trajectory.step_length)
    speed_amplitude = 2.0 / steps * first / (2.0 * np.pi * frequency)
    floor = max(UNDISTURBED, EXCITED * speed_amplitude.max(initial=0.0))
    gain = last / np.where(first > 0.0, first, np.nan)
    return HeadToTail(frequency, gain, speed_amplitude >= floor)


@metric(
    "string_gain_max",
    "speed",
    "ratio",
    "head-to-tail gain of speed disturbances",
    better="lower",
    per_vehicle=False,
)
def string_gain(trajectory: Trajectory) -> float:
    """Largest head-to-tail gain over the frequencies that the first vehicle excites, if any."""
    found = head_to_tail(trajectory)
    return float(max(found.gain[found.excited], default=np.nan)) if found else np.nan


def _line(trajectory: Trajectory) -> IntArray | None:
    """The first and the last vehicle of the one line that all form; None if they do not."""
    leader = trajectory.leader[0]
    alone = trajectory.closed or len(leader) < 2
    changes = (trajectory.leader != leader).any() or not trajectory.present.all()
    if alone or changes or trajectory.collided.any() or (leader < 0).sum() != 1:
        return None
    last = np.setdiff1d(np.arange(len(leader)), leader)  # nobody's leader
    return np.array([int(leader.argmin()), int(last[0])]) if len(last) == 1 else None
