"""Named points at which a test can kill the process with SIGKILL, without clean-up, like the OOM killer.

`CHAOSEXT_CRASH_AT=<point>` kills the process there, `<point>:<n>` at the n-th pass (1 is the first).
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter

VARIABLE = "CHAOSEXT_CRASH_AT"

POINTS: dict[str, str] = {
    "lease-taken": "the Lease is taken, no node is locked yet",
    "first-node-locked": "the first node is locked, the others not yet",
    "nodes-locked": "every node is locked",
    "intent-written": "the intent is on disk (fsync), no node was sent its rules",
    "arming": "every node was inspected and waits for its rules",
    "first-node-sent": "the first node was sent its rules, the others maybe not",
    "committed": "the first node has said that its rules are in force; they were not read back",
    "armed": "the cut was read back on every node, and not yet verified from outside",
    "proven": "the cut was verified from outside",
    "renewed": "the kernel's timeouts were restarted",
    "healing": "no rule was removed yet",
    "first-node-healed": "the first node's table is gone, the others' maybe not",
    "healed": "the tables are confirmed as removed, and that is not on disk yet",
    "gone-written": "the removal of the tables is on disk (fsync)",
    "rolling-back": "kube-dns' Pods are about to be deleted",
    "rolled-back": "kube-dns' Pods were deleted, and are not yet seen Ready",
    "releasing": "everything is healed, the locks are still held",
    "result-written": "result.json is written, the locks are released",
}
"""Every point in the order in which a run passes it, with the state of the run there."""

_passed: Counter[str] = Counter()
_counting = threading.Lock()


def crash_point(name: str) -> None:
    """Kill this process if a test asked for it. `name` is one of `POINTS`."""
    wanted = os.environ.get(VARIABLE)
    if wanted is None:
        return
    point, _, times = wanted.partition(":")
    if point != name:
        return
    with _counting:
        _passed[name] += 1
        if _passed[name] == int(times or 1):
            os.kill(os.getpid(), signal.SIGKILL)
