"""Files from outside are well-formed XML that names nothing beyond itself."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from trafficrl.errors import ScenarioError
from trafficrl.simulation.safexml import check_xml

BOMB = '<!DOCTYPE net [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><net>&b;</net>'
EXTERNAL = '<!DOCTYPE net [<!ENTITY a SYSTEM "file:///etc/passwd">]><net>&a;</net>'


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (BOMB.encode(), "one.xml:1: a DOCTYPE is not allowed"),
        (EXTERNAL.encode(), "a DOCTYPE is not allowed"),
        (b'<!DOCTYPE net SYSTEM "other.dtd"><net/>', "a DOCTYPE is not allowed"),
        (b'<net><include href="/etc/passwd"/></net>', "<include> is not allowed"),
        (b"<net>\n<edge", r"one.xml:2:1: broken XML: unclosed token \(should be a network\)"),
        (b"<net/><net/>", "broken XML: junk after document element"),
        (b"<net>&nbsp;</net>", "broken XML: undefined entity"),
        (b"", "broken XML: no element found"),
        (bytes(range(256)), "broken XML"),
        (b"<osm/>", "begins with <osm>, so it is not a network"),
        (b'<?xml version="1.0" encoding="klingon"?><net/>', "unknown encoding"),
        (gzip.compress(b"<net/>", mtime=0)[:12], "a broken gzip file"),
        (gzip.compress(b"<net>", mtime=0), "broken XML"),
    ],
)
def test_what_is_not_safe_or_not_whole_is_refused_on_one_line(
    content: bytes, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "one.xml"
    path.write_bytes(content)
    with pytest.raises(ScenarioError, match=message) as caught:
        check_xml(path, {"net"}, "a network")
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"<net/>",
        gzip.compress(b"<net></net>", mtime=0),
        '<?xml version="1.0"?><net/>'.encode("utf-16"),
    ],
)
def test_plain_and_zipped_files_pass(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "one.xml"
    path.write_bytes(content)
    check_xml(path, {"net"}, "a network")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"nowhere: no such file \(should be a network\)"):
        check_xml(tmp_path / "nowhere", {"net"}, "a network")
    with pytest.raises(ScenarioError, match="Is a directory"):
        check_xml(tmp_path, {"net"}, "a network")
