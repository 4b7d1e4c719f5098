"""A process killed in the middle of its work: forked off, killed at a named point, and all that it left waited for."""

from __future__ import annotations

import ctypes
import os
import signal
from typing import TYPE_CHECKING

from chaosext.model import crash

if TYPE_CHECKING:
    from collections.abc import Callable

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
SURVIVED, RAISED = 0, 3


def adopt_orphans() -> None:
    """What children of ours leave behind becomes our child (prctl(2)), so that its end can be waited for."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def start(work: Callable[[], object], *, crash_at: str = "") -> int:
    """Do `work` in a process of its own. Returns its id."""
    pid = os.fork()
    if pid:
        return pid
    code = RAISED
    try:
        os.environ[crash.VARIABLE] = crash_at
        work()
        code = SURVIVED
    finally:
        os._exit(code)


def end_of(*pids: int) -> tuple[int, ...]:
    """How each ended (negative: by which signal), once they and everything that they started are gone."""
    codes = {}
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            return tuple(codes[pid] for pid in pids)
        codes[pid] = os.waitstatus_to_exitcode(status)


def killed(code: int) -> bool:
    return code == -signal.SIGKILL
