"""Looks through XML from outside before anything else reads it.

A file with a DOCTYPE is refused: only that can declare entities, which expand
without bound or name other files (no format of SUMO's, OpenStreetMap's or
OpenDRIVE's has one). So is one that makes SUMO read others in its place.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO
from xml.parsers import expat

from trafficrl.errors import ScenarioError

INCLUDE = "include"  # SUMO reads another file in this element's place


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
    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else open(path, "rb")  # type: ignore[return-value]


def _parse(file: BinaryIO, path: Path, roots: Collection[str], what: str) -> None:
    parser = expat.ParserCreate()
    inside = False

    def begin_doctype(*_: object) -> None:
        raise ScenarioError(
            f"{path}:{parser.CurrentLineNumber}: a DOCTYPE is not allowed (leave it out)"
        )

    def begin_element(tag: str, _: dict[str, str]) -> None:
        nonlocal inside
        if not inside and tag not in roots:
            raise ScenarioError(f"{path}: begins with <{tag[:40]}>, so it is not {what}")
        if tag == INCLUDE:
            raise ScenarioError(
                f"{path}:{parser.CurrentLineNumber}: <{INCLUDE}> is not allowed "
                "(write out what it would include)"
            )
        inside = True

    parser.StartDoctypeDeclHandler = begin_doctype
    parser.StartElementHandler = begin_element
    parser.ParseFile(file)
