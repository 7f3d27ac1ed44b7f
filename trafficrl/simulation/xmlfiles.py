"""Writing SUMO's XML files so that the same content is always the same text."""

from __future__ import annotations

from xml.etree import ElementTree
from xml.etree.ElementTree import Element

__all__ = ["Element", "add", "number", "text", "without_opening_comment"]


def add(parent: Element, tag: str, attributes: dict[str, str | float]) -> Element:
    """A new child of ``parent``; numbers are written by ``number``."""
    texts = {
        key: value if isinstance(value, str) else number(value) for key, value in attributes.items()
    }
    return ElementTree.SubElement(parent, tag, texts)


def number(value: float) -> str:
    """At most six decimals, without trailing zeros or a negative zero."""
    digits = f"{value:.6f}".rstrip("0").rstrip(".")
    return "0" if digits == "-0" else digits


def text(root: Element) -> str:
    """The indented document."""
    ElementTree.indent(root, "    ")
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def without_opening_comment(document: str) -> str:
    """``document`` without the date and the paths that SUMO's programs begin it with."""
    head, _, rest = document.partition("<!--")
    return head.rstrip() + "\n" + rest.partition("-->")[2].lstrip()
