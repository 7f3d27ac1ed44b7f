"""Options that make any training on a ring take a moment."""

from __future__ import annotations

SMALL = {
    "vehicles.0.count": "6",
    "network.length_m": "120.0",
    "episode.steps": "60",
    "episode.control_interval_s": "0.5",
    "training.algorithm": "dppo",  # the quickest
    "training.replicas": "2",
    "training.validate_every_steps": "160",
    "training.validate_episodes": "2",
    "algorithms.dppo.rollout_steps": "40",
    "algorithms.dppo.policy_hidden": "[8]",
    "algorithms.dppo.value_hidden": "[8]",
    "algorithms.dppo.epochs": "2",
    "algorithms.dppo.minibatches": "2",
}


def small_ring() -> list[str]:
    """For the command line."""
    return [word for key, value in SMALL.items() for word in ("--set", f"{key}={value}")]
