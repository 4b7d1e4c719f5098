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
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
