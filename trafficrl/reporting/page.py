"""A report as one HTML page that needs nothing beside it."""

from __future__ import annotations

import base64
from importlib.resources import files

from trafficrl import __version__
from trafficrl.reporting.report import Report


def as_html(report: Report) -> str:
    """Pictures and clips are within the page; it opens without a network."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["base64"] = lambda data: base64.b64encode(data).decode("ascii")
    source = files("trafficrl.reporting").joinpath("page.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source).render(report=report, version=__version__)
