"""Row 20: malformed experiments, settings and node answers end in an error of ours, and touch nothing."""

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
COUNTS = {Effort.FAST: (1, 1500), Effort.FULL: (2, 25_000)}
"""Processes, and inputs for each."""
LIMIT_S = 600.0


def measure(effort: Effort) -> Measured:
    """FAST feeds the same inputs each time, FULL others: one that fails is named, and can be fed again."""
    processes, count = COUNTS[effort]
    first = "fast" if effort is Effort.FAST else str(random.randrange(1_000_000))
    with ThreadPoolExecutor(processes) as pool:
        played = list(pool.map(lambda index: _play(count, f"{first}.{index}"), range(processes)))
    fed = sum(sum(each["fed"].values()) for each in played)
    subjects = len(played[0]["fed"])
    failures = tuple(failure for each in played for failure in each["failures"])
    return Measured(
        trials=fed, worst=f"{fed} inputs of {subjects} kinds, {len(failures)} wrong", failures=failures
    )


def _play(count: int, seed: str) -> dict[str, Any]:
    argv = [sys.executable, "-m", "tests.trust.fuzz", str(count), seed]
    try:
        done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        played: dict[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return {"fed": {}, "failures": [f"seed {seed}: not done within {LIMIT_S:g} s"]}
    except ValueError:
        return {"fed": {}, "failures": [f"seed {seed}: {done.stderr.strip()[-2000:]}"]}
    return played


ROW = Row(
    number=20,
    title="malformed experiments, settings and node answers: fuzzed",
    bar="50,000 inputs: no traceback, exit 20 (20 or 30 for answers), nothing touched",
    measures=((Ground.HERE, measure),),
)
