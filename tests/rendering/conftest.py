"""Short episodes that are driven again in a sumo-gui on an invisible screen."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trafficrl.config import ScenarioConfig, load_scenario
from trafficrl.evaluation.drivers import make_driver
from trafficrl.evaluation.evaluate import run_episodes
from trafficrl.evaluation.trajectory import Trajectory
from trafficrl.rendering import Scene, display, replay

SIZE = (1280, 480)
LEGEND = 190  # pixels at the left
SHORT = ["episode.steps=24", "warmup=null"]

needs_screen = pytest.mark.skipif(
    shutil.which("Xvfb") is None, reason="Xvfb is not installed (apt-get install xvfb)"
)


@dataclass
class Shown:
    """An episode that was driven again."""

    trajectory: Trajectory
    pictures: list[NDArray[np.uint8]]  # (height, width, 3) each
    differs_at: int | None

    def has(self, colour: tuple[int, int, int], picture: int = -1) -> bool:
        """Whether a picture has more than a few points of a colour beside its legend."""
        return len(self.where(colour, picture)) > 5

    def where(self, colour: tuple[int, int, int], picture: int = -1) -> NDArray[np.int64]:
        """Rows and columns of the points of a colour."""
        beside = self.pictures[picture][:, LEGEND:]
        return np.argwhere((beside == colour).all(axis=-1))


Show = Callable[..., Shown]


def evaluated(driver: str, config: ScenarioConfig, seed: int) -> Trajectory:
    """The trajectory of the first episode."""
    found: list[Trajectory] = []
    run_episodes(
        make_driver(driver)[0], config, episodes=1, seed=seed, places=True, on_episode=found.append
    )
    return found[0]


@pytest.fixture(scope="session")
def screen() -> Iterator[None]:
    """One for all, as starting it takes a moment."""
    with display(SIZE):
        yield


@pytest.fixture
def show(screen: None) -> Show:
    """``show(driver, scenario, *overrides, seed=0, replayed_seed=0, **scene)``."""

    def run(
        driver: str,
        scenario: str,
        *overrides: str,
        short: Sequence[str] = SHORT,
        seed: int = 0,
        replayed_seed: int | None = None,
        every: int = 8,
        **scene: Any,
    ) -> Shown:
        from matplotlib.image import imread

        config = load_scenario(scenario, [*short, *overrides])
        trajectory = evaluated(driver, config, seed)
        files: list[bytes] = []
        differs_at = replay(
            make_driver(driver)[0],
            config,
            trajectory,
            Scene(**scene),
            seed=seed if replayed_seed is None else replayed_seed,
            episode=0,
            size=SIZE,
            film=files.append,
            every=every,
        )
        pictures = [
            np.rint(imread(io.BytesIO(file), format="png")[..., :3] * 255).astype(np.uint8)
            for file in files
        ]
        return Shown(trajectory, pictures, differs_at)

    return run
