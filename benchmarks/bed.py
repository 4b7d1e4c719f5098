"""The testbed that the benchmarks run on, by the command that was installed beside this Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHAOSEXT = str(Path(sys.executable).parent / "chaosext")
UP_TIMEOUT_S = 3600


def ensure_up() -> None:
    """Bring the testbed `chaosext` up, or see that it is. Its progress goes to stderr."""
    subprocess.run(
        [CHAOSEXT, "testbed", "up", "--sidecars", "classic"],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=UP_TIMEOUT_S,
    )
