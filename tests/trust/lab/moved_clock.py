"""This script is `chaosext …` on a machine whose wall clock is moved while it runs, by libfaketime.

The library is loaded already; what this process starts goes by the real clock, as a node does. libfaketime 0.9.10 makes
clock_nanosleep(2), and with it `time.sleep`, fail with EINVAL; select(2) sleeps as well.
"""

import os
import select
import sys
import time
from pathlib import Path

for name in [each for each in os.environ if each == "LD_PRELOAD" or each.startswith("FAKETIME")]:
    del os.environ[name]


def sleep(seconds: float) -> None:
    select.select([], [], [], seconds)


time.sleep = sleep  # type: ignore[assignment]

from chaosext.cli.main import main  # noqa: E402 - time.sleep must be mended before it is imported by name

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[3]))
    main()
