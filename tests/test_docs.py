"""Every command that the documentation shows runs."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.service import Service
from trafficrl.config import load_scenario
from trafficrl.controllers import CONTROLLERS
from trafficrl.controllers.sumo_models import COMMON
from trafficrl.evaluation.metrics import METRICS
from trafficrl.registry import Registry
from trafficrl.terms import FEATURES, REWARD_TERMS

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# As shown, but short: the figures are not what is tested here.
SHORT = {
    "train": [
        # Enough to hold out what the errors of a model are measured on.
        *("--total-steps", "300", "--set", "episode.steps=60", "--set", "warmup=null"),
        *("--set", "algorithms.dmpo.branches=4", "--set", "algorithms.dmpo.inner_iterations=1"),
        *("--set", "algorithms.dmpo.model.max_updates=2"),
    ],
    "evaluate": ["--episodes", "1", "--set", "episode.steps=200", "--set", "warmup=null"],
    "compare": ["--episodes", "1", "--set", "episode.steps=20", "--set", "warmup=null"],
    "transfer": ["--episodes", "1"],
    "report": ["--episodes", "1", "--no-clip"],
    "sweep": ["--dry-run"],
    "bench": ["--list"],  # tests/benchmarks runs some
    "render": [
        *("--start", "0", "--seconds", "0.2"),
        *("--set", "episode.steps=20", "--set", "warmup=null"),
    ],
    "plot time-space": ["--set", "episode.steps=200", "--set", "warmup=null"],
    "plot vehicles": ["--set", "episode.steps=200", "--set", "warmup=null"],
    "plot graph": ["--set", "episode.steps=200", "--set", "warmup=null"],
}


@pytest.mark.parametrize(
    ("registry", "page", "of_all"),
    [
        (FEATURES, "scenarios.md", ()),
        (REWARD_TERMS, "scenarios.md", ()),
        (CONTROLLERS, "controllers.md", COMMON),  # every model of SUMO has these
    ],
)
def test_every_registered_name_is_documented_with_its_parameters(
    registry: Registry[Callable[..., object]], page: str, of_all: Sequence[str]
) -> None:
    text = (ROOT / "docs" / page).read_text()
    rows = text.splitlines()
    assert all(f"`{parameter}`" in text for parameter in of_all)
    for name in registry:
        row = next((row for row in rows if row.startswith(f"| `{name}`")), None)
        assert row is not None, name
        for parameter in set(registry.parameters(name)) - set(of_all):
            assert f"`{parameter}`" in row, (name, parameter)


def test_every_metric_is_documented_and_nothing_else_is() -> None:
    page = (ROOT / "docs" / "evaluation.md").read_text()
    shown = re.findall(r"^\| `(\w+|reward_<term>)` \| (\w*) ?\|", page, re.M)
    directions = {name: better or None for name, better in shown}
    expected = {
        re.sub("^reward_.*", "reward_<term>", name): metric.better
        for name, metric in METRICS.items()
    }
    assert directions == expected


def shown_commands() -> list[str]:
    commands = []
    for page in PAGES:
        for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.M | re.S):
            lines = [line.partition(" #")[0].strip() for line in block.splitlines()]
            commands += [line for line in lines if line and not line.startswith("#")]
    return sorted(set(commands))


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory, service: Service) -> Path:
    """A folder with the checkout's scenarios and the runs that the pages speak of."""
    folder = tmp_path_factory.mktemp("reader")
    for name in ("scenarios", "sumo_configs", "docs", "results"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "short").mkdir()
    for name in ("ring", "ring_local", "ring_wave", "figure_eight"):
        text = f"extends: {name}\nepisode: {{steps: 20}}\nwarmup: null\n"
        (folder / "short" / f"{name}.yaml").write_text(text)
    run(["train", "ring", "--output", "runs/ring/dmpo-0"], folder, service)
    run(["train", "catchup", "--output", "runs/catchup-0"], folder, service)
    for name in ("ring-0", "ring_local"):
        shutil.copytree(folder / "runs/ring/dmpo-0", folder / "runs" / name)
    run(["evaluate", "idm", "--scenario", "ring", "--trajectories", "ring.csv"], folder, service)
    return folder


def short(arguments: list[str]) -> list[str]:
    """What is added to a command, or to a subcommand of it."""
    if "--trajectories" in arguments and arguments[0] == "plot":
        return []  # what was driven already
    return SHORT.get(arguments[0], SHORT.get(" ".join(arguments[:2]), []))


def run(arguments: list[str], folder: Path, service: Service) -> None:
    """Where everything is imported already."""
    answer = service.call([*arguments, *short(arguments)], folder, seconds=120.0)
    assert answer.code == 0, answer


def run_from_nothing(arguments: list[str], folder: Path) -> None:
    """In a new process."""
    done = subprocess.run(
        [sys.executable, "-m", "trafficrl", *arguments, *short(arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr + done.stdout


# ./go test runs this test, git and cd are not ours.
OURS = [
    command for command in shown_commands() if re.match(r"(\./go (?!test)|trafficrl )", command)
]
# Of each subcommand the first, which has to import all that it needs by itself.
FIRST_OF_EACH = {command.split()[1]: command for command in reversed(OURS)}.values()


def test_the_documentation_shows_commands() -> None:
    assert any("train scenarios/ring.yaml" in command for command in OURS)


@pytest.mark.parametrize("command", OURS)
def test_a_shown_command_runs(command: str, workplace: Path, service: Service) -> None:
    arguments = shlex.split(command)[1:]
    if "--resume" in arguments:
        pytest.skip("an interrupted run is needed; tests/training resumes one")
    if "ray://auto" in arguments:
        pytest.skip("a cluster is needed; tests/training/test_ray.py has one")
    if arguments[0] == "render" and shutil.which("Xvfb") is None:
        pytest.skip("Xvfb is not installed (apt-get install xvfb)")
    if arguments[0] == "train" and "--output" in arguments:
        arguments[arguments.index("--output") + 1] += "-again"
    if arguments[0] == "transfer":  # it has no --set
        files = {file.stem: str(file) for file in (workplace / "short").iterdir()}
        arguments = [files.get(word, word) for word in arguments]
    if command in FIRST_OF_EACH:
        run_from_nothing(arguments, workplace)
    else:
        run(arguments, workplace, service)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_shown_python_runs(page: Path, workplace: Path) -> None:
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(), re.M | re.S):
        done = subprocess.run(
            [sys.executable, "-c", block],
            cwd=workplace,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr


def test_shown_scenarios_load(tmp_path: Path) -> None:
    for page in PAGES:
        for block in re.findall(r"^```yaml\n(.*?)^```", page.read_text(), re.M | re.S):
            path = tmp_path / "shown.yaml"
            path.write_text(block)
            assert load_scenario(path).n_agents > 0
