"""Pictures as files, each written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from trafficrl.errors import TrafficRLError
from trafficrl.evaluation.files import output_file
from trafficrl.plots.style import in_style, require_matplotlib

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DOTS_PER_INCH = 300  # of PNG, and of what lies as pixels within the other formats
# Without the time of writing, so that the same picture has the same bytes.
FORMATS: dict[str, dict[str, Any]] = {
    ".png": {},
    ".pdf": {"CreationDate": None},
    ".svg": {"Date": None},
}


@contextmanager
def picture_files(paths: Sequence[Path]) -> Iterator[Callable[[Figure], None]]:
    """Opens to a function that writes a figure to all ``paths``, in the formats of their suffixes.

    All open at once: ``TrafficRLError`` for an unknown suffix, for what cannot be
    written, or where matplotlib is missing. Each appears when all went well.
    """
    require_matplotlib()
    for path in paths:
        if path.suffix.lower() not in FORMATS:
            raise TrafficRLError(
                f"{path}: pictures are written to files that end in {', '.join(FORMATS)}, "
                f"not '{path.suffix}'"
            )
    with ExitStack() as files:
        streams = [
            (path.suffix.lower(), files.enter_context(output_file(path, binary=True)))
            for path in dict.fromkeys(paths)
        ]

        def write(figure: Figure) -> None:
            for suffix, stream in streams:
                save(figure, stream, suffix)

        yield write


def save(figure: Figure, stream: IO[bytes], suffix: str) -> None:
    """Write a figure in the format of ``suffix``, one of ``FORMATS``."""
    with in_style():
        figure.savefig(
            stream, format=suffix.lstrip("."), dpi=DOTS_PER_INCH, metadata=FORMATS[suffix]
        )
