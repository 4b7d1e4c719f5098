"""Child processes of tests that end with the test process, however that ends."""

from __future__ import annotations

import ctypes
import signal

PR_SET_PDEATHSIG = 1
"""linux/prctl.h; prctl(2)."""

_LIBC = ctypes.CDLL(None)


def die_with_parent() -> None:
    """Pass as `preexec_fn`: the kernel kills the child when the thread that started it ends.

    A test process that is killed (a time limit, a crashed worker) runs no teardown. Without this its sentinels went on
    sampling for hours and slowed down every later test on the machine.
    """
    _end_with_parent(signal.SIGKILL)


def leave_with_parent() -> None:
    """Call in a child that has something to clean up: it gets SIGTERM when the thread that started it ends."""
    _end_with_parent(signal.SIGTERM)


def _end_with_parent(by: signal.Signals) -> None:
    _LIBC.prctl(PR_SET_PDEATHSIG, by, 0, 0, 0)
