"""Learning algorithms, one file each."""

from collections.abc import Callable

from trafficrl.algorithms.base import AgentSpec, Algorithm, Decision, Streams
from trafficrl.algorithms.cppo import CPPO
from trafficrl.algorithms.dmpo import DMPO
from trafficrl.algorithms.dppo import DPPO
from trafficrl.algorithms.dsac import DSAC
from trafficrl.algorithms.ia2c import IA2C
from trafficrl.algorithms.ic3net import IC3Net

# Name of a section of a scenario's 'algorithms' to what is built from it.
ALGORITHMS: dict[str, Callable[..., Algorithm]] = {
    "dppo": DPPO,
    "cppo": CPPO,
    "ia2c": IA2C,
    "ic3net": IC3Net,
    "dsac": DSAC,
    "dmpo": DMPO,
}

__all__ = [
    "ALGORITHMS",
    "CPPO",
    "DMPO",
    "DPPO",
    "DSAC",
    "IA2C",
    "AgentSpec",
    "Algorithm",
    "Decision",
    "IC3Net",
    "Streams",
]
