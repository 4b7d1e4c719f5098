"""What the transports share: a child process of ours that enters a node, bounded in time."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from tempfile import TemporaryFile
from typing import IO

from chaosext.model.errors import Refused, Unreachable
from chaosext.nodes.shell import ShellResult

NotEntered = Callable[[int, str], bool]
"""Whether this exit code and stderr are the transport's own failure to enter the node, not the script's."""

PARTING_S = 1.0
"""How long a script has, after EOF on its stdin, before it is killed."""


_running: set[subprocess.Popen[str]] = set()
"""Every process of ours that was not yet seen to end, whichever thread it is for."""


def end_all() -> None:
    """End every process of ours at once: what waits for one hears that it was `Unreachable`, or ended early."""
    for process in tuple(_running):
        if process.returncode is None:  # else its number may be another's by now
            _kill(process)


def run_process(
    node: str, argv: Sequence[str], *, stdin: str, timeout_s: float, not_entered: NotEntered
) -> ShellResult:
    """Run `argv` to its end. Raises `Unreachable` on time-out or when the node was not entered."""
    process = _start(node, argv, subprocess.PIPE)
    try:
        stdout, stderr = process.communicate(stdin, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise Unreachable(f"{node}: no answer within {timeout_s:g} s") from None
    finally:
        _end(process)
    if process.returncode and not_entered(process.returncode, stderr):
        raise Unreachable(f"{node}: {_last_line(stderr)}")
    return ShellResult(process.returncode, stdout, stderr)


class ProcessStream:
    """A running script: iterate its lines, `send` its stdin. Leaving its context ends the script."""

    def __init__(
        self, node: str, argv: Sequence[str], *, timeout_s: float | None = None, not_entered: NotEntered
    ) -> None:
        self._node, self._not_entered, self._timeout_s = node, not_entered, timeout_s
        self._late = False
        self._stderr = _spool(node)
        try:
            self._process = _start(node, argv, self._stderr)
        except BaseException:
            self._stderr.close()
            raise
        self._timer = threading.Timer(timeout_s, self._time_is_up) if timeout_s is not None else None
        if self._timer:
            self._timer.daemon = True
            self._timer.start()

    def __enter__(self) -> ProcessStream:
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer:
            self._timer.cancel()
        try:
            self._close_stdin()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(PARTING_S)
        finally:  # an interrupt cuts the waiting short, and nothing else
            _end(self._process)
            self._stderr.close()

    def __iter__(self) -> ProcessStream:
        return self

    def __next__(self) -> str:
        assert self._process.stdout is not None  # noqa: S101
        line = self._process.stdout.readline()
        if line:
            return line.rstrip("\n")
        self._raise_if_unreachable()
        raise StopIteration

    def send(self, text: str) -> None:
        assert self._process.stdin is not None  # noqa: S101
        with suppress(BrokenPipeError):  # the script is gone: reading it says so
            self._process.stdin.write(text)
            self._process.stdin.flush()
        self._close_stdin()

    def _close_stdin(self) -> None:
        if self._process.stdin:
            with suppress(BrokenPipeError):
                self._process.stdin.close()

    def _time_is_up(self) -> None:
        self._late = True
        _kill(self._process)

    def _raise_if_unreachable(self) -> None:
        if self._late:
            raise Unreachable(f"{self._node}: no answer within {self._timeout_s:g} s")
        exit_code = self._process.wait()
        self._stderr.seek(0)
        stderr = self._stderr.read()
        if exit_code and self._not_entered(exit_code, stderr):
            raise Unreachable(f"{self._node}: {_last_line(stderr)}")


def _spool(node: str) -> IO[str]:
    """A file for a script's stderr: a pipe that nobody drains would block it."""
    try:
        return TemporaryFile("w+", errors="replace")
    except OSError as error:  # a full disk, or no descriptor left
        raise Unreachable(f"{node}: no temporary file for its answers ({error.strerror})") from None


def _start(node: str, argv: Sequence[str], stderr: int | IO[str]) -> subprocess.Popen[str]:
    try:
        # In a session of its own: Ctrl-C must not kill a heal, and a kill must reach all children.
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            errors="replace",
            start_new_session=True,
        )
    except FileNotFoundError:
        raise Refused(f"{argv[0]}: no such command", "install it, it is the way into the nodes") from None
    except OSError as error:  # no process or descriptor left, or one that may not be run
        raise Unreachable(f"{node}: {argv[0]} can't be started ({error.strerror})") from None
    _running.add(process)
    return process


def _end(process: subprocess.Popen[str]) -> None:
    _kill(process)
    _running.discard(process)
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe:
            with suppress(BrokenPipeError):
                pipe.close()


def _kill(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _last_line(stderr: str) -> str:
    lines = stderr.strip().splitlines()
    return lines[-1] if lines else "could not be entered"
