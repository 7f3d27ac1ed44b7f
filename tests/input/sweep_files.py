"""Sweep files and command lines of sweeps: nothing starts, and no directory is made."""

# ruff: noqa: E501 (a case a line)

from __future__ import annotations

import os
from pathlib import Path

from .cases import Case, Prepare, changed, files

DRY, START = "sweep x.yaml --dry-run", "sweep x.yaml --output new"
GRID = """\
scenario: ring
set:
  training.algorithm: dppo
search:
  kind: grid
  values:
    algorithms.dppo.policy_lr: [1e-4, 1e-3]
    algorithms.dppo.gae_lambda: [0.5, 0.9]
seeds: [0, 1]
"""
OPTUNA = """\
scenario: ring
search:
  kind: optuna
  trials: 10
  ranges:
    algorithms.dppo.policy_lr: {low: 1e-5, high: 1e-2, log: true}
    algorithms.dppo.rollout_steps: {low: 100, high: 300, step: 100}
    training.algorithm: {choices: [dppo, cppo]}
"""


def grid(change: str, says: str, command: str = DRY, lines: int = 1) -> Case:
    """A grid with ``old => new``, or something more."""
    text = changed(GRID, change) if " => " in change else GRID + change
    return Case(
        f"{command.split()[-1]} {change[:50]!r}", command, says, files(x_yaml=text), lines=lines
    )


def optuna(change: str, says: str, lines: int = 1) -> Case:
    return Case(
        f"optuna {change[:50]!r}", DRY, says, files(x_yaml=changed(OPTUNA, change)), lines=lines
    )


def made(name: str, says: str, prepare: Prepare, command: str = DRY, lines: int = 1) -> Case:
    return Case(name, command, says, prepare, lines=lines)


def both(name: str, text: str) -> Prepare:
    """A good sweep, and a file beside it."""

    def prepare(folder: Path) -> None:
        (folder / "x.yaml").write_text(GRID)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)

    return prepare


FILES = [
    made("no sweep file", "x.yaml: No such file", lambda folder: None),
    made("a directory for a sweep", "x.yaml: a directory", lambda folder: (folder / "x.yaml").mkdir()),
    made("a pipe for a sweep", "x.yaml: not a regular file", lambda folder: os.mkfifo(folder / "x.yaml")),
    made("an empty sweep", "1:1: should be a mapping of keys such as 'scenario: ring'", files(x_yaml="")),
    made("a list for a sweep", "1:1: should be a mapping of keys", files(x_yaml="- scenario: ring\n")),
    made("binary for a sweep", "x.yaml", files(x_yaml=bytes(range(256)))),
    made("UTF-16 for a sweep", "x.yaml: not text at byte 0", files(x_yaml=GRID.encode("utf-16"))),
    made("a large sweep", "larger than 1 MB", files(x_yaml="#" * 2_000_000)),
    made("a tag in a sweep", "tags are not supported", files(x_yaml=GRID + "jobs: !!python/name:os.system\n")),
    made("a scenario for a sweep", "x.yaml", files(x_yaml="extends: ring\nname: x\n"), lines=4),
    grid("seeds => sedes", "9:1: sedes: unknown key (did you mean 'seeds'?)"),
    grid("jobs: 0\n", "10:1: jobs: should be at least 1, not 0"),
    grid("jobs: two\n", "jobs: should be a whole number, not 'two'"),
    grid("scenario: ring => scenario: rnig", "rnig: no such file (bundled: ring"),
    grid("scenario: ring => scenario: nowhere.yaml", "nowhere.yaml: no such file"),
    grid("scenario: ring => scenario: 3", "1:1: scenario: should be text, not 3"),
    grid("scenario: ring => scenario: ''", "scenario: "),
    grid("scenario: ring => scenario: /dev/zero", "/dev/zero: not a regular file"),
    grid("scenario: ring => ", "scenario: required key is missing", lines=1),
    grid("seeds: [0, 1] => seeds: []", "seeds: should have at least 1 item, has 0"),
    grid("seeds: [0, 1] => seeds: [0, 0]", "seeds: 0 is given twice"),
    grid("seeds: [0, 1] => seeds: [-1]", "should be at least 0, not -1"),
    grid("seeds: [0, 1] => seeds: 3", "seeds: should be a list, not 3"),
    grid("seeds: [0, 1] => seeds: [0.5]", "should be a whole number, not 0.5"),
    grid("objective: {figure: retrun}\n", "(did you mean 'return'?)"),
    grid("objective: {direction: up}\n", "should be 'maximise' or 'minimise', not 'up'"),
    grid("objective: {validation: first}\n", "should be 'best' or 'last', not 'first'"),
    grid("objective: return\n", "objective: should be a mapping of keys"),
]  # fmt: skip

SEARCHES = [
    grid("kind: grid => kind: gird", "search.kind: should be one of 'grid', 'optuna', not 'gird' (did you mean 'grid'?)"),
    grid("  kind: grid\n => ", "search.kind: required key is missing (one of 'grid', 'optuna')"),
    grid("[1e-4, 1e-3] => []", "should have at least 1 item, has 0"),
    grid("[1e-4, 1e-3] => 1e-4", "should be a list, not 0.0001"),
    grid("[1e-4, 1e-3] => [1e-3, 1e-3]", "0.001 is given twice"),
    grid("[1e-4, 1e-3] => [1e-4, fast]", "7:39: algorithms.dppo.policy_lr: should be a number, not 'fast'"),
    grid("[1e-4, 1e-3] => [1e-4, -1]", "7:39: algorithms.dppo.policy_lr: should be more than 0, not -1"),
    grid("[0.5, 0.9] => [0.5, 0.9, 9]", "8:44: algorithms.dppo.gae_lambda: should be at most 1, not 9", START),
    grid("dppo.policy_lr => dppo.polcy_lr", "(did you mean 'policy_lr'?)", lines=2),
    grid("algorithms.dppo.policy_lr => algorithms dppo", "'algorithms dppo' is no key of a scenario"),
    grid("algorithms.dppo.policy_lr => ''", "'' is no key of a scenario"),
    grid("algorithms.dppo.policy_lr => training.seed", "7:5: training.seed: should be left out; 'seeds' has the seeds"),
    grid("algorithms.dppo.policy_lr => training.algorithm", "7:5: training.algorithm: is set as well as searched over"),
    grid("algorithms.dppo.policy_lr => training.algorithm.x", "is 'dppo', which has no keys", lines=2),
    grid("algorithms.dppo.policy_lr => vehicles.9.count", "vehicles has items 0 to 0, not '9'", lines=2),
    grid("training.algorithm: dppo => training.algoritm: dppo", "3:3: training.algoritm: unknown key"),
    grid("training.algorithm: dppo => training.algorithm: dpo", "3:3: training.algorithm: no algorithm is called 'dpo'"),
    grid("training.algorithm: dppo => vehicles.0.count: 900", "900 vehicles do not fit a ring"),
    grid("[1e-4, 1e-3] => [1e-4]\n    network.length_m: [260, 30]", "with algorithms.dppo.policy_lr=0.0001, network.length_m=30, algorithms.dppo.gae_lambda=0.5: ", lines=2),
    grid(f"[1e-4, 1e-3] => [{', '.join(f'{n}e-6' for n in range(1, 6001))}]", "6:3: 12,000 points are too many (at most 10,000)"),
    optuna("trials: 10 => trials: 0", "trials: should be at least 1, not 0"),
    optuna("  trials: 10\n => ", "search.trials: required key is missing (points to try)"),
    optuna("trials: 10 => trials: 10\n  seed: -1", "seed: should be at least 0, not -1"),
    optuna("trials: 10 => trials: 10\n  sampler: cmaes", "sampler: unknown key"),
    optuna("low: 1e-5, => ", "should have low and high, or choices"),
    optuna("low: 1e-5 => low: 1", "low 1 should be less than high 0.01"),
    optuna("low: 1e-5 => low: 0", "log: true should have a low of more than 0 and no step"),
    optuna("log: true => log: true, step: 1e-4", "log: true should have a low of more than 0 and no step"),
    optuna("log: true => log: 3", "should be true or false, not 3"),
    optuna("low: 1e-5 => low: -1e-5", "should have a low of more than 0"),
    optuna("high: 1e-2, log: true => high: 1e+300", "should be at most 1e+09 in size"),
    optuna("step: 100 => step: 150", "high should be low and a number of steps of 150"),
    optuna("step: 100 => step: 0", "should be more than 0, not 0"),
    optuna("step: 100 => step: 12.5", "step should be a whole number"),
    optuna("low: 100 => low: 100.5", "high should be low and a number of steps"),
    optuna("{choices: [dppo, cppo]} => {choices: []}", "should have at least 1 item, has 0"),
    optuna("{choices: [dppo, cppo]} => {choices: [dppo, dppo]}", "'dppo' is given twice"),
    optuna("{choices: [dppo, cppo]} => {choices: [dppo], low: 1}", "should have either choices, or low and high"),
    optuna("{choices: [dppo, cppo]} => {choices: [dppo, cpo]}", "8:42: training.algorithm: no algorithm is called 'cpo'"),
    optuna("{choices: [dppo, cppo]} => [dppo, cppo]", "should be a mapping of keys"),
    optuna("ranges => values", "x.yaml:", lines=2),
]  # fmt: skip

COMMANDS = [
    *(Case(command, command, says, files(x_yaml=GRID), code=2) for command, says in (
        ("sweep", "give either a SWEEP.yaml or --resume DIR"),
        ("sweep x.yaml --resume new", "give either a SWEEP.yaml or --resume DIR"),
        ("sweep --resume new --output other", "--output cannot be changed with --resume"),
        ("sweep x.yaml --retry-failed", "--retry-failed goes with --resume"),
        ("sweep x.yaml --jobs 0", "Invalid value for '--jobs'"),
        ("sweep x.yaml --jobs many", "Invalid value for '--jobs'"),
        ("sweep x.yaml --cpus 0", "Invalid value for '--cpus'"),
        ("sweep x.yaml --cpus nan", "Invalid value for '--cpus'"),
        ("sweep x.yaml --quiet --log-json", "--quiet and --log-json exclude one another"),
        ("sweep x.yaml --output 'aNULb'", "null byte"),
    )),
    made("no directory to go on with", "none: no such directory (should have a sweep.yaml)", lambda folder: None, "sweep --resume none"),
    made("a run to go on with", "run: not a sweep directory (should have a sweep.yaml)", lambda folder: None, "sweep --resume run"),
    made("a file to go on with", "x.yaml: not a sweep directory", files(x_yaml=GRID), "sweep --resume x.yaml"),
    made("another sweep there", "other: another sweep is there", both("other/sweep.yaml", GRID), "sweep x.yaml --output other"),
    made("something else there", "other: not empty (choose another --output)", both("other/x", ""), "sweep x.yaml --output other"),
    made("a sweep into a run", "run: not empty", files(x_yaml=GRID), "sweep x.yaml --output run"),
    made("a sweep into a file", "x.yaml", files(x_yaml=GRID), "sweep x.yaml --output x.yaml"),
    made("a sweep below a file", "cannot be written (Not a dir", files(x_yaml=GRID), "sweep x.yaml --output x.yaml/new"),
    made("a long name of a sweep", "File name too long", files(x_yaml=GRID), f"sweep x.yaml --output {'x' * 300}"),
    made("a scenario that cannot be trained", "vehicles come and go there", files(x_yaml=changed(GRID, "ring => transfer/merge", "  training.algorithm: dppo => ", "set:\n\n => ")), START),
    made("an address without ray://", "10.0.0.1:6379: is no address of a cluster", files(x_yaml=GRID), f"{START} --on 10.0.0.1:6379"),
    made("a cluster that is not there", "ray://127.0.0.1:1: ", files(x_yaml=GRID), f"{START} --on ray://127.0.0.1:1"),
    Case("damaged records", "sweep --resume s --dry-run", "s/trials.jsonl:1: is damaged", lambda folder: [(folder / "s").mkdir(), (folder / "s/sweep.yaml").write_text(GRID), (folder / "s/trials.jsonl").write_text("{}\n")]),
]  # fmt: skip

CASES = [*FILES, *SEARCHES, *COMMANDS]
