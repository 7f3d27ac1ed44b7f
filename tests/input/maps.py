"""Maps of OpenStreetMap and OpenDRIVE, broken."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

from .cases import Case, changed, files

ROOT = Path(__file__).parents[2]
TOWN = (ROOT / "docs/examples/town.osm").read_text()
STADIUM = (ROOT / "docs/examples/stadium.xodr").read_text()
DRIVE = "evaluate idm --vehicles 3 --episodes 1 --set episode.steps=20 "
OSM, XODR = f"{DRIVE} --osm x.xml", f"{DRIVE} --opendrive x.xml"


def osm(name: str, says: str, content: str | bytes, code: int = 1) -> Case:
    return Case(f"OSM: {name}", OSM, says, files(x_xml=content), code)


def xodr(name: str, says: str, content: str | bytes, code: int = 1) -> Case:
    return Case(f"OpenDRIVE: {name}", XODR, says, files(x_xml=content), code)


CASES = [
    *(
        made(name, says, content)
        for made in (osm, xodr)
        for name, says, content in (
            ("empty", "no element found", ""),
            ("text", "broken XML", "a map"),
            ("zeros", "broken XML", bytes(100)),
            ("a network", "begins with <net>, so it is not an Open", "<net/>"),
            ("half a zip", "a broken gzip file", gzip.compress(TOWN.encode(), mtime=0)[:99]),
            (
                "an entity bomb",
                "a DOCTYPE is not allowed",
                '<!DOCTYPE osm [<!ENTITY a "b">]><osm>&a;</osm>',
            ),
            (
                "an include",
                "<include> is not allowed",
                '<osm><include href="/etc/passwd"/></osm>'
                if made is osm
                else '<OpenDRIVE><include href="/etc/passwd"/></OpenDRIVE>',
            ),
        )
    ),
    Case("OSM: nothing", OSM, "no such file (should be an OpenStreetMap file"),
    Case("OpenDRIVE: nothing", XODR, "no such file (should be an OpenDRIVE file"),
    osm("the other format", "so it is not an OpenStreetMap file", STADIUM),
    xodr("the other format", "so it is not an OpenDRIVE file", TOWN),
    osm("nothing in it", "netconvert makes no network of it", "<osm/>"),
    osm("no ways", "netconvert makes no network of it", re.sub("(?s)<way.*</way>", "", TOWN)),
    osm("no nodes", "x.xml", re.sub("<node.*\n", "", TOWN)),
    osm("ways of no nodes", "x.xml", re.sub("<nd[^>]*>", "", TOWN)),
    osm("ways of unknown nodes", "x.xml", TOWN.replace('ref="', 'ref="99')),
    osm("footways alone", "x.xml", re.sub('v="(residential|secondary)"', 'v="footway"', TOWN)),
    osm("a node without place", "x.xml", changed(TOWN, ' lat="48.1310" lon="11.5710" => ')),
    osm("a node without id", "x.xml", changed(TOWN, '<node id="1" => <node')),
    osm("a node of a name", "x.xml", changed(TOWN, '<node id="1" => <node id="one"')),
    osm(
        "a node at nan",
        "<node> has the lat 'nan' (should be finite)",
        changed(TOWN, 'lat="48.1310" => lat="nan"'),
    ),
    osm("a node at the end of the world", "x.xml", changed(TOWN, 'lat="48.1310" => lat="9000"')),
    osm("nodes of no number", "x.xml", TOWN.replace('lat="48', 'lat="N48')),
    osm(
        "all nodes at one place",
        "x.xml",
        re.sub('lat="[^"]*" lon="[^"]*"', 'lat="48.1" lon="11.5"', TOWN),
    ),
    osm(
        "a node twice",
        "",
        TOWN.replace("</osm>", '<node id="1" lat="48.1310" lon="11.5710"/></osm>'),
        0,
    ),
    osm("a way without id", "x.xml", changed(TOWN, '<way id="10" => <way')),
    osm("lanes of no number", "", changed(TOWN, 'v="2" => v="two"'), 0),
    osm("minus lanes", "", changed(TOWN, 'v="2" => v="-2"'), 0),
    osm("no speed", "", changed(TOWN, '<tag k="lanes" v="2"/> => <tag k="maxspeed" v="-50"/>'), 0),
    osm(
        "deep",
        "nested more than 100 levels deep",
        "<osm>" + "<way>" * 100_000 + "</way>" * 100_000 + "</osm>",
    ),
    xodr("nothing in it", "netconvert makes no network of it", "<OpenDRIVE/>"),
    xodr(
        "no roads", "netconvert makes no network of it", re.sub("(?s)<road.*</road>", "", STADIUM)
    ),
    xodr("no lanes", "x.xml", re.sub("(?s)<lanes>.*?</lanes>", "", STADIUM)),
    xodr("no plan", "x.xml", re.sub("(?s)<planView>.*?</planView>", "", STADIUM)),
    xodr("a road without id", "x.xml", changed(STADIUM, ' id="1" => ')),
    xodr("a road twice", "x.xml", STADIUM.replace('id="2" junction', 'id="1" junction')),
    xodr("a road without length", "x.xml", changed(STADIUM, ' length="150.0" id =>  id')),
    *(
        xodr(
            f"a road of length {value}",
            "x.xml",
            STADIUM.replace('length="150.0"', f'length="{value}"'),
            code,
        )
        for value, code in (("-150", 1), ("nan", 1), ("long", 1), ("1e300", 1))
    ),
    xodr(
        "a turn of nan",
        "<arc> has the curvature 'nan' (should be finite)",
        STADIUM.replace('curvature="0.033333"', 'curvature="nan"'),
    ),
    xodr(
        "a turn of inf",
        "should be finite",
        STADIUM.replace('curvature="0.033333"', 'curvature="inf"'),
    ),
    xodr("a turn of 1e300", "", STADIUM.replace('curvature="0.033333"', 'curvature="1e300"'), 0),
    xodr("lanes of no width", "x.xml", STADIUM.replace('a="3.5"', 'a="0"')),
    xodr("lanes of width -3", "", STADIUM.replace('a="3.5"', 'a="-3"'), 0),
    xodr("links to unknown roads", "x.xml", STADIUM.replace('elementId="', 'elementId="9')),
    xodr("no links", "no lane that passenger cars", re.sub("(?s)<link>.*?</link>", "", STADIUM)),
    xodr("lanes to walk on", "x.xml", STADIUM.replace('type="driving"', 'type="sidewalk"')),
]
