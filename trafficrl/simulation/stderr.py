"""What libsumo says on stderr, where its exceptions say nothing."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

SAYS_NOTHING = "Process Error"  # the text of libsumo's exception
STDERR = 2


@contextmanager
def errors_from_stderr() -> Iterator[None]:
    """Keeps stderr to itself; an exception of libsumo that says nothing gets its first error."""
    sys.stderr.flush()
    real = os.dup(STDERR)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), STDERR)
        try:
            yield
        except Exception as error:
            said.seek(0)
            lines = said.read().decode(errors="replace").splitlines()
            told = [line for line in lines if line.startswith("Error: ")]
            if str(error).strip() != SAYS_NOTHING or not told:
                raise
            raise RuntimeError(told[0].removeprefix("Error: ").rstrip(".")) from None
        finally:
            sys.stderr.flush()
            os.dup2(real, STDERR)
            os.close(real)
