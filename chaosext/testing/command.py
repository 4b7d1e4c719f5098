"""The command `chaosext` in its own process: whatever happens to the test, it heals its cut."""

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

PROGRAM = (sys.executable, "-P", "-m", "chaosext")  # -P: no module in the test's directory shadows chaosext

LEAVE_S = 30.0
"""Time for a command to end after SIGTERM, seconds.

A run takes up to 5 s; `testbed up` may wait for Docker.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A command's exit code and output; its progress went to stderr."""

    exit_code: int
    stdout: str

    @property
    def was_killed(self) -> bool:
        """Whether a signal killed it before it could heal."""
        return self.exit_code < 0


@dataclass(frozen=True, slots=True)
class Command:
    """Runs `chaosext`. Inside the context `shown`, output to stderr is visible on the terminal."""

    shown: Callable[[], AbstractContextManager[object]]

    def __call__(self, *words: str, environment: Mapping[str, str] | None = None) -> Done:
        """Run one command to its end.

        An interrupted wait sends it SIGTERM, so that it heals and ends in order.
        """
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
        """Print a line for the user."""
        with self.shown():
            say(f"chaosext: {line}", err=True)


def _end(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        with suppress(KeyboardInterrupt):  # a second Ctrl-C must not leave a cut behind
            process.communicate(timeout=LEAVE_S)
            return
        process.communicate(timeout=LEAVE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
