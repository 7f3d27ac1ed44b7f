"""The errors that a user can cause or meet, as one tree.

Every message names the file, key or object, says what is wrong and what would
be right. The command line prints the message on one line and exits with 1.
"""


class TrafficRLError(Exception):
    """Base of every error that trafficrl raises on purpose."""


class ScenarioError(TrafficRLError):
    """A scenario file, an override or a network description is not usable."""


class SimulationError(TrafficRLError):
    """SUMO cannot be found, started or driven."""


class ConnectionLost(SimulationError):
    """The SUMO that ran is gone: it ended, or somebody closed its window.

    ``in_order`` is False where it went in the middle of an answer, or answers make no sense.
    """

    in_order = True


class LockedError(TrafficRLError):
    """Another process has the directory."""


class CheckpointError(TrafficRLError):
    """A run directory or a checkpoint is missing, damaged or of another kind."""


class WriteError(TrafficRLError):
    """A file cannot be written: there is no room, or no right to."""


class NumericalError(TrafficRLError):
    """A loss, a gradient, an observation, a reward or an action is NaN or infinite."""


def printable(text: str, *, keep: str = "") -> str:
    """``text`` with what would break its line as Python writes it, but for those in ``keep``."""
    return "".join(one if one.isprintable() or one in keep else repr(one)[1:-1] for one in text)
