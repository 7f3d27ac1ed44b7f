"""``python -m trafficrl`` is the command ``trafficrl``."""

from __future__ import annotations

import sys

from trafficrl.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
