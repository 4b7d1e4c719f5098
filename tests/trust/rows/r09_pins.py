"""Row 9: whatever the context leads to but the pinned cluster, both actions refuse, before a run and in its middle."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.trust import ROOT
from tests.trust.row import Effort, Ground, Measured, Row

LIMIT_S = 300.0


def measure(_: Effort) -> Measured:
    """It takes a few seconds, so all of it is tried each time."""
    argv = [sys.executable, "-m", "tests.trust.pins"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    if done.returncode:
        return Measured(trials=0, worst="", failures=(done.stderr.strip()[-2000:],))
    played = json.loads(done.stdout)
    refused = played["tried"] - len(played["failures"])
    return Measured(
        trials=played["tried"],
        worst=f"{refused} of {played['tried']} refused ({played['variants']} variants), no mutating call",
        failures=tuple(played["failures"]),
    )


ROW = Row(
    number=9,
    title="wrong context, URL, CA, UID: 20 variants",
    bar="all refused, no mutating call",
    measures=((Ground.HERE, measure),),
)
