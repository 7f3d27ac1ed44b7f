"""Which module may import which: section 4 of the design, read off the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "trafficrl"

LEARNING = [
    *("trafficrl.nn", "trafficrl.algorithms", "trafficrl.training"),
    *("trafficrl.evaluation", "trafficrl.deployment"),
]
WORLD = ["trafficrl.simulation", "trafficrl.envs"]
SUMO = ["libsumo", "traci"]

# part of the package -> what nothing in it may import, not even inside a function
FORBIDDEN = {
    **{
        part: ["torch", *LEARNING]
        for part in (
            "errors.py",
            "types.py",
            "resources.py",
            "graph.py",
            "config",
            "simulation",
            "controllers",
            "envs",
        )
    },
    "nn": [*SUMO, *WORLD],
    "algorithms": [*SUMO, *WORLD],
}


def imported_names(source: str, package: str) -> set[str]:
    """Dotted names that ``source`` imports anywhere, relative ones resolved in ``package``."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) + 1 - node.level]
            base = ".".join([*(parents if node.level else []), *([node.module or ""])]).strip(".")
            # `from trafficrl import nn` imports a module too.
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and _called(node) in {"import_module", "__import__"}:
            names |= {arg.value for arg in node.args[:1] if _is_text(arg)}
    return names


def _called(node: ast.Call) -> str:
    function = node.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def modules_in(part: str) -> list[Path]:
    path = PACKAGE / part
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def violations(path: Path, forbidden: list[str]) -> list[str]:
    package = ".".join(path.relative_to(ROOT).parent.parts)
    names = imported_names(path.read_text(encoding="utf-8"), package)
    return sorted(
        f"{path.relative_to(ROOT)} imports {name}"
        for name in names
        if any(name == ban or name.startswith(f"{ban}.") for ban in forbidden)
    )


@pytest.mark.parametrize("part", FORBIDDEN)
def test_the_world_and_learning_do_not_know_each_other(part: str) -> None:
    found = [v for path in modules_in(part) for v in violations(path, FORBIDDEN[part])]
    assert not found


def test_two_modules_touch_sumo() -> None:
    """One has a SUMO of its own, the other meets one that somebody else has started."""
    touch = [PACKAGE / "simulation" / name for name in ("sumo.py", "connection.py")]
    assert all(path.exists() for path in touch)
    others = [path for path in modules_in(".") if path not in touch]
    assert not [v for path in others for v in violations(path, SUMO)]


def test_nothing_imports_the_command_line() -> None:
    others = [path for path in modules_in(".") if path != PACKAGE / "__main__.py"]
    assert not [v for path in others for v in violations(path, ["trafficrl.cli"])]


@pytest.mark.parametrize(
    "source",
    [
        "import trafficrl.nn",
        "from trafficrl import nn",
        "from trafficrl.nn import policies",
        "from ..nn import policies",
        "from .. import nn",
        "def f():\n    import trafficrl.nn.policies",
        "import importlib\nimportlib.import_module('trafficrl.nn')",
    ],
)
def test_the_reader_of_imports_sees_every_form(source: str) -> None:
    names = imported_names(source, "trafficrl.envs")
    assert any(name == "trafficrl.nn" or name.startswith("trafficrl.nn.") for name in names)


# What would run code out of a file, a scenario or a checkpoint of a stranger.
RUNS_CODE = {"eval", "exec", "compile", "__import__"}
UNPICKLES = ["_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "code"]
LOADERS = {
    "torch.load": "weights_only=True",
    "torch.hub.load": "",
    "torch.jit.load": "",
    "torch.package": "",
    "yaml.load": "Loader=yaml.SafeLoader",
    "yaml.load_all": "Loader=yaml.SafeLoader",
    "yaml.unsafe_load": "",
    "yaml.full_load": "",
    "pandas.read_pickle": "",
    "os.system": "",
    "os.popen": "",
}
ALLOWED_WITH = {call: needed for call, needed in LOADERS.items() if needed}


def dangers(source: str) -> list[str]:
    """Calls that could run code out of data, each as it stands in ``source``."""
    found = []
    for node in ast.walk(ast.parse(source)):
        unpickles = isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pickle"
        if (unpickles and "Error" not in ast.unparse(node)) or (
            isinstance(node, ast.ImportFrom) and node.module == "pickle"
        ):
            found.append(ast.unparse(node))
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        options = {f"{one.arg}={ast.unparse(one.value)}" for one in node.keywords}
        risky = (
            name in RUNS_CODE
            or (name in LOADERS and ALLOWED_WITH.get(name) not in options)
            or options & {"shell=True", "allow_pickle=True", "weights_only=False"}
            or (name in ("np.load", "numpy.load") and "allow_pickle=False" not in options)
        )
        if risky:
            found.append(ast.unparse(node))
    return found


def shipped() -> list[Path]:
    return [
        path
        for folder in ("trafficrl", "cli", "benchmarks")
        for path in (ROOT / folder).rglob("*.py")
    ]


def test_no_file_can_run_code() -> None:
    """No pickle, no code from text, no shell; tensors and YAML by their safe loaders alone."""
    sources = {path: path.read_text(encoding="utf-8") for path in shipped()}
    assert len(sources) > 100
    assert not {str(path): found for path, text in sources.items() if (found := dangers(text))}
    assert not [v for path in sources for v in violations(path, UNPICKLES)]


@pytest.mark.parametrize(
    "source",
    [
        "eval(text)",
        "exec(text, {})",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, map_location='cpu', weights_only=trust)",
        "yaml.load(text, yaml.Loader)",
        "yaml.load(text, Loader=yaml.Loader)",
        "yaml.unsafe_load(text)",
        "np.load(path, allow_pickle=True)",
        "subprocess.run(line, shell=True)",
        "os.system(line)",
        "pickle.loads(data)",
        "load = pickle.load",
        "from pickle import loads",
    ],
)
def test_the_reader_of_dangers_sees_every_form(source: str) -> None:
    assert dangers(source)


def test_safe_loaders_pass() -> None:
    assert not dangers("torch.load(path, map_location='cpu', weights_only=True)")
    assert not dangers("yaml.load(text, Loader=yaml.SafeLoader)")
    assert not dangers("np.load(path, allow_pickle=False)")


def test_scenarios_are_read_by_a_safe_loader() -> None:
    import yaml

    from trafficrl.config.yaml_source import _Loader

    assert issubclass(_Loader, yaml.SafeLoader)
    assert not any("python" in str(tag) for tag in _Loader.yaml_constructors)


@pytest.mark.parametrize("module", ["trafficrl", "trafficrl.cli.main", "trafficrl.cli.doctor"])
def test_the_command_line_starts_without_heavy_libraries(module: str) -> None:
    heavy = [
        "torch",
        "numpy",
        "matplotlib",
        "pydantic",
        "libsumo",
        "traci",
        "networkx",
        "gymnasium",
        "rich",
        "ray",
    ]
    script = f"import sys, {module}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
