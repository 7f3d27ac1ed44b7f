"""A trained run drives other vehicles, on other roads, by the policies that it has learned."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from trafficrl import load_scenario
from trafficrl.algorithms import ALGORITHMS
from trafficrl.algorithms.rollout import Links
from trafficrl.config import ScenarioConfig
from trafficrl.envs.array_env import ArrayEnv, Step
from trafficrl.errors import CheckpointError, TrafficRLError
from trafficrl.evaluation.carry import carry
from trafficrl.evaluation.dealing import Assignment
from trafficrl.evaluation.drivers import Driver, make_driver
from trafficrl.evaluation.evaluate import run_episodes
from trafficrl.training.checkpoint import load_checkpoint, save_checkpoint
from trafficrl.training.links import LinkTracker, count_messages
from trafficrl.training.run_directory import RunDirectory
from trafficrl.training.setup import make_algorithm
from trafficrl.training.shard import Shard
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
    assert list(first[0].values()) == pytest.approx(list(again[0].values()), nan_ok=True, abs=0)
    coasting = run_episodes(make_driver("constant:0")[0], config, episodes=1)
    assert first[0]["episode_steps"] == 60
    assert first[0]["mean_speed_mps"] != coasting[0]["mean_speed_mps"]


def test_every_vehicle_acts_by_the_learned_weights(trained) -> None:
    """Against a learner made for 15 vehicles that is given the policy alone."""
    run = trained(*overrides("dppo"))
    config = ring_of(run, 15)
    driver = make_driver(str(run), "latest")[0]
    with closing(ArrayEnv(config, seed=0)) as env:
        obs = env.reset()
        hops = config.algorithms.dppo.value_hops
        algorithm = make_algorithm("dppo", config, LinkTracker(env, hops).widths(), seed=9)
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
    assert episode["episode_steps"] == 60


def commanded(driver: Driver, config: ScenarioConfig) -> tuple[np.ndarray, np.ndarray]:
    """What the learned vehicles observe at first and what they are told, (N, O) and (N,)."""
    with closing(ArrayEnv(config, seed=0)) as env:
        obs = env.reset()
        driver.begin(env, np.random.default_rng(0))
        driver.step(env, obs)
        return obs[0], env.states.commanded_acceleration[0, env.agents].copy()


@pytest.fixture(scope="module")
def told_apart(trained, tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    """A run of 22 vehicles, of which agent i always commands (i - 11) / 20 m/s2."""
    run = RunDirectory.open(trained(*SHORT, "training.algorithm=dppo", "warmup=null"))
    copy = RunDirectory(tmp_path_factory.mktemp("apart") / "run").create(run.scenario(), {})
    content = load_checkpoint(run.latest)
    initial = np.arctanh(run.scenario().algorithms.dppo.initial_action_mean)
    policy = content["learner"]["policy"]
    *_, last = (key for key in policy if key.endswith("weight"))
    policy[last].zero_()
    wanted = torch.from_numpy(np.arctanh((np.arange(22) - 11) / 20) - initial)
    policy[last.replace("weight", "bias")].copy_(wanted[:, None, None])
    save_checkpoint(copy.latest, content)
    return copy


def drive(run: RunDirectory, assign: Assignment | None = None) -> Driver:
    return make_driver(str(run.path), "latest", assign)[0]


@pytest.mark.parametrize(
    ("assign", "vehicles", "expected"),
    [
        (None, 22, range(22)),
        ("slot", 22, range(22)),
        (None, 8, [0, 3, 6, 9, 12, 15, 18, 21]),
        ("position", 4, [0, 7, 14, 21]),
        ("slot", 4, [0, 1, 2, 3]),
        ("slot", 25, [*range(22), 0, 1, 2]),
    ],
)
def test_own_weights_are_dealt_to_any_number(told_apart, assign, vehicles, expected) -> None:
    config = ring_of(told_apart.path, vehicles, "network.length_m=400")
    _, command = commanded(drive(told_apart, assign), config)
    np.testing.assert_allclose(command, (np.array(expected) - 11) / 20, atol=1e-6)


def test_human_drivers_are_dealt_none(told_apart) -> None:
    """Learned vehicles 0, 2 and 3 of five are first, middle and last."""
    mixed = "[{controller: learned}, {controller: idm}, {controller: learned, count: 2}]"
    _, command = commanded(
        drive(told_apart), load_scenario(ring_of(told_apart.path, 4), [f"vehicles={mixed}"])
    )
    np.testing.assert_allclose(command, [-11 / 20, -1 / 20, 10 / 20], atol=1e-6)  # 10.5 to 10


def test_where_lanes_decide_who_follows_whom_leaders_are_counted(told_apart) -> None:
    """On two lanes side by side vehicles i and i + 1 have the same number of leaders."""
    road = load_scenario(
        "catchup",
        [
            "vehicles=[{controller: learned, count: 6}]",
            "network.lanes=2",
            "observation=[{feature: speed}]",
            "reward.terms=[{term: squared_acceleration, weight: -1}]",
        ],
    )
    config = carry(told_apart.scenario(), road)
    _, command = commanded(drive(told_apart), config)
    expected = (np.array([0, 0, 1, 1, 2, 2]) - 11) / 20
    np.testing.assert_allclose(command, expected, atol=1e-6)


def test_one_policy_for_all_must_have_been_learned_as_one(told_apart, trained) -> None:
    with pytest.raises(TrafficRLError, match="--assign shared: each of its 22 vehicles") as caught:
        drive(told_apart, "shared")
    assert "\n" not in str(caught.value)
    run = RunDirectory.open(trained(*overrides("dppo")))
    config = ring_of(run.path, 5)
    ways: list[Assignment | None] = [None, "shared", "slot", "position"]
    told = [commanded(drive(run, assign), config)[1] for assign in ways]
    assert all(np.array_equal(one, told[0]) for one in told)


def test_a_deal_is_of_a_runs_policies(told_apart) -> None:
    with pytest.raises(TrafficRLError, match="idm: --assign"):
        make_driver("idm", assign="slot")


def test_what_is_not_the_runs_scenario_must_be_carried_to(trained) -> None:
    run = trained(*overrides("dppo"))
    driver = make_driver(str(run), "latest")[0]
    for change, what in (
        ("observation.0.scale=11", "observation"),
        ("graph.range_m=9", "graph"),
        ("episode.control_interval_s=0.1", "control interval"),
    ):
        other = ring_of(run, 15, change)
        with pytest.raises(TrafficRLError, match=f"its {what} is not that of 'ring'"):
            run_episodes(driver, other, episodes=1)
        assert len(run_episodes(driver, carry(ring_of(run, 22), other), episodes=1)) == 1


@pytest.mark.parametrize("other", ["figure_eight", "catchup", "ring_free"])
def test_a_run_of_the_ring_drives_other_tasks(trained, other: str) -> None:
    run = trained(*overrides("dppo"))
    driver, own = make_driver(str(run), "latest")
    assert own is not None
    config = carry(own, load_scenario(other, ["episode.steps=40"]))
    first, again = (run_episodes(driver, config, episodes=1) for _ in range(2))
    assert list(first[0].values()) == pytest.approx(list(again[0].values()), nan_ok=True, abs=0)
    assert first[0]["episode_steps"] == 40


def test_a_platoon_drives_on_the_ring_what_it_can_observe_there(trained) -> None:
    seen = "observation=[{feature: relative_speed}, {feature: optimal_velocity_error}]"
    run = trained(*overrides("dppo"), "action={kind: ovm_gains, gains: [[0, 0], [1, 1]]}", seen)
    driver, own = make_driver(str(run), "latest")
    assert own is not None
    (episode,) = run_episodes(driver, carry(own, load_scenario("ring", SHORT)), episodes=1)
    assert episode["episode_steps"] == 60


@pytest.mark.parametrize("vehicles", [1, 2])
def test_a_policy_hears_nobody_where_there_is_nobody(trained, vehicles: int) -> None:
    """With two vehicles on the ring, leader and follower are one."""
    run = trained(*overrides("dppo"))
    config, driver = ring_of(run, vehicles), drive(RunDirectory.open(run))
    obs, command = commanded(driver, config)
    learner = load_checkpoint(run / "latest.pt")["learner"]
    whole = ring_of(run, 22)
    with closing(Shard(whole)) as shard:
        algorithm = make_algorithm("dppo", whole, shard.open().widths, seed=9)
    algorithm.policy.load_state_dict(learner["policy"])
    inputs = torch.zeros(vehicles, 1, 3 * obs.shape[-1])
    inputs[..., : obs.shape[-1]] = torch.from_numpy(obs)[:, None]
    if vehicles == 2:
        gain = algorithm.encoder._gain
        ahead = (torch.from_numpy(obs).flip(0) - torch.from_numpy(obs)) * gain
        inputs[:, 0, obs.shape[-1] : 2 * obs.shape[-1]] = ahead
    expected = algorithm.policy.mode(inputs)[:, 0, 0].detach().numpy()
    np.testing.assert_allclose(command, expected.clip(-1, 1), atol=1e-6)


@pytest.mark.parametrize("limit", [None, 4])
@pytest.mark.parametrize("vehicles", [3, 30])
def test_neighbours_by_range_are_as_many_as_in_the_training(
    trained, vehicles: int, limit: int | None
) -> None:
    by_range = ["graph.range_m=30.0", f"graph.max_neighbours={limit or 'null'}"]
    run = trained(*overrides("dppo"), *by_range)
    config = ring_of(run, vehicles, "network.length_m=300")
    assert len(run_episodes(drive(RunDirectory.open(run)), config, episodes=1)) == 1


class NewVehicle(ArrayEnv):
    """Another vehicle takes the place of vehicle 2 in every control interval."""

    def step(self, action: np.ndarray) -> Step:
        step = super().step(action)
        step.entered = step.entered.copy()
        step.entered[:, 2] = True
        return step


def test_memory_is_the_vehicles_own_and_a_new_one_has_none(trained) -> None:
    run = trained(*overrides("ic3net"))
    mixed = "vehicles=[{controller: idm}, {controller: learned, count: 4}]"
    config, driver = ring_of(run, 5, mixed), drive(RunDirectory.open(run))
    first, again = (run_episodes(driver, config, episodes=1) for _ in range(2))
    assert first == again
    with closing(NewVehicle(config)) as env:
        obs = env.reset(np.random.default_rng(0))
        driver.begin(env, np.random.default_rng(0))
        driver.step(env, obs)
        remembers = driver._memory.abs().sum(-1) > 0  # type: ignore[attr-defined]
    assert remembers.tolist() == [[True, False, True, True]]


def test_a_checkpoint_that_does_not_say_its_shape_is_refused(trained, tmp_path: Path) -> None:
    run = RunDirectory.open(trained(*overrides("dppo")))
    copy = RunDirectory(tmp_path / "run").create(run.scenario(), {})
    content = load_checkpoint(run.latest)
    del content["widths"]
    save_checkpoint(copy.latest, content)
    with pytest.raises(CheckpointError, match=r"latest\.pt: does not fit its scenario"):
        run_episodes(make_driver(str(copy.path), "latest")[0], run.scenario(), episodes=1)


# Messages -----------------------------------------------------------------------------


def test_every_vehicle_hears_its_leader_and_its_follower(trained) -> None:
    """A directed edge each way between neighbours on the ring: 2 a vehicle, whatever drives it."""
    run = trained(*overrides("dppo"))
    for vehicles in (22, 15):
        config = ring_of(run, vehicles)
        (episode,) = run_episodes(make_driver(str(run), "latest")[0], config, episodes=1)
        assert episode["messages_per_control_step"] == 2 * vehicles
    for name in ("idm", "constant:0"):
        (episode,) = run_episodes(make_driver(name)[0], ring_of(run, 22), episodes=1)
        assert episode["messages_per_control_step"] == 0


def test_messages_follow_a_graph_that_changes(trained) -> None:
    """All within 30 m: on a ring of 15 vehicles in 260 m that is one or two ahead and behind."""
    run = trained(*overrides("dppo"), "graph.range_m=30.0", "graph.max_neighbours=4")
    config = ring_of(run, 15)
    driver = make_driver(str(run), "latest")[0]
    with closing(ArrayEnv(config, seed=0)) as env:
        obs = env.reset()
        driver.begin(env, np.random.default_rng(0))
        for _ in range(3):
            (graph,) = env.vehicle_graphs()
            obs = driver.step(env, obs).obs
            assert driver.messages == graph.adjacency.sum() - 15


def test_who_keeps_a_gate_shut_sends_nothing() -> None:
    """Of three agents in a row 0 - 1 - 2, the ends hear one neighbour, the middle two."""
    index = torch.tensor([[0, 1, 0], [1, 0, 2], [2, 1, 2]])
    mask = torch.tensor([[True, True, False], [True, True, True], [True, True, False]])
    links = Links((index, mask), (index, mask))
    speaks = torch.tensor([[1.0, 1.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    assert count_messages(links, speaks).tolist() == [4, 2, 1, 0]


def test_ic3net_counts_open_gates(trained) -> None:
    run = trained(*overrides("ic3net"))
    config = ring_of(run, 22)
    driver = make_driver(str(run), "latest")[0]
    with closing(ArrayEnv(config, seed=0)) as env:
        obs = env.reset()
        driver.begin(env, np.random.default_rng(0))
        driver.step(env, obs)
        assert driver.messages == 0  # nobody has opened a gate before the first step
        driver._memory[..., -1] = 1.0
        driver.step(env, obs)
        assert driver.messages == 44
