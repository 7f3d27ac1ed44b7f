"""The calls for each vehicle from C++, where there is a compiler."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

SOURCE = Path(__file__).with_name("compiled.cpp")
COMPILER = shutil.which("g++")


@cache
def library() -> ctypes.CDLL:
    """``compiled.cpp``, on the libsumo of this process."""
    import libsumo._libsumo

    assert COMPILER is not None
    with tempfile.TemporaryDirectory(prefix="trafficrl-bench-") as folder:
        target = Path(folder) / "compiled.so"
        # Linked with it by its path: made global, its Arrow would get into pyarrow's way.
        files = [str(SOURCE), libsumo._libsumo.__file__, "-o", str(target)]
        command = [COMPILER, "-O2", "-shared", "-fPIC", *files]
        subprocess.run(command, check=True)
        return ctypes.CDLL(str(target))
