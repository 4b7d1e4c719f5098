"""`chaosext run` in a real pseudo-terminal, whose screen is kept by an emulator of one."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyte
from crash_activities import LOG
from crash_run import DRIVER, as_from_a_terminal

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_S = 30.0


class Terminal:
    """A terminal of `columns` x `lines`, in which one run goes on. `raw` is all that was written to it.

    It takes in what is written while `reads` is set; a person who pressed Ctrl-S is a terminal that doesn't.
    """

    def __init__(
        self,
        directory: Path,
        value: dict[str, Any],
        *options: str,
        columns: int = 80,
        lines: int = 24,
        **environment: str,
    ) -> None:
        self.screen = pyte.Screen(columns, lines)
        self._stream = pyte.ByteStream(self.screen)
        self.raw, self._taking = b"", threading.Lock()
        self.reads = threading.Event()
        self.reads.set()
        experiment = f"{directory}/experiment.json"
        Path(experiment).write_text(json.dumps(value))
        self._ours, theirs = pty.openpty()
        self._resize(columns, lines)
        self.process = subprocess.Popen(
            [sys.executable, str(DRIVER), "run", *options, "--run-dir", f"{directory}/run", experiment],
            env=_environment(directory) | environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=_controlled,
        )
        os.close(theirs)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.reads.set()
        self.process.kill()
        self.process.wait()
        self._reader.join(5)
        os.close(self._ours)

    def shows(self, wanted: str | Callable[[list[str]], bool]) -> list[str]:
        """The screen's lines as soon as `wanted` is on it."""
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            lines = self.lines()
            if wanted(lines) if callable(wanted) else any(wanted in line for line in lines):
                return lines
            time.sleep(0.05)
        raise AssertionError("\n".join((f"never shown: {wanted}", *self.lines())))

    def lines(self) -> list[str]:
        with self._taking:
            return [line.rstrip() for line in self.screen.display]

    def types(self, keys: bytes) -> None:
        os.write(self._ours, keys)

    def becomes(self, columns: int, lines: int) -> None:
        """The window has another size from now on; the kernel sends SIGWINCH."""
        with self._taking:
            self.screen.resize(lines, columns)
        self._resize(columns, lines)

    def ends(self) -> int:
        code = self.process.wait(timeout=PATIENCE_S)
        self._reader.join(5)
        return code

    def _resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def _read(self) -> None:
        while True:
            self.reads.wait()
            try:
                taken = os.read(self._ours, 1 << 16)
            except OSError:  # the last process that had it is gone
                return
            with self._taking:
                self.raw += taken
                self._stream.feed(taken)


def _environment(directory: Path) -> dict[str, str]:
    quiet = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR", "COLUMNS")}
    own = {LOG: str(directory / "log"), "XDG_STATE_HOME": str(directory / "state"), "TERM": "xterm-256color"}
    return quiet | own


def _controlled() -> None:
    """It is the process' own terminal: Ctrl-C typed there is its SIGINT."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    as_from_a_terminal()
