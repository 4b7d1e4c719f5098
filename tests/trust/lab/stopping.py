"""`chaosext …` that is stopped, as by SIGSTOP or a paused machine, at the point that `CHAOSEXT_CRASH_AT` names.

It stops itself where it would have been killed; the trial continues it by SIGCONT.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from chaosext.model import crash
from tests.trust.lab.activities import mark


class Stopping:
    """`os`, as far as crash points use it."""

    environ = os.environ
    getpid = staticmethod(os.getpid)

    @staticmethod
    def kill(pid: int, _: int) -> None:
        mark("stopped")
        os.kill(pid, signal.SIGSTOP)


def main(argv: list[str]) -> None:
    from chaosext.cli.main import main as chaosext

    stopping: Any = Stopping
    crash.os = stopping
    chaosext(argv)
