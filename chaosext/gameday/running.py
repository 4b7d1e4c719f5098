"""The experiment in a process of its own: `chaosext run`, so that its verdict is the same as anybody's.

Whatever becomes of that process, the game day is there to take away what it left, and to tell of it.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path
    from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""What a kubelet or a person sends: the run heeds each by healing and ending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How the process ended: its exit code (negative: the signal that killed it), and its result where it told one."""

    exit_code: int
    result: Mapping[str, Any] | None

    @property
    def was_killed(self) -> bool:
        """Whether it went without a word, so that it may have left something."""
        return self.result is None and self.exit_code != 20


class Told:
    """Passes on what this process is told, which is the first of its Pod: a signal without a handler is lost there."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        if self._process is None:
            raise SystemExit(128 + number)
        self._process.send_signal(number)

    @contextmanager
    def heeded(self) -> Iterator[None]:
        """While this lasts, signals end this process properly, or are `process`'s."""
        before = {number: signal.signal(number, self) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def passed_to(self, process: subprocess.Popen[str]) -> Iterator[None]:
        self._process = process
        try:
            yield
        finally:
            self._process = None


def run_experiment(experiment: Path, options: Sequence[str], told: Told) -> Ran:
    """Run the experiment in the file to its end. What it says on its way goes where our own errors go."""
    argv = [sys.executable, "-m", "chaosext", "run", str(experiment), "--json", "--plain", *options]
    with (
        subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, errors="backslashreplace") as process,
        told.passed_to(process),
    ):
        output, _ = process.communicate()
    return Ran(exit_code=process.returncode, result=_result(output))


def _result(output: str) -> Mapping[str, Any] | None:
    try:
        value = json.loads(output)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
