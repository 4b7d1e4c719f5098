"""Many runs in one process: `repeating TIMES EXPERIMENT EXIT [EXPERIMENT EXIT …]`, in turn.

After each, what the process holds is a line of JSON in the file `held`.
"""

from __future__ import annotations

import gc
import itertools
import json
import sys
import threading
import time
from pathlib import Path

from chaosext.cli.main import invoke

SETTLING_S = 2.0
"""Daemon threads that wait for an answer which doesn't matter any more may take that long to end."""

HELD = "held"


def main(argv: list[str]) -> None:
    """Ends with 1 after the first run that ends with another exit code than its own."""
    times, *pairs = argv
    plans = itertools.cycle(zip(pairs[::2], map(int, pairs[1::2]), strict=True))
    for number, (experiment, wanted) in zip(range(int(times)), plans, strict=False):
        code = invoke(["run", experiment])
        _settle()
        with Path(HELD).open("a") as file:
            file.write(json.dumps({"run": number, "exit": code, **held()}) + "\n")
        if code != wanted:
            sys.exit(1)


def held() -> dict[str, int]:
    """Descriptors, threads, children and kB of memory of this process."""
    gc.collect()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    tasks = Path("/proc/self/task").iterdir()
    return {
        "descriptors": len(list(Path("/proc/self/fd").iterdir())) - 1,
        "threads": threading.active_count(),
        "children": sum(len((task / "children").read_text().split()) for task in tasks),
        "memory_kb": int(status["VmRSS"].split()[0]),
    }


def _settle() -> None:
    deadline_s = time.monotonic() + SETTLING_S
    while threading.active_count() > 1 and time.monotonic() < deadline_s:
        time.sleep(0.05)
