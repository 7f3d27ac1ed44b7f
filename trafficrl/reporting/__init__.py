"""One page that says what was trained and how well it drives."""

from trafficrl.reporting.page import as_html
from trafficrl.reporting.report import Options, Report, make_report

__all__ = ["Options", "Report", "as_html", "make_report"]
