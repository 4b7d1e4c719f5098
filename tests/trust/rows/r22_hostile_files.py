"""Row 22: run directories, documents, snapshots and texts that other people prepared do nothing but be read."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.trust.row import Effort, Ground, Measured, Row

ROOT = Path(__file__).parents[3]
COUNTS = {Effort.FAST: (1, 300), Effort.FULL: (2, 10_000)}
"""Processes, and inputs for each."""
LIMIT_S = 900.0


def measure(effort: Effort) -> Measured:
    """FAST feeds the same inputs each time, FULL others: one that fails is named, and can be fed again."""
    processes, count = COUNTS[effort]
    first = "fast" if effort is Effort.FAST else str(random.randrange(1_000_000))
    with ThreadPoolExecutor(processes) as pool:
        played = list(pool.map(lambda index: _play(count, f"{first}.{index}"), range(processes)))
    fed = sum(sum(each["fed"].values()) for each in played)
    longest_s, mib = (max(each[what] for each in played) for what in ("longest_s", "mib"))
    failures = tuple(failure for each in played for failure in each["failures"])
    return Measured(
        trials=fed,
        worst=f"{fed} inputs, {len(failures)} wrong; the longest {longest_s} s of a processor, at most {mib} MiB",
        failures=failures,
    )


def _play(count: int, seed: str) -> dict[str, Any]:
    argv = [sys.executable, "-m", "tests.trust.fuzz.hostile", str(count), seed]
    nothing: dict[str, Any] = {"fed": {}, "longest_s": 0.0, "mib": 0}
    try:
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        played: dict[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return {**nothing, "failures": [f"seed {seed}: not done within {LIMIT_S:g} s"]}
    except ValueError:
        return {**nothing, "failures": [f"seed {seed}: {done.stderr.strip()[-2000:]}"]}
    return played


ROW = Row(
    number=22,
    title="run directories full of traps, bombs of YAML, JSON and gzip, texts that a terminal obeys: fuzzed",
    bar="20,000 inputs: nothing written elsewhere, nothing but printable text, below 300 MiB and 10 s each",
    measures=((Ground.HERE, measure),),
)
