"""Run a child process with bounded time and output, and end it together with everything it started."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, cast

from chaosext.model.output_bounds import LARGEST_ANSWER, MOST_OF_ERRORS, Collected

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

Process = subprocess.Popen[bytes]

PIECE = 1 << 16
LONGEST_WAIT_S = 3600.0
"""Longest single wait, in seconds: the operating system does not accept an unlimited one."""

REAPED_S = 1.0
"""Seconds to wait for a killed process to be reaped. A process that the kernel cannot end is left behind."""

_running: set[Process] = set()
"""All children that have not been reaped yet, from all threads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a command ended: exit code, standard output, and the end of its standard error."""

    exit_code: int
    stdout: str
    stderr: str


class TimeIsUp(Exception):
    """The command did not end in time, and was killed together with everything it started."""


def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    stdin: str = "",
    whose: str = "",
    most_bytes: int = LARGEST_ANSWER,
    env: Mapping[str, str] | None = None,
    cwd: str | Path | None = None,
    spares_others: bool = False,
) -> Ended:
    """Run `argv` until it has ended and every process that holds its output pipes has closed them.

    Raises `TimeIsUp`, `TooLarge` (which names `whose` output it is), and OSError if the command cannot be
    started. Kills everything left in its process group; with `spares_others`, only if the command did not end
    by itself.
    """
    deadline_s = time.monotonic() + timeout_s
    process = start(argv, env=env, cwd=cwd)
    try:
        return _Exchange(process, stdin.encode(), Collected(whose or argv[0], most_bytes=most_bytes)).until(
            deadline_s
        )
    finally:
        end(process, spares_others=spares_others and process.returncode is not None)


def start(
    argv: Sequence[str], *, env: Mapping[str, str] | None = None, cwd: str | Path | None = None
) -> Process:
    """Start `argv` with pipes for stdin, stdout and stderr. Raises OSError.

    The child gets a session of its own: Ctrl-C must not kill a heal, and a kill must reach all children.
    """
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        argv, stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True, env=env, cwd=cwd
    )
    _running.add(process)
    return process


def kill(process: Process) -> None:
    """Kill the process and its process group. A thread that reads its output sees the end of the pipe."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def end(process: Process, *, spares_others: bool = False) -> None:
    """Kill what is left of the process and its children, and close its pipes. Takes at most `REAPED_S` seconds."""
    if not spares_others:
        kill(process)
    _running.discard(process)
    with suppress(subprocess.TimeoutExpired):
        process.wait(REAPED_S)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            with suppress(OSError):
                pipe.close()


def end_all() -> None:
    """Kill all children at once. Threads that wait for one see that it has ended."""
    for process in tuple(_running):
        if process.returncode is None:  # a reaped process ID may already belong to another process
            kill(process)


def write(pipe: IO[bytes], data: bytes, deadline_s: float | None) -> None:
    """Write all of `data` to `pipe` and close it, even if `data` is larger than the pipe's buffer.

    Gives up at `deadline_s` (monotonic clock; None: no limit). A reader that is gone or too slow raises
    nothing here: it shows when its output is read.
    """
    descriptor, rest = pipe.fileno(), memoryview(data)
    os.set_blocking(descriptor, False)
    with selectors.DefaultSelector() as selector, suppress(BrokenPipeError):
        selector.register(descriptor, selectors.EVENT_WRITE)
        while rest:
            left_s = None if deadline_s is None else deadline_s - time.monotonic()
            if (left_s is not None and left_s <= 0) or not selector.select(left_s):
                break
            rest = rest[os.write(descriptor, rest[:PIECE]) :]
    with suppress(OSError):
        pipe.close()


class Tail:
    """The last bytes of a standard error stream."""

    def __init__(self) -> None:
        self._kept = bytearray()

    def add(self, piece: bytes) -> None:
        self._kept += piece
        del self._kept[:-MOST_OF_ERRORS]

    def text(self) -> str:
        return self._kept.decode(errors="replace")


class _Exchange:
    """Feed a child's stdin and collect its output, in a single thread."""

    def __init__(self, process: Process, stdin: bytes, said: Collected) -> None:
        self._process, self._said, self._errors = process, said, Tail()
        self._rest = memoryview(stdin)
        pipes = (process.stdin, process.stdout, process.stderr)
        self._stdin, self._stdout, stderr = cast("tuple[IO[bytes], IO[bytes], IO[bytes]]", pipes)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._stdout, selectors.EVENT_READ)
        self._selector.register(stderr, selectors.EVENT_READ)
        os.set_blocking(self._stdin.fileno(), False)
        if stdin:
            self._selector.register(self._stdin, selectors.EVENT_WRITE)
        else:
            self._stdin.close()

    def until(self, deadline_s: float) -> Ended:
        with self._selector:
            while self._selector.get_map():
                for key, _ in self._selector.select(_left_s(deadline_s)):
                    self._serve(key.fileobj)  # type: ignore[arg-type]
        while True:
            with suppress(subprocess.TimeoutExpired):
                exit_code = self._process.wait(_left_s(deadline_s))
                break
        return Ended(exit_code=exit_code, stdout=self._said.text(), stderr=self._errors.text())

    def _serve(self, pipe: IO[bytes]) -> None:
        if pipe is self._stdin:
            self._feed()
        elif piece := os.read(pipe.fileno(), PIECE):
            (self._said if pipe is self._stdout else self._errors).add(piece)
        else:
            self._selector.unregister(pipe)

    def _feed(self) -> None:
        try:
            self._rest = self._rest[os.write(self._stdin.fileno(), self._rest[:PIECE]) :]
        except BrokenPipeError:  # the child has closed its stdin
            self._rest = self._rest[:0]
        if not self._rest:
            self._selector.unregister(self._stdin)
            self._stdin.close()


def _left_s(deadline_s: float) -> float:
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeIsUp
    return min(left_s, LONGEST_WAIT_S)
