"""One clock for the eye, the API server and the trials, in all their processes."""

from __future__ import annotations

import time


def now_s() -> float:
    """Seconds since the boot: nobody can set it, and every process of this machine reads the same."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
