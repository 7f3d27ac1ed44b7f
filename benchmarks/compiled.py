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
    ctypes.CDLL(libsumo._libsumo.__file__, mode=ctypes.RTLD_GLOBAL)
    with tempfile.TemporaryDirectory(prefix="trafficrl-bench-") as folder:
        target = Path(folder) / "compiled.so"
        command = [COMPILER, "-O2", "-shared", "-fPIC", str(SOURCE), "-o", str(target)]
        subprocess.run(command, check=True)
        return ctypes.CDLL(str(target))
