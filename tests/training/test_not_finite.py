"""NaN and inf stop a training by name, and no checkpoint has ever had them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch

from trafficrl.envs.array_env import Step
from trafficrl.errors import NumericalError
from trafficrl.training.checkpoint import load_checkpoint
from trafficrl.training.progress import Progress
from trafficrl.training.trainer import Trainer

from .runs import assert_same_end

ALGORITHMS = ["ring", "cppo", "ia2c", "ic3net", "dsac", "dmpo", "dmpo_on_dsac"]
Broken = Callable[[Trainer], None]


def stopped(run, damage: Broken, at: int = 3) -> str:
    """The message of a training that is damaged after that update."""

    def spoil(trainer: Trainer, progress: Progress) -> None:
        if trainer.iteration == at:
            trainer.saver.save(trainer._state_dict())  # whatever that costs
            damage(trainer)

    with pytest.raises(NumericalError) as caught:
        run.run(spoil)
    message = str(caught.value)
    assert "\n" not in message
    good = load_checkpoint(run.path / "latest.pt")
    assert good["iteration"] == at
    assert f"the last good checkpoint is {run.path}/latest.pt of step {80 * at:,}" in message
    return message


def spoil_policy(value: float) -> Broken:
    def damage(trainer: Trainer) -> None:
        base = getattr(trainer.algorithm, "base", trainer.algorithm)
        with torch.no_grad():
            for parameter in base.policy.parameters():
                parameter[3 % len(parameter)] = value  # or the one that all share

    return damage


def spoil_step(change: Callable[[Step], None]) -> Broken:
    """The environment's third step from then on is damaged."""

    def damage(trainer: Trainer) -> None:
        [member] = trainer.fleet.members
        env = member.shard.env
        step, count = env.step, iter(range(100))

        def spoiled(action: np.ndarray) -> Step:
            result = step(action)
            if next(count) == 2:
                change(result)
            return result

        env.step = spoiled

    return damage


@pytest.mark.parametrize("task", ALGORITHMS)
def test_a_broken_policy_is_stopped_at_its_action_and_the_run_goes_on_without(
    training, finished, task: str
) -> None:
    run = training("broken", task)
    message = stopped(run, spoil_policy(float("nan")))
    agent = 0 if task == "ic3net" else 3  # all share their weights there
    expected = f"cav_{agent}: its action at step 240 is [nan]; after update 3, step 240; "
    assert message.startswith(expected)
    assert_same_end(run.run(resume=True).path, finished(task).path)


def test_a_broken_policy_of_choices_is_stopped_before_it_draws(training) -> None:
    message = stopped(training("broken", "catchup"), spoil_policy(float("nan")))
    assert message.startswith("cav_3: what its policy puts out is nan; after update 3, step 240")


def test_infinite_figures_are_stopped_too(training) -> None:
    assert re.match(
        r"cav_3: its action at step 240 is ", stopped(training("a"), spoil_policy(1e38))
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("what", ["observation", "reward"])
def test_what_the_environment_yields_is_watched(training, what: str, value: float) -> None:
    def change(step: Step) -> None:
        values = step.obs if what == "observation" else step.reward
        values[1, 4] = value

    message = stopped(training("broken"), spoil_step(change))
    # Three steps of 0.5 s in two replicas later.
    assert message.startswith(f"cav_4: its {what} at step 270 is ")


@pytest.mark.parametrize(
    ("task", "setting", "what"),
    [
        ("ring", "algorithms.dppo.policy_lr=1e9", "policy"),
        ("ia2c", "algorithms.ia2c.value_lr=1e9", "critic|policy"),
        ("dsac", "algorithms.dsac.value_lr=1e9", "critics|policy"),
        ("dmpo", "algorithms.dmpo.model.lr=1e9", "dynamics model"),
    ],
)
def test_a_learning_rate_that_blows_up_is_stopped_by_loss_or_gradient(
    training, task: str, setting: str, what: str
) -> None:
    run = training("wild", task, setting)
    with pytest.raises(NumericalError) as caught:
        run.run()
    message = str(caught.value)
    noticed = rf"the (loss|gradient) of the ({what}) is (-?inf|nan)|its action at step|what its "
    assert re.match(rf"(cav_\d|all agents): ({noticed})", message), message
    assert "\n" not in message and "checkpoint" in message
    for path in run.path.glob("*.pt"):
        assert all_finite(load_checkpoint(path))


def all_finite(part: object) -> bool:
    if isinstance(part, torch.Tensor):
        return not part.isnan().any()
    if isinstance(part, dict | list):
        return all(map(all_finite, part.values() if isinstance(part, dict) else part))
    return True


def test_a_learner_with_nan_is_never_saved(training) -> None:
    """Even where nothing has noticed it before."""

    def damage(trainer: Trainer) -> None:
        mean = trainer.algorithm.value_norm.mean
        for name in ("save", "save_best"):
            save = getattr(trainer.saver, name)

            def spoiled(state: dict, save=save) -> None:
                mean[2] = float("nan")
                save(state)

            setattr(trainer.saver, name, spoiled)

    message = stopped(training("broken"), damage)
    assert message.startswith("value_norm.mean of the learner is nan")


@pytest.mark.parametrize("task", ALGORITHMS)
def test_norms_of_gradients_are_logged_over_agents(finished, task: str) -> None:
    lines = [json.loads(line) for line in (finished(task).path / "metrics.jsonl").open()]
    names = {name for line in lines for name in line if name.endswith("_grad_norm")}
    assert names >= {"policy_grad_norm", "value_grad_norm"}
    assert ("model_grad_norm" in names) == ("dmpo" in task)
    assert ("gate_grad_norm" in names) == (task == "ic3net")
    for line in lines:
        for name in names & line.keys():
            mean, largest, median = (line[f"{name}{end}"] for end in ("", "_max", "_median"))
            assert 0.0 <= median <= largest and mean <= largest
