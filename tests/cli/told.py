"""What displays are told of a training, made up."""

from __future__ import annotations

from types import SimpleNamespace

from trafficrl.training.progress import Progress

LOSS = "the worker of simulation 0 ended by signal 9 and was replaced"


def progress(
    steps: int, validation: dict[str, float] | None, *, lost: bool = False, **metrics: float
) -> Progress:
    """After an update; with the loss of a worker on the way if ``lost``."""
    episode = SimpleNamespace(
        episode=0,
        replica=0,
        collisions=2,
        override_fraction=0.25,
        row=lambda: {
            "return": -12.5,
            "mean_speed_mps": 4.25,
            "speed_std_mps": 0.5,
            "collisions": 2,
            "override_fraction": 0.25,
        },
    )
    return Progress(
        iteration=1,
        sim_steps=steps,
        total_steps=60_000,
        steps_per_second=100.0,
        seconds={"collect_s": 1.0, "update_s": 2.0, "validate_and_save_s": 1.0},
        metrics={"mean_speed_mps": 4.0, "return_per_step": -0.125, **metrics},
        episodes=[episode],  # type: ignore[list-item]
        validation=validation,
        warnings=[{"kind": "k", "text": "Vehicle 'a' performs emergency braking", "time_s": 1.0}],
        n_warnings=12,
        workers_lost=[LOSS] if lost else [],
    )


def validation(value: float) -> dict[str, float]:
    return {
        "return": value,
        "mean_speed_mps": 4.8,
        "speed_std_mps": 0.01,
        "collisions": 0.0,
        "override_fraction": 0.5,
    }
