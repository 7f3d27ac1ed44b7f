"""Tables of text with a title above and notes below, for a terminal and for Markdown."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Section:
    """A table of text with a title above and notes below."""

    title: str
    header: list[str]
    rows: list[list[str]]
    notes: list[str] = field(default_factory=list)

    def text(self) -> str:
        """With aligned columns."""
        lines = [self.header, *self.rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        body = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        return "\n".join([self.title, *body, *self.notes, ""])

    def markdown(self) -> str:
        """As a Markdown table."""
        lines = [self.header, ["---"] * len(self.header), *self.rows]
        escaped = [
            [cell.replace("|", "\\|").replace("*", "\\*") for cell in line] for line in lines
        ]
        body = [f"| {' | '.join(line)} |" for line in escaped]
        notes = ["", *(f"- {note}" for note in self.notes)] if self.notes else []
        return "\n".join([f"**{self.title}**", "", *body, *notes, ""])
