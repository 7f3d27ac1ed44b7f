"""Command lines that ask for what cannot be."""

from __future__ import annotations

import os

from .cases import Case, Prepare, files

SHORT = "--episodes 1 --set episode.steps=20"
RING = f"--scenario ring {SHORT}"
TINY = (
    "--set vehicles.0.count=3 --set episode.steps=20 --set training.total_steps=20 "
    "--set training.replicas=1 --set training.algorithm=dppo"
)


def usage(command: str, says: str, prepare: Prepare = lambda folder: None) -> Case:
    return Case(command, command, says, prepare, code=2)


def refused(command: str, says: str, prepare: Prepare = lambda folder: None) -> Case:
    return Case(command, command, says, prepare)


def outputs() -> list[Case]:
    """Wherever something is written: to what cannot be a file or a folder."""
    to_file = {
        "evaluate idm --scenario ring --episodes 1 --set episode.steps=20 --json": ".json",
        "evaluate idm --scenario ring --episodes 1 --set episode.steps=20 --per-vehicle": ".csv",
        "evaluate idm --scenario ring --episodes 1 --set episode.steps=20 --trajectories": ".csv",
        "compare idm --scenario ring --episodes 1 --set episode.steps=20 --output": ".csv",
        "render idm --scenario ring --set episode.steps=20 --video": ".mp4",
        "plot time-space idm --scenario ring --set episode.steps=20 --output": ".png",
        "plot learning run --output": ".png",
        "report run --no-clip --episodes 1 --output": ".html",
    }
    to_folder = {
        f"train ring {TINY} --output",
        "transfer run --scenarios ring --episodes 1 --output",
        "render idm --scenario ring --set episode.steps=20 --frames",
        "compare idm --scenario ring --episodes 1 --set episode.steps=20 --output",
    }
    cases = []
    for command, suffix in to_file.items():
        cases += [
            *(
                []
                if "compare" in command
                else [
                    Case(
                        f"a directory: {command}",
                        f"{command} d{suffix}",
                        f"d{suffix}",
                        lambda f, s=suffix: (f / f"d{s}").mkdir(),
                        code=2,
                    )
                ]
            ),
            refused(
                f"{command} none/x{suffix}", f"none/x{suffix}: cannot be written (No such file"
            ),
            Case(
                f"below a file: {command}",
                f"{command} file/x{suffix}",
                "cannot be written (Not a dir",
                lambda f: (f / "file").write_text("x"),
            ),
            Case(f"a long name: {command}", f"{command} {'x' * 300}{suffix}", "File name too long"),
            Case(f"a null byte: {command}", f"{command} 'aNULb{suffix}'", "null byte", code=2),
        ]
    for command in sorted(to_folder):
        cases += [
            Case(
                f"a file for a folder: {command}",
                f"{command} file",
                "file",
                lambda f: (f / "file").write_text("x"),
                code=2 if command.split()[0] in ("transfer", "render") else 1,
            ),
            Case(
                f"a folder below a file: {command}",
                f"{command} file/x",
                "cannot be written (Not a dir",
                lambda f: (f / "file").write_text("x"),
            ),
            Case(
                f"a long name for a folder: {command}",
                f"{command} {'x' * 300}",
                "cannot be written (File name too long",
            ),
            Case(f"a null byte in a folder: {command}", f"{command} 'aNULb'", "null byte", code=2),
        ]
    return cases


def numbers() -> list[Case]:
    """Options that are numbers, given something else or too much."""
    cases = []
    wrong = ("", "x", "-1", "1.5", "1e9", "nan", "inf", "0x10", "1_0x", "9" * 5000)
    for command, option in (
        ("evaluate idm --scenario ring", "--episodes"),
        ("evaluate idm --scenario ring", "--seed"),
        ("compare idm --scenario ring", "--seed"),
        ("transfer run --scenarios ring", "--episodes"),
        ("render idm --scenario ring --frames x", "--episode"),
        ("train ring", "--seed"),
        ("train ring", "--total-steps"),
        ("evaluate idm --net-file x.xml", "--vehicles"),
    ):
        cases += [
            usage(f"{command} {option} '{value}'", f"Invalid value for '{option}'")
            for value in wrong
        ]
    for option in ("--start", "--seconds", "--speed", "--delay-ms"):
        cases += [
            usage(
                f"render idm --scenario ring --frames x {option} '{value}'",
                f"Invalid value for '{option}'",
            )
            for value in ("", "x", "-1", "nan", "inf", "-inf", "1,5")
        ]
    for option in ("--width", "--height"):
        cases += [
            usage(
                f"plot learning run --output x.png {option} '{value}'",
                f"Invalid value for '{option}'",
            )
            for value in ("", "x", "0", "-1", "nan", "inf", "1e9")
        ]
    cases += [
        usage(
            f"render idm --scenario ring --frames x --size '{value}'", "Invalid value for '--size'"
        )
        for value in (
            "",
            "x",
            "1280",
            "1280x",
            "x720",
            "0x0",
            "1280x720x3",
            "-1280x720",
            "99999x99999",
            "nanxinf",
            "\u0661280x720",
            "1280X720",
            "²x720",
            f"{'9' * 5000}x720",
        )
    ]
    cases += [
        usage(f"plot graph ring --output x.png --time '{value}'", "Invalid value for '--time'")
        for value in ("x", "-1", "nan", "inf")
    ]
    return cases


CONTROLLERS = [
    *(
        refused(f"evaluate '{text}' {RING}", says)
        for text, says in (
            ("constant", "'' is not a number"),
            ("constant:", "'' is not a number"),
            ("constant:x", "'x' is not a number"),
            ("constant:nan", "'nan' is not a number"),
            ("constant:inf", "'inf' is not a number"),
            ("constant:1e999", "'1e999' is not a number"),
            ("constant:2", "takes -1 to 1 m/s2"),
            ("constant:1:2", "'1:2' is not a number"),
            ("constant:0,1", "'0,1' is not a number"),
            ("idm:noise=nan", "'nan' is not a number"),
            ("idm:noise=inf", "'inf' is not a number"),
            ("idm:noise=-1", "noise is -1 (should be 0 or more)"),
            ("idm:noise=", "'' is not a number"),
            ("idm:noise", "'' is not a number"),
            ("idm:=1", "has no parameter ''"),
            ("idm:1", "'' is not a number"),
            ("idm:noise=1=2", "'1=2' is not a number"),
            ("idm:noise=0.1,noise=0.2", "'noise' is given twice"),
            ("idm:noise=0.1;min_gap=2", "is not a number"),
            ("idm:colour=1", "has no parameter 'colour'"),
            ("idm:_rng=1", "has no parameter '_rng'"),
            ("idm:noise=1e300", "idm:noise=1e300"),
            ("idm:desired_speed=1e-300", "idm:desired_speed=1e-300"),
            ("idm:exponent=1e300", "should be at most 1e+09 in size"),
            ("idm:desired_speed=0", "desired_speed is 0 (should be greater than 0)"),
            ("IDM", "neither a run directory nor a controller"),
            ("idm ", "neither a run directory nor a controller"),
            ("", "neither a run directory nor a controller"),
            ("lead", "neither a run directory nor a controller"),
            ("learned", "neither a run directory nor a controller"),
            ("sumo:", "neither a run directory nor a controller"),
            ("sumo:Dragon", "neither a run directory nor a controller"),
            ("sumo:IDM:accel=nan", "'nan' is not a number"),
            ("sumo:IDM:accel=0", "accel is 0 (should be greater than 0)"),
            ("sumo:IDM:accel=1e-300", "sumo:IDM"),
            ("sumo:IDM:accel=1e300", "sumo:IDM"),
            ("sumo:IDM:stepping=0", "attribute stepping".replace("attribute", "Attribute")),
            ("sumo:Krauss:sigma=7", "sigma is 7 (should be 0 to 1)"),
            ("sumo:Krauss:length=1", "has no parameter 'length'"),
            ("../../../../../../etc/passwd", "no such run directory"),
            ("/etc/passwd", "/etc/passwd: no such run directory"),
            ("/dev/zero", "/dev/zero: no such run directory"),
            ("/dev/null", "/dev/null: no such run directory"),
            ("x" * 5000, "File name too long"),
            ("aNEWLINEb", "neither a run directory nor a controller"),
            ("a\x1b[31mb", "neither a run directory nor a controller"),
            ("\u202egnir", "neither a run directory nor a controller"),
        )
    ),
]

CASES = [
    Case("no command", "--frobnicate", "No such option", code=2),
    usage("frobnicate", "No such command 'frobnicate'"),
    usage("tarin ring", "No such command 'tarin'"),
    usage("'' ring", "No such command"),
    usage("evaluate", "Missing argument 'RUN'"),
    usage("evaluate idm", "needs a --scenario"),
    usage("evaluate idm ring", "nexpected extra argument"),
    usage("evaluate idm --scenario", "requires an argument"),
    usage("evaluate idm --scenario ring --checkpoint newest", "'newest' is not one of"),
    usage("evaluate idm --scenario ring --assign best", "'best' is not one of"),
    usage("evaluate idm --scenario ring --colour", "No such option"),
    usage("evaluate run --json x --per-vehicle x", "need a file each"),
    usage("evaluate run --json x --per-vehicle ./x", "need a file each"),
    usage("evaluate idm --osm a --opendrive b", "one of --net-file, --osm and --opendrive"),
    usage("evaluate idm --scenario ring --routes x.xml", "--routes goes with"),
    usage("evaluate idm --scenario ring --vehicles 3", "--vehicles goes with"),
    usage("evaluate idm --scenario ''", "needs a --scenario"),
    refused("evaluate idm --scenario /etc/passwd", "/etc/passwd:1:"),
    refused("evaluate idm --scenario /dev/zero", "not a regular file"),
    refused("evaluate idm --scenario /dev/stdin", "not a regular file"),
    refused("evaluate idm --scenario .", "a directory"),
    refused("evaluate idm --scenario run", "a directory"),
    usage("evaluate idm --scenario aNULb", "null byte"),
    refused("evaluate idm --scenario aNEWLINEb", "no such file"),
    refused("evaluate idm --net-file /dev/zero", "/dev/zero"),
    refused("evaluate idm --net-file /dev/null", "/dev/null"),
    usage("evaluate idm --net-file aNULb", "null byte"),
    refused("evaluate idm --net-file aNEWLINEb", "no such file"),
    refused("evaluate run --net-file run/scenario.yaml", "broken XML"),
    refused(
        "evaluate idm --net-file pipe.xml",
        "not a regular file",
        lambda f: os.mkfifo(f / "pipe.xml"),
    ),
    refused("evaluate run --assign shared", "--assign shared"),
    refused(f"evaluate idm --assign slot {RING}", "--assign deals the policies"),
    refused(f"evaluate idm {RING} --trajectories x.txt", "end in .csv, .parquet, .xml"),
    refused(f"evaluate idm {RING} --trajectories x", "end in .csv, .parquet, .xml"),
    refused(
        "evaluate idm --scenario ring --episodes 2 --trajectories x.xml",
        "an FCD file holds one episode",
    ),
    usage("compare", "Missing argument"),
    refused("compare idm", "--scenario: is needed"),
    refused(f"compare idm idm {RING}", "is given twice"),
    refused(f"compare idm ./run run {SHORT}", "is given twice"),
    refused(f"compare 'nothing/*' {RING}", "nothing there matches"),
    refused(f"compare 'run[' {RING}", "run["),
    refused(f"compare '[!' {RING}", "[!"),
    refused(f"compare '*' idm {RING}", "x: ", lambda f: (f / "x").write_text("x")),
    usage(f"compare idm {RING} --metrics colour", "no metric is called 'colour'"),
    usage(f"compare idm {RING} --metrics ''", "no metric is called ''"),
    usage(f"compare idm {RING} --metrics return_mean,", "no metric is called ''"),
    refused(f"compare idm {RING} --output x.txt", "x.txt"),
    refused(f"compare idm --scenario ring --scenario rimg {SHORT}", "rimg: no such file"),
    usage("transfer run", "Missing option '--scenarios'"),
    usage("transfer --scenarios ring", "Missing argument"),
    usage("transfer run --scenarios", "requires an argument"),
    refused("transfer run --scenarios rimg", "rimg: no such file"),
    refused("transfer run --scenarios ring --metric colour", "colour"),
    refused("transfer run --scenarios ring --baseline constant:nan", "'nan' is not a number"),
    refused(
        "transfer run --scenarios ring --baseline constant:x --output new", "'x' is not a number"
    ),
    usage("render idm --scenario ring", "there is no display"),
    usage("render idm --scenario ring --video a.mp4 --frames b", "one of --video and --frames"),
    usage("render idm --scenario ring --color red --frames b", "'red' is not one of"),
    refused("render idm --scenario ring --video x.avi", "x.avi"),
    refused("render idm --scenario ring --video x", "x"),
    refused(
        "render idm --scenario ring --set episode.steps=20 --frames x --follow cav_99", "cav_99"
    ),
    refused("render idm --scenario ring --set episode.steps=20 --frames x --start 99", ""),
    usage("train", "either a SCENARIO or --resume"),
    usage("train ring --resume run", "either a SCENARIO or --resume"),
    usage("train --resume run --seed 1", "cannot be changed with --resume"),
    usage("train ring figure_eight", "nexpected extra argument"),
    refused("train /etc/passwd", "/etc/passwd:1:"),
    refused("train ../../../etc/passwd.yaml", "no such file"),
    refused("train --resume run/scenario.yaml", "no such run directory"),
    refused("train --resume /dev/null", "no such run directory"),
    usage("train --resume aNULb", "null byte"),
    refused(f"train ring {TINY} --output run", "run: not empty"),
    refused(f"train ring {TINY} --output .", ".: not empty"),
    refused(f"train ring {TINY} --output /proc/run", "/proc/run"),
    refused(f"train ring {TINY} --device cuda:999", "--device cuda:999"),
    refused(f"train ring {TINY} --device ''", "--device"),
    usage(f"train ring {TINY} --device aNULb", "null byte"),
    refused(f"train ring {TINY} --algorithm ''", "training.algorithm"),
    refused(f"train ring {TINY} --algorithm ppo", "no algorithm is called 'ppo'"),
    refused(f"train ring {TINY} --algorithm '[1]'", "training.algorithm"),
    refused("train transfer/merge", "vehicles come and go"),
    usage(f"train ring {TINY} --quiet --verbose", "exclude one another"),
    usage("scenarios show", "Missing argument"),
    usage("scenarios list", "No such command"),
    refused("scenarios show rimg", "no such file (bundled: ring"),
    refused("scenarios show ''", ""),
    refused("scenarios show paper", "no such file"),
    refused("scenarios show ring.yaml", "no such file"),
    refused("scenarios show ring --set x", "should be KEY=VALUE"),
    Case("plot nothing", "plot frobnicate", "No such command", code=2),
    usage("plot time-space idm --scenario ring", "Missing option '--output'"),
    usage("plot time-space --output x.png", "give either runs and controllers, or --trajectories"),
    usage("plot vehicles idm ovm --scenario ring --output x.png", "at a time"),
    refused(
        "plot time-space idm --scenario ring --output x.txt",
        "pictures are written to files that end in",
    ),
    refused(
        "plot time-space idm --scenario ring --output x",
        "pictures are written to files that end in",
    ),
    refused("plot time-space idm --output x.png", "--scenario: is needed"),
    refused(
        "plot time-space idm --scenario ring --set episode.steps=20 --route 'a b' --output x.png",
        "a",
    ),
    refused(
        "plot time-space idm --scenario ring --set episode.steps=20 --route '' --output x.png", ""
    ),
    refused(
        "plot vehicles idm --scenario ring --set episode.steps=20 --only cav_99 --output x.png",
        "cav_99",
    ),
    refused(
        "plot vehicles idm --scenario ring --set episode.steps=20 --only '' --output x.png", ""
    ),
    refused("plot learning run --metric colour --output x.png", "colour"),
    refused("plot learning nowhere --output x.png", "nowhere"),
    refused("plot learning 'no*' --output x.png", "nothing there matches"),
    refused("plot model-error run --output x.png", "run"),
    refused("plot horizon run --output x.png", "run"),
    refused("plot transfer . --output x.png", "transfer.json"),
    refused("plot transfer nowhere --output x.png", "nowhere"),
    refused("plot graph rimg --output x.png", "rimg"),
    refused("plot graph ring --controller x --output x.png", "neither a run"),
    refused(
        "plot graph ring --set episode.steps=20 --vehicle cav_99 --time 1 --output x.png", "cav_99"
    ),
    usage("report", "Missing argument"),
    refused("report nowhere --output x.html", "nowhere"),
    refused("report 'no*' --output x.html", "nothing there matches"),
    refused("report run --controller x --output x.html --no-clip", "x: neither"),
    *(
        Case(
            f"trajectories {number}",
            f"plot time-space --trajectories {name} --output x.png",
            f"{name}: ",
            prepare,
        )
        for number, (name, prepare) in enumerate(
            [
                ("x.txt", files(x_txt="x")),
                ("none.csv", lambda f: None),
                ("x.csv", files(x_csv="")),
                ("x.csv", files(x_csv="a,b,c\n1,2,3\n")),
                ("x.csv", files(x_csv=b"\xff\xfe\x00\x01")),
                ("x.csv", files(x_csv="a,b\n1\n")),
                ("x.csv", files(x_csv='"' + "x" * 200_000)),
                ("x.parquet", files(x_parquet="")),
                ("x.parquet", files(x_parquet=b"PAR1" + bytes(50) + b"PAR1")),
            ]
        )
    ),
    *(
        Case(f"a matrix {number}", "plot transfer . --output x.png", "transfer.json", prepare)
        for number, prepare in enumerate(
            [
                files(transfer_json=""),
                files(transfer_json="[]"),
                files(transfer_json="{}"),
                files(transfer_json="[" * 100_000),
                files(transfer_json='{"cells": 3, "metric": "x"}'),
                files(transfer_json=b"\xff\xfe"),
            ]
        )
    ),
    *CONTROLLERS,
    *numbers(),
    *outputs(),
]
