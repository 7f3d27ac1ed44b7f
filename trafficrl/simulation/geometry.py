"""Where the lanes of a network lie, for pictures."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import sumolib.net

from trafficrl.types import FloatArray

_FOR_PEDESTRIANS = frozenset({"crossing", "walkingarea"})  # SUMO's names of such edges


class LaneShape(NamedTuple):
    """The middle of a lane, (P, 2) in m, and how wide it is, m."""

    points: FloatArray
    width: float


def lane_shapes(net_file: Path) -> list[LaneShape]:
    """The lanes of a network, those inside junctions too."""
    net = sumolib.net.readNet(str(net_file), withInternal=True)
    return [
        LaneShape(np.array(lane.getShape(), dtype=np.float64)[:, :2], float(lane.getWidth()))
        for edge in net.getEdges(withInternal=True)
        if edge.getFunction() not in _FOR_PEDESTRIANS
        for lane in edge.getLanes()
    ]
