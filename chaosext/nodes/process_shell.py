"""Shared by the transports: a local child process that enters a node, with bounded time and output."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

from chaosext.model import child_process
from chaosext.model.child_process import PIECE, Tail, TimeIsUp
from chaosext.model.errors import Refused, Unreachable
from chaosext.model.names import require_name
from chaosext.model.output_bounds import LARGEST_ANSWER, MIB, MOST_LINES, too_large
from chaosext.nodes.shell import ShellResult

NotEntered = Callable[[int, str], bool]
"""Whether exit code and stderr show that the transport failed to enter the node, rather than the script."""

PARTING_S = 1.0
"""Seconds that a script has after EOF on its stdin before it is killed."""

SEND_S = 10.0
"""Seconds within which a script without a time limit must read its stdin."""

LARGEST_STREAM = 48 * MIB
"""Bytes of a stream with a time limit: arming lists a node's rules twice. Other streams have only a line limit."""

LONGEST_LINE = 8 * MIB


def run_process(
    node: str, argv: Sequence[str], *, stdin: str, timeout_s: float, not_entered: NotEntered
) -> ShellResult:
    """Run `argv` to its end. Raises `Unreachable` on a timeout, a failed entry to the node, or too large an output."""
    try:
        done = child_process.run(
            argv, stdin=stdin, timeout_s=timeout_s, whose=node, most_bytes=LARGEST_ANSWER
        )
    except TimeIsUp:
        raise _late(node, timeout_s) from None
    except OSError as error:
        raise _not_started(node, argv[0], error) from None
    if done.exit_code and not_entered(done.exit_code, done.stderr):
        raise Unreachable(f"{node}: {_last_line(done.stderr)}")
    return ShellResult(done.exit_code, done.stdout, done.stderr)


class ProcessStream:
    """A running script: iterate its lines, `send` its stdin. Leaving its context ends the script."""

    def __init__(
        self, node: str, argv: Sequence[str], *, timeout_s: float | None = None, not_entered: NotEntered
    ) -> None:
        self._node, self._not_entered, self._timeout_s = node, not_entered, timeout_s
        self._late, self._over, self._bytes, self._lines = False, False, 0, 0
        try:
            self._process = child_process.start(argv)
        except OSError as error:
            raise _not_started(node, argv[0], error) from None
        self._errors = Tail()
        self._listening = threading.Thread(target=self._listen, name="stderr", daemon=True)
        self._listening.start()
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
        finally:  # an interrupt only shortens the wait
            child_process.kill(self._process)
            self._listening.join(PARTING_S)
            self._over = True  # the listener must not read a reused descriptor
            child_process.end(self._process)

    def __iter__(self) -> ProcessStream:
        return self

    def __next__(self) -> str:
        assert self._process.stdout is not None  # noqa: S101
        line = self._process.stdout.readline(LONGEST_LINE + 1)
        if line:
            self._require_bounded(line)
            return line.decode(errors="replace").rstrip("\n")
        self._raise_if_unreachable()
        raise StopIteration

    def send(self, text: str) -> None:
        assert self._process.stdin is not None  # noqa: S101
        if not self._process.stdin.closed:
            deadline_s = time.monotonic() + (self._timeout_s or SEND_S)
            child_process.write(self._process.stdin, text.encode(), deadline_s)

    def _listen(self) -> None:
        """Drain stderr: a full pipe would block the script."""
        assert self._process.stderr is not None  # noqa: S101
        descriptor = self._process.stderr.fileno()
        while not self._over and (piece := os.read(descriptor, PIECE)):
            self._errors.add(piece)

    def _close_stdin(self) -> None:
        if self._process.stdin:
            with suppress(OSError):
                self._process.stdin.close()

    def _require_bounded(self, line: bytes) -> None:
        if len(line) > LONGEST_LINE:
            child_process.kill(self._process)
            raise too_large(f"{self._node}: a line", LONGEST_LINE)
        self._bytes, self._lines = self._bytes + len(line), self._lines + 1
        if self._timeout_s is not None and (self._bytes > LARGEST_STREAM or self._lines > 2 * MOST_LINES):
            child_process.kill(self._process)
            raise too_large(self._node, LARGEST_STREAM, 2 * MOST_LINES)

    def _time_is_up(self) -> None:
        self._late = True
        child_process.kill(self._process)

    def _raise_if_unreachable(self) -> None:
        if self._late and self._timeout_s is not None:
            raise _late(self._node, self._timeout_s)
        try:
            exit_code = self._process.wait(PARTING_S)
        except subprocess.TimeoutExpired:  # it closed its output, but still runs
            return
        self._listening.join(PARTING_S)
        said = self._errors.text()
        if exit_code and self._not_entered(exit_code, said):
            raise Unreachable(f"{self._node}: {_last_line(said)}")


def _late(node: str, timeout_s: float) -> Unreachable:
    return Unreachable(f"{node}: no answer within {timeout_s:g} s")


def _not_started(node: str, command: str, error: OSError) -> Refused | Unreachable:
    if isinstance(error, FileNotFoundError):
        return Refused(f"{command}: no such command", "install it: chaosext enters the nodes with it")
    return Unreachable(
        f"{node}: {command} can't be started ({error.strerror})"
    )  # no process or descriptor left


def _last_line(stderr: str) -> str:
    lines = stderr.strip().splitlines()
    return lines[-1] if lines else "could not be entered"


# Error messages of the docker client when it cannot enter a container (docker/cli 20.10 to 28), lower-cased.
_CLIENT_FAILURES = (
    "error: no such container",
    "error response from daemon",
    "cannot connect to the docker daemon",
    "failed to connect to the docker api",
    "permission denied while trying to connect",
    "oci runtime exec failed",
    "error during connect",
)


GRACE_S = 1.0
"""Seconds by which a script may outlive its time limit: killing the docker client ends nothing in the container."""


@dataclass(frozen=True, slots=True)
class DockerShell:
    """A shell on the kind node `node`, whose container has the same name (or on any container with coreutils)."""

    node: str

    def run(self, script: str, *, stdin: str = "", timeout_s: float) -> ShellResult:
        argv = self._argv(script, timeout_s)
        return run_process(self.node, argv, stdin=stdin, timeout_s=timeout_s, not_entered=docker_not_entered)

    def stream(self, script: str, *, timeout_s: float | None = None) -> ProcessStream:
        argv = self._argv(script, timeout_s)
        return ProcessStream(self.node, argv, timeout_s=timeout_s, not_entered=docker_not_entered)

    def _argv(self, script: str, timeout_s: float | None) -> list[str]:
        bound = ["timeout", "-k", "1", f"{timeout_s + GRACE_S:g}"] if timeout_s is not None else []
        return ["docker", "exec", "-i", "--", require_name(self.node), *bound, "bash", "-c", script]


def docker_not_entered(exit_code: int, stderr: str) -> bool:
    """Whether `docker exec` failed before the script began: no daemon, no container, or a stopped one."""
    said = stderr.lower()
    return exit_code in (1, 125, 126, 127, 128) and any(phrase in said for phrase in _CLIENT_FAILURES)


@dataclass(frozen=True, slots=True)
class NetnsShell:
    """A shell in the network namespace `node` (needs root and iproute2)."""

    node: str

    def run(self, script: str, *, stdin: str = "", timeout_s: float) -> ShellResult:
        argv = self._argv(script)
        return run_process(self.node, argv, stdin=stdin, timeout_s=timeout_s, not_entered=netns_not_entered)

    def stream(self, script: str, *, timeout_s: float | None = None) -> ProcessStream:
        return ProcessStream(
            self.node, self._argv(script), timeout_s=timeout_s, not_entered=netns_not_entered
        )

    def _argv(self, script: str) -> list[str]:
        return ["ip", "netns", "exec", require_name(self.node), "bash", "-c", script]


def netns_not_entered(exit_code: int, stderr: str) -> bool:
    """Whether `ip netns exec` failed before the script began."""
    return exit_code in (1, 255) and "network namespace" in stderr
