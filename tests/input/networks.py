"""Networks of SUMO's, broken."""

# ruff: noqa: E501 (a case a line)

from __future__ import annotations

import gzip
import re
from pathlib import Path

from .cases import Case, Prepare, changed, files

ROOT = Path(__file__).parents[2]
DRIVE = "evaluate idm --net-file x.xml --vehicles 3 --episodes 1 --set episode.steps=20"
SHAPE = re.compile(r' shape="[^"]*"')
# Two half circles of 130 m, each drawn as a straight line.
LOOP = SHAPE.sub(
    ' shape="41.0,0.0 -41.0,0.0"', (ROOT / "sumo_configs/ring/ring.net.xml").read_text()
)
MERGE = (ROOT / "sumo_configs/merge/merge.net.xml").read_text()
HEAD = '<?xml version="1.0"?>\n'
BOMB = "".join(
    f'<!ENTITY {one} "{f"&{other};" * 10}">'
    for one, other in zip("bcdefghi", "abcdefgh", strict=True)
)


def loop(*changes: str) -> Prepare:
    return files(x_xml=changed(LOOP, *changes))


def raw(content: str | bytes) -> Prepare:
    return files(x_xml=content)


def case(name: str, says: str, prepare: Prepare, code: int = 1) -> Case:
    return Case(name, DRIVE, says, prepare, code)


CASES = [
    case("nothing", "no such file (should be a SUMO network", lambda folder: None),
    case("empty", "x.xml:1:1: broken XML: no element found", raw("")),
    case("spaces", "broken XML: no element found", raw(" \n" * 100)),
    case("text", "x.xml:1:1: broken XML", raw("a network")),
    case("YAML", "x.xml:1:1: broken XML", raw("kind: ring\n")),
    case("zeros", "x.xml:1:1: broken XML", raw(bytes(1000))),
    case("random bytes", "x.xml:1:", raw(bytes(range(256)) * 10)),
    case("a picture", "x.xml:1:1: broken XML", raw(b"\x89PNG\r\n\x1a\n" + bytes(100))),
    case("truncated", "broken XML: ", raw(LOOP[: len(LOOP) // 2])),
    case("truncated in the last tag", "broken XML: ", raw(LOOP[: LOOP.rindex("</net") + 3])),
    case("two roots", "junk after document element", raw(f"{LOOP}<net/>")),
    case("another root", "begins with <routes>, so it is not a SUMO network", raw("<routes/>")),
    case("a long root", "so it is not a SUMO network", raw(f"<{'x' * 100_000}/>")),
    case("a page", "so it is not a SUMO network", raw("<html><body/></html>")),
    case(
        "an entity bomb",
        "x.xml:1: a DOCTYPE is not allowed",
        raw(f'<!DOCTYPE net [<!ENTITY a "aaaaaaaaaa">{BOMB}]><net version="&i;"/>'),
    ),
    case(
        "an external entity",
        "a DOCTYPE is not allowed",
        raw('<!DOCTYPE net [<!ENTITY a SYSTEM "file:///etc/passwd">]><net>&a;</net>'),
    ),
    case(
        "a parameter entity",
        "a DOCTYPE is not allowed",
        raw('<!DOCTYPE net [<!ENTITY % a SYSTEM "http://localhost:1/x.dtd">%a;]><net/>'),
    ),
    case("an undeclared entity", "undefined entity", raw("<net>&a;</net>")),
    case("an include", "<include> is not allowed", raw('<net><include href="/etc/passwd"/></net>')),
    case(
        "an unknown encoding",
        "unknown encoding",
        raw('<?xml version="1.0" encoding="klingon"?><net/>'),
    ),
    case("the wrong encoding", "x.xml", raw(HEAD.replace("?>", ' encoding="utf-16"?>') + LOOP)),
    case(
        "latin-1 in UTF-8", "not well-formed", raw(LOOP.replace("east", "\xf6st").encode("latin-1"))
    ),
    case("half a zip", "a broken gzip file", raw(gzip.compress(LOOP.encode(), mtime=0)[:200])),
    case("a zip of nothing", "no element found", raw(gzip.compress(b"", mtime=0))),
    case("a zip of a broken file", "broken XML", raw(gzip.compress(LOOP[:500].encode(), mtime=0))),
    case(
        "a zip in a zip",
        "broken XML",
        raw(gzip.compress(gzip.compress(LOOP.encode(), mtime=0), mtime=0)),
    ),
    case("a zip bomb", "x.xml", raw(gzip.compress(b"<net>" + b" " * 2**28, 9, mtime=0))),
    case(
        "deep",
        "nested more than 100 levels deep",
        raw("<net>" + "<a>" * 200_000 + "</a>" * 200_000 + "</net>"),
    ),
    case("a directory", "'x.xml' is a directory", lambda folder: (folder / "x.xml").mkdir(), 2),
    case(
        "a dangling link", "no such file", lambda folder: (folder / "x.xml").symlink_to("nowhere")
    ),
    case("a link to itself", "x.xml", lambda folder: (folder / "x.xml").symlink_to("x.xml")),
    case("no attributes", "it crashes (SIGSEGV)", raw("<net/>")),
    case("no edges", "no lane that passenger cars may use", raw('<net version="1.20"/>')),
    case("no lanes", "x.xml", raw('<net version="1.20"><edge id="a" from="b" to="c"/></net>')),
    case("an edge without id", "x.xml", loop('<edge id="e0" => <edge')),
    case("an edge without from", "x.xml", loop(' from="east" => ')),
    case("an edge to an unknown junction", "x.xml", loop(' to="west" =>  to="nowhere"')),
    case("an edge twice", "x.xml", loop('id="e1" => id="e0"')),
    case("a lane without id", "x.xml", loop('<lane id="e0_0" => <lane')),
    case("a lane of another name", "x.xml", loop('<lane id="e0_0" => <lane id="what"')),
    case("a lane twice", "x.xml", loop('<lane id="e1_0" => <lane id="e0_0"')),
    case("a lane without index", "x.xml", loop(' index="0" => ')),
    case("a lane of a wrong index", "x.xml", loop(' index="0" =>  index="7"'), 0),
    case("a lane of a negative index", "x.xml", loop(' index="0" =>  index="-1"'), 0),
    case("a lane without length", "x.xml", loop('speed="30.000000" length="130.000000" => ')),
    case(
        "a lane without shape",
        "x.xml",
        loop('length="130.000000" shape="41.0,0.0 -41.0,0.0"/> => length="130.000000"/>'),
    ),
    *(
        case(
            f"a length of {value}",
            "x.xml",
            loop(f'speed="30.000000" length="130.000000" => speed="30.0" length="{value}"'),
        )
        for value in ("-5", "0", "nan", "inf", "-inf", "long", "", "1e400", "0x10", "1,5")
    ),
    *(
        case(f"a speed of {value}", "x.xml", loop(f'speed="30.000000" => speed="{value}"'))
        for value in ("-5", "nan", "fast", "")
    ),
    *(
        case(f"a shape of {value[:12]}", "x.xml", raw(LOOP.replace("41.0,0.0 -41.0,0.0", value)))
        for value in ("1", "a,b c,d", "nan,nan nan,nan", "1,2")
    ),
    case("no junctions", "x.xml", raw(re.sub("(?s)<junction.*?</junction>", "", LOOP))),
    case("a junction without id", "x.xml", loop('<junction id="east" => <junction')),
    case("a junction twice", "x.xml", loop('<junction id="west" => <junction id="east"')),
    case("a junction of an unknown type", "x.xml", loop('type="priority" => type="magic"')),
    case("a junction nowhere", "x.xml", loop('x="41.384440" => x="nan"')),
    case("a junction of no number", "x.xml", loop('x="41.384440" => x="here"')),
    case("an unknown lane into a junction", "x.xml", loop('incLanes="e1_0" => incLanes="e9_0"')),
    case("no requests", "x.xml", raw(re.sub("<request[^>]*>", "", LOOP))),
    case("a request out of range", "x.xml", loop('request index="0" => request index="77"'), 0),
    case("requests of no bits", "x.xml", loop('response="0" => response="abc"')),
    case("no connections", "no loop for cars", raw(re.sub("<connection[^>]*>", "", LOOP))),
    case(
        "a connection from an unknown edge", "x.xml", loop('from="e0" to="e1" => from="e9" to="e1"')
    ),
    case(
        "a connection to an unknown edge", "x.xml", loop('from="e0" to="e1" => from="e0" to="e9"')
    ),
    case("a connection from an unknown lane", "x.xml", loop('fromLane="0" => fromLane="9"')),
    case("a connection to an unknown lane", "x.xml", loop('toLane="0" => toLane="9"')),
    case("a connection from a lane of no number", "x.xml", loop('fromLane="0" => fromLane="one"')),
    case("a connection of no direction", "x.xml", loop('dir="s" => dir="?"')),
    case("a connection of no state", "x.xml", loop(' state="M" => ')),
    case("a connection through an unknown lane", "x.xml", loop('dir="s" => via=":x_0_0" dir="s"')),
    case(
        "a connection with an unknown light",
        "x.xml",
        loop('dir="s" => tl="nowhere" linkIndex="0" dir="s"'),
    ),
    case(
        "a light without phases",
        "x.xml",
        loop(
            '<junction id="east" => <tlLogic id="east" type="static" programID="0" offset="0"/><junction id="east"'
        ),
    ),
    case(
        "a light of no time",
        "x.xml",
        loop(
            '<junction id="east" => <tlLogic id="east" type="static" programID="0" offset="0"><phase duration="-1" state="G"/></tlLogic><junction id="east"'
        ),
    ),
    case(
        "only trams",
        "no lane that passenger cars may use",
        raw(LOOP.replace('index="0"', 'index="0" allow="tram"')),
    ),
    case(
        "an unknown vehicle class",
        "x.xml",
        raw(LOOP.replace('index="0"', 'index="0" allow="dragon"')),
    ),
    case("too short", "do not fit", raw(LOOP.replace('length="130.000000"', 'length="4.0"'))),
    case("of a far version", "x.xml", loop('version="1.20" => version="99.0"'), 0),
    case("of no version", "x.xml", loop('version="1.20" => version="x"')),
    case("no routes where all ends", "no loop for cars to circulate on", raw(MERGE)),
]
