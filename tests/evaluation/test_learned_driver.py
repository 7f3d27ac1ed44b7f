"""A trained run drives other numbers of vehicles where its agents share their weights."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from trafficrl import load_scenario
from trafficrl.algorithms import ALGORITHMS
from trafficrl.config import ScenarioConfig
from trafficrl.envs.array_env import ArrayEnv
from trafficrl.errors import CheckpointError, TrafficRLError
from trafficrl.evaluation.drivers import make_driver
from trafficrl.evaluation.evaluate import run_episodes
from trafficrl.training.checkpoint import load_checkpoint, save_checkpoint
from trafficrl.training.links import LinkTracker
from trafficrl.training.run_directory import RunDirectory
from trafficrl.training.setup import make_algorithm
from trafficrl.training.trainer import Trainer

SHORT = [
    "episode.steps=60",
    "episode.control_interval_s=0.5",
    "training.total_steps=240",
    "training.validate_every_steps=1000000",
    "training.validate_episodes=1",
]
# What makes an update of each algorithm take a moment, and its agents share their weights.
SMALL = {
    "dppo": ["share_parameters=true", "rollout_steps=60", "epochs=2"],
    "cppo": ["share_parameters=true", "rollout_steps=60", "epochs=2"],
    "ia2c": ["share_parameters=true", "rollout_steps=60"],
    "ic3net": ["share_parameters=true", "rollout_steps=60"],
    "dsac": ["share_parameters=true", "rollout_steps=60", "batch_size=8"],
    "dmpo": [
        "base={kind: dppo, share_parameters: true, rollout_steps: 60, epochs: 2}",
        "model.max_updates=5",
        "inner_iterations=1",
        "branches=8",
        "branch_length=2",
    ],
}


def overrides(algorithm: str) -> list[str]:
    settings = [f"algorithms.{algorithm}.{setting}" for setting in SMALL[algorithm]]
    return [*SHORT, f"training.algorithm={algorithm}", *settings]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """``trained(*overrides)``: the directory of a run on the ring, made once."""
    runs: dict[tuple[str, ...], Path] = {}

    def get(*changes: str) -> Path:
        if changes not in runs:
            runs[changes] = tmp_path_factory.mktemp("runs") / "run"
            config = load_scenario("ring", changes)
            run = RunDirectory(runs[changes]).create(config, {})
            with closing(Trainer(config, run)) as trainer:
                trainer.train()
        return runs[changes]

    return get


def ring_of(run: Path, vehicles: int, *changes: str) -> ScenarioConfig:
    """The ring that the run was trained on, with other vehicles."""
    _, config = make_driver(str(run), "latest")
    assert config is not None
    return load_scenario(config, [f"vehicles.0.count={vehicles}", *changes])


@pytest.mark.parametrize("algorithm", sorted(ALGORITHMS))
@pytest.mark.parametrize("vehicles", [15, 30])
def test_shared_weights_drive_another_number_of_vehicles(
    trained, algorithm: str, vehicles: int
) -> None:
    run = trained(*overrides(algorithm))
    config = ring_of(run, vehicles, "network.length_m=400", "start.speed_mps=3")
    driver = make_driver(str(run), "latest")[0]
    first, again = (run_episodes(driver, config, episodes=1) for _ in range(2))
    assert first == again
    coasting = run_episodes(make_driver("constant:0")[0], config, episodes=1)
    assert first[0].steps == 60 and first[0].mean_speed_mps != coasting[0].mean_speed_mps


def test_every_vehicle_acts_by_the_learned_weights(trained) -> None:
    """Against a learner made for 15 vehicles that is given the policy alone."""
    run = trained(*overrides("dppo"))
    config = ring_of(run, 15)
    driver = make_driver(str(run), "latest")[0]
    with closing(ArrayEnv(config, seed=0)) as env:
        obs = env.reset()
        algorithm = make_algorithm("dppo", config, env, seed=9)
        learner = load_checkpoint(run / "latest.pt")["learner"]
        algorithm.policy.load_state_dict(learner["policy"])
        links, nothing = LinkTracker(env, algorithm.value_hops).now(), torch.zeros(1, 15, 0)
        expected = algorithm.act(torch.from_numpy(obs), links, nothing, None).action.numpy()
        driver.begin(env, np.random.default_rng(0))
        driver.step(env, obs)
        commanded = env.states.commanded_acceleration[:, env.agents, None]
        np.testing.assert_allclose(commanded, expected.clip(-1, 1), atol=1e-6)
        assert np.ptp(expected) > 0


def test_critics_of_another_width_are_no_obstacle(trained) -> None:
    """Of 4 vehicles on a ring, a critic hears 3 others, of the 22 in the training 6."""
    run = trained(*overrides("dppo"))
    (episode,) = run_episodes(make_driver(str(run), "latest")[0], ring_of(run, 4), episodes=1)
    assert episode.steps == 60


def test_own_weights_drive_their_own_number_alone(trained) -> None:
    run = trained(*SHORT, "algorithms.dppo.rollout_steps=60")
    driver = make_driver(str(run), "latest")[0]
    assert len(run_episodes(driver, ring_of(run, 22), episodes=1)) == 1
    with pytest.raises(TrafficRLError, match="its number of learned vehicles is not that of"):
        run_episodes(driver, ring_of(run, 15), episodes=1)


def test_shared_weights_still_need_their_observation_and_graph(trained) -> None:
    run = trained(*overrides("dppo"))
    driver = make_driver(str(run), "latest")[0]
    for change, what in (("observation.0.scale=11", "observation"), ("graph.range_m=9", "graph")):
        with pytest.raises(TrafficRLError, match=f"its {what} is not that of 'ring'"):
            run_episodes(driver, ring_of(run, 15, change), episodes=1)


def test_a_policy_that_would_hear_more_or_fewer_is_refused(trained) -> None:
    """With two vehicles on the ring, leader and follower are one."""
    run = trained(*overrides("dppo"))
    with pytest.raises(TrafficRLError, match="up to 1 vehicles there, and up to 2 in 'ring'"):
        run_episodes(make_driver(str(run), "latest")[0], ring_of(run, 2), episodes=1)


@pytest.mark.parametrize("limit", [None, 4])
def test_in_a_graph_by_range_a_limit_makes_neighbourhoods_alike(trained, limit: int | None) -> None:
    by_range = ["graph.range_m=30.0", f"graph.max_neighbours={limit or 'null'}"]
    run = trained(*overrides("dppo"), *by_range)
    driver, config = make_driver(str(run), "latest")[0], ring_of(run, 15)
    if limit is None:
        with pytest.raises(TrafficRLError, match=r"graph\.max_neighbours") as caught:
            run_episodes(driver, config, episodes=1)
        assert "\n" not in str(caught.value)
    else:
        assert len(run_episodes(driver, config, episodes=1)) == 1


def test_a_checkpoint_that_does_not_say_its_shape_is_refused(trained, tmp_path: Path) -> None:
    run = RunDirectory.open(trained(*overrides("dppo")))
    copy = RunDirectory(tmp_path / "run").create(run.scenario(), {})
    content = load_checkpoint(run.latest)
    del content["widths"]
    save_checkpoint(copy.latest, content)
    with pytest.raises(CheckpointError, match=r"latest\.pt: does not fit its scenario"):
        run_episodes(make_driver(str(copy.path), "latest")[0], run.scenario(), episodes=1)
