"""Looks through XML from outside before anything else reads it.

Numbers that are none are refused too: SUMO takes a place at NaN and drives there.
A file with a DOCTYPE is refused: only that can declare entities, which expand
without bound or name other files (no format of SUMO's, OpenStreetMap's or
OpenDRIVE's has one). So is one that makes SUMO read others in its place.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO
from xml.parsers import expat

from trafficrl.errors import ScenarioError

MAX_DEPTH = 100  # elements in elements; SUMO's programs crash or stall on very many
INCLUDE = "include"  # SUMO reads another file in this element's place

# Attributes that are numbers, and words in them that are none. Other attributes may be names.
NUMBERS = frozenset({"x", "y", "z", "shape", "length", "width", "speed", "maxSpeed"}) | frozenset(
    {"lat", "lon", "s", "hdg", "curvature", "departPos", "departSpeed", "accel", "decel", "tau"}
    | {"minGap", "sigma", "speedFactor", "speedDev"}
)
NOT_NEGATIVE = frozenset({"length", "width", "speed", "maxSpeed"})
_NOT_FINITE = re.compile(r"(?i)(^|[\s,])[-+]?(nan|inf|infinity)($|[\s,])")


def check_xml(path: Path, roots: Collection[str], what: str) -> None:
    """Raise ``ScenarioError`` unless ``path`` is well-formed XML, gzipped or not, of these roots.

    ``what`` says what it should be.
    """
    try:
        with _opened(path) as file:
            _parse(file, path, roots, what)
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        raise ScenarioError(
            f"{path}:{error.lineno}:{error.offset + 1}: broken XML: {reason} (should be {what})"
        ) from None
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise ScenarioError(f"{path}: a broken gzip file (should be {what})") from None
    except FileNotFoundError:
        raise ScenarioError(f"{path}: no such file (should be {what})") from None
    except OSError as error:
        raise ScenarioError(
            f"{path}: cannot be read: {error.strerror} (should be {what})"
        ) from None
    except (LookupError, ValueError) as error:  # an encoding that Python does not know
        raise ScenarioError(f"{path}: cannot be read: {error} (should be {what})") from None


def _opened(path: Path) -> BinaryIO:
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ValueError("not a regular file")
    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else open(path, "rb")  # type: ignore[return-value]


def _parse(file: BinaryIO, path: Path, roots: Collection[str], what: str) -> None:
    parser = expat.ParserCreate()
    depth = 0

    def begin_doctype(*_: object) -> None:
        raise ScenarioError(
            f"{path}:{parser.CurrentLineNumber}: a DOCTYPE is not allowed (leave it out)"
        )

    def begin_element(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        if depth == 0 and tag not in roots:
            raise ScenarioError(f"{path}: begins with <{tag[:40]}>, so it is not {what}")
        if tag == INCLUDE:
            raise ScenarioError(
                f"{path}:{parser.CurrentLineNumber}: <{INCLUDE}> is not allowed "
                "(write out what it would include)"
            )
        wrong = _not_a_number(attributes)
        if wrong:
            raise ScenarioError(f"{path}:{parser.CurrentLineNumber}: <{tag[:40]}> has the {wrong}")
        depth += 1
        if depth > MAX_DEPTH:
            raise ScenarioError(
                f"{path}:{parser.CurrentLineNumber}: nested more than {MAX_DEPTH} levels deep "
                f"(should be {what})"
            )

    def end_element(_: str) -> None:
        nonlocal depth
        depth -= 1

    parser.StartDoctypeDeclHandler = begin_doctype
    parser.StartElementHandler, parser.EndElementHandler = begin_element, end_element
    parser.ParseFile(file)


def _not_a_number(attributes: dict[str, str]) -> str | None:
    """Which attribute should be another number; None where all are well."""
    for key in NUMBERS.intersection(attributes):
        value = attributes[key]
        if _NOT_FINITE.search(value):
            return f"{key} {value[:40]!r} (should be finite)"
        if key in NOT_NEGATIVE and value.lstrip().startswith("-"):
            return f"{key} {value[:40]!r} (should be positive)"
    return None
