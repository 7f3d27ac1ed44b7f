"""Metrics: figures of one episode, each a function of its trajectory, one file a group.

``METRICS`` is the one list that evaluation, comparison, files and documentation share.
"""

from trafficrl.evaluation.metrics import comfort, control, energy, safety, speed, task, waves
from trafficrl.evaluation.metrics.base import GROUPS, METRICS, Metric

__all__ = [
    "GROUPS",
    "METRICS",
    "Metric",
    "comfort",
    "control",
    "energy",
    "safety",
    "speed",
    "task",
    "waves",
]
