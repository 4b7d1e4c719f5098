"""Wall clock of a whole run against the sum of its own timers: what chaosext itself adds."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

from benchmarks.bed import CHAOSEXT, ensure_up

EXPERIMENT = "experiments/control-plane-partition.yaml"
SETTLE_S, DWELL_S = 120.0, 15.0
"""The experiment's defaults: a cluster that does not heal itself is given all of `settle_s`."""


def main() -> None:
    """Print the run's time, the sum of its timers (grace + tolerations + settle + dwell), and their ratio."""
    ensure_up()
    started_s = time.monotonic()
    argv = [CHAOSEXT, "run", EXPERIMENT, "--expect", "deviated", "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=1800, check=False)
    wall_s = time.monotonic() - started_s
    if done.returncode:
        raise SystemExit(f"the run ended with {done.returncode}: {done.stderr[-2000:]}")
    timers_s = _timers_s(json.loads(done.stdout))
    print(f"whole run      {wall_s:6.1f} s")
    print(f"sum of timers  {timers_s:6.1f} s   {wall_s / timers_s:5.2f} x", flush=True)


def _timers_s(result: dict[str, Any]) -> float:
    timings = result["timings"]
    return timings["node_monitor_grace_period_s"] + timings["default_toleration_s"] + SETTLE_S + DWELL_S
