"""Route files of SUMO's, broken, on a network with a ramp."""

# ruff: noqa: E501 (a case a line)

from __future__ import annotations

import gzip
from pathlib import Path

from .cases import Case, files

ROOT = Path(__file__).parents[2]
NET = ROOT / "sumo_configs/merge/merge.net.xml"
DRIVE = f"evaluate idm --net-file '{NET}' --routes x.xml --vehicles 3 --episodes 1 --set episode.steps=80"
ALONG = '<route id="r" edges="motorway acceleration onward"/>'
CAR = '<vehicle id="a" route="r" depart="0"/>'


def case(name: str, says: str, content: str | bytes, code: int = 1) -> Case:
    return Case(name, DRIVE, says, files(x_xml=content), code)


def inside(name: str, says: str, content: str, code: int = 1) -> Case:
    return case(name, says, f"<routes>{content}</routes>", code)


CASES = [
    Case("nothing", DRIVE, "no such file (should be a SUMO route file"),
    Case("a directory", DRIVE, "'x.xml' is a directory", lambda f: (f / "x.xml").mkdir(), 2),
    case("empty", "no element found", ""),
    case("text", "broken XML", "car 1 departs at 0"),
    case("a network", "begins with <net>, so it is not a SUMO route file", "<net/>"),
    case("a half", "broken XML", "<routes><vehicle"),
    case("a half zip", "a broken gzip file", gzip.compress(b"<routes/>", mtime=0)[:15]),
    case(
        "an entity bomb",
        "a DOCTYPE is not allowed",
        '<!DOCTYPE r [<!ENTITY a "b">]><routes>&a;</routes>',
    ),
    inside("an include", "<include> is not allowed", '<include href="other.xml"/>'),
    inside(
        "an unknown edge",
        "edge 'x'",
        '<vehicle id="a" depart="0"><route edges="motorway x"/></vehicle>',
    ),
    inside(
        "edges that do not meet",
        "No connection between",
        '<vehicle id="a" depart="0"><route edges="motorway onward"/></vehicle>',
    ),
    inside(
        "against the traffic",
        "x.xml",
        '<vehicle id="a" depart="0"><route edges="onward motorway"/></vehicle>',
    ),
    inside("no edges", "x.xml", '<vehicle id="a" depart="0"><route edges=""/></vehicle>'),
    inside("a route without edges", "x.xml", '<route id="r"/>' + CAR),
    inside("a route without id", "x.xml", '<route edges="motorway"/>' + CAR),
    inside("a route twice", "x.xml", ALONG + ALONG + CAR),
    inside("an unknown route", "x.xml", CAR),
    inside("a vehicle without route", "x.xml", '<vehicle id="a" depart="0"/>'),
    inside("a vehicle without id", "x.xml", ALONG + '<vehicle route="r" depart="0"/>'),
    inside("a vehicle without departure", "x.xml", ALONG + '<vehicle id="a" route="r"/>'),
    inside("a vehicle twice", "x.xml", ALONG + CAR + CAR),
    inside(
        "an unknown type", "x.xml", ALONG + '<vehicle id="a" route="r" type="dragon" depart="0"/>'
    ),
    inside("a type twice", "x.xml", '<vType id="t"/><vType id="t"/>' + ALONG + CAR),
    inside("a type without id", "x.xml", "<vType/>" + ALONG + CAR),
    inside("the type of ours", "x.xml", '<vType id="trafficrl" maxSpeed="1"/>' + ALONG + CAR),
    *(
        inside(
            f"a departure at {value}",
            "x.xml",
            f'{ALONG}<vehicle id="a" route="r" depart="{value}"/>',
        )
        for value in ("-5", "nan", "inf", "soon", "", "1e400")
    ),
    *(
        inside(
            f"a place to depart of {value}",
            "x.xml",
            f'{ALONG}<vehicle id="a" route="r" depart="0" departPos="{value}"/>',
        )
        for value in ("nan", "here")
    ),
    *(
        inside(
            f"a speed to depart of {value}",
            "x.xml",
            f'{ALONG}<vehicle id="a" route="r" depart="0" departSpeed="{value}"/>',
        )
        for value in ("nan", "-5", "1e9", "fast")
    ),
    *(
        inside(
            f"a lane to depart of {value}",
            "x.xml",
            f'{ALONG}<vehicle id="a" route="r" depart="0" departLane="{value}"/>',
        )
        for value in ("99", "-1", "left")
    ),
    *(
        inside(
            f"a type with {attribute}={value}",
            "x.xml",
            f'<vType id="t" {attribute}="{value}"/>{ALONG}<vehicle id="a" type="t" route="r" depart="0"/>',
        )
        for attribute, value in (
            ("length", "-5"),
            ("length", "0"),
            ("length", "nan"),
            ("maxSpeed", "0"),
            ("maxSpeed", "-1"),
            ("accel", "-1"),
            ("accel", "nan"),
            ("decel", "0"),
            ("tau", "nan"),
            ("minGap", "-100"),
            ("sigma", "7"),
            ("carFollowModel", "Magic"),
            ("vClass", "dragon"),
            ("emissionClass", "steam"),
            ("laneChangeModel", "none"),
            ("speedFactor", "nan"),
            ("probability", "-1"),
            ("color", "none"),
        )
    ),
    *(
        inside(
            f"a flow with {attributes}", "x.xml", f'{ALONG}<flow id="f" route="r" {attributes}/>'
        )
        for attributes in (
            'begin="0" end="9" number="-3"',
            'begin="9" end="0" number="3"',
            'begin="0" end="9"',
            'begin="0" end="9" period="0"',
            'begin="0" end="9" period="-1"',
            'begin="0" end="9" period="exp(0)"',
            'begin="0" end="9" period="exp(x)"',
            'begin="0" end="9" probability="2"',
            'begin="nan" end="9" number="3"',
            'begin="0" end="9" vehsPerHour="-9"',
        )
    ),
    inside(
        "a flow of an unknown route",
        "route 'r' for flow 'f'",
        '<flow id="f" route="r" begin="0" end="9" number="3"/>',
    ),
    inside("a trip from nowhere", "x.xml", '<trip id="a" depart="0" from="x" to="onward"/>'),
    inside("a trip without way", "x.xml", '<trip id="a" depart="0" from="onward" to="motorway"/>'),
    inside("a trip without end", "", '<trip id="a" depart="0" from="motorway"/>', 0),
    inside(
        "a place far off", "", f'{ALONG}<vehicle id="a" route="r" depart="0" departPos="1e9"/>', 0
    ),
    inside(
        "a stop nowhere",
        "x.xml",
        ALONG + '<vehicle id="a" route="r" depart="0"><stop lane="x_0" duration="9"/></vehicle>',
    ),
    inside(
        "a stop off the route",
        "x.xml",
        ALONG
        + '<vehicle id="a" route="r" depart="0"><stop lane="on_ramp_0" duration="9"/></vehicle>',
    ),
    inside(
        "out of order",
        "x.xml",
        ALONG + '<vehicle id="a" route="r" depart="4"/><vehicle id="b" route="r" depart="0"/>',
        0,
    ),
    inside(
        "an unknown edge later",
        "edge 'x'",
        ALONG + CAR + '<vehicle id="b" depart="300"><route edges="x"/></vehicle>',
    ),
    inside(
        "an unknown route after the start",
        "x.xml",
        ALONG + CAR + '<vehicle id="b" depart="4" route="q"/>',
    ),
    inside("a person without a walk", "x.xml", '<person id="p" depart="0"/>'),
    inside(
        "a distribution without types",
        "x.xml",
        '<vTypeDistribution id="t"/>' + ALONG + '<vehicle id="a" type="t" route="r" depart="0"/>',
    ),
    inside("an unknown element", "", '<dragon id="a"/>' + ALONG + CAR, 0),
    inside("no vehicles", "no car departs in the 8 s of an episode", ""),
    inside("a route and nobody on it", "no car departs in the 8 s of an episode", ALONG),
    inside(
        "vehicles after the end",
        "no car departs in the 8 s of an episode",
        ALONG + '<vehicle id="a" route="r" depart="1000"/>',
    ),
    inside(
        "a vehicle of the name of ours", "", ALONG + '<vehicle id="cav_0" route="r" depart="0"/>', 0
    ),
    inside(
        "a name of any kind",
        "Invalid vehicle id",
        ALONG + '<vehicle id="&#233; \'x" route="r" depart="0"/>',
    ),
    inside(
        "a million vehicles at once",
        "",
        ALONG + '<flow id="f" route="r" begin="0" end="1" number="2000"/>',
        0,
    ),
    Case(
        "twice the same file",
        f"{DRIVE} --routes x.xml",
        "x.xml",
        files(x_xml=f"<routes>{ALONG}{CAR}</routes>"),
    ),
    Case(
        "a comma in the name",
        DRIVE.replace("x.xml", "a,b.xml"),
        "a path with a comma",
        lambda f: (f / "a,b.xml").write_text("<routes/>"),
    ),
]
