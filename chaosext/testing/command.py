"""The command `chaosext`, run as a process of its own: whatever becomes of the test, it heals what it cut."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.model.printable import say

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

PROGRAM = (sys.executable, "-P", "-m", "chaosext")  # -P: no module of the test's directory comes before ours

LEAVE_S = 30.0
"""What a command that was told to leave may take. A run is gone within 5 s; `testbed up` may wait for Docker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a command ended, and what it printed; its progress went to stderr."""

    exit_code: int
    stdout: str

    @property
    def was_killed(self) -> bool:
        """Whether a signal ended it without its say, so that nobody healed."""
        return self.exit_code < 0


@dataclass(frozen=True, slots=True)
class Command:
    """Runs `chaosext`. While `shown` lasts, what goes to stderr reaches the person who waits."""

    shown: Callable[[], AbstractContextManager[object]]

    def __call__(self, *words: str, environment: Mapping[str, str] | None = None) -> Done:
        """Run one command to its end. Whatever interrupts the wait interrupts the command, which leaves in order."""
        with self.shown():
            process = subprocess.Popen(
                [*PROGRAM, *words],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                text=True,
                errors="replace",
                env={**os.environ, **(environment or {})},
            )
            try:
                stdout, _ = process.communicate()
            except BaseException:
                _end(process)
                raise
        return Done(exit_code=process.returncode, stdout=stdout)

    def say(self, line: str) -> None:
        """Tell the person who waits."""
        with self.shown():
            say(f"chaosext: {line}", err=True)


def _end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        with suppress(KeyboardInterrupt):  # a second Ctrl-C is no reason to leave a cut
            process.communicate(timeout=LEAVE_S)
            return
        process.communicate(timeout=LEAVE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
