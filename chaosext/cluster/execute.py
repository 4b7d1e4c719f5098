"""`kubectl exec` without kubectl: run one command in a container over a websocket, with limits for the whole call."""

from __future__ import annotations

import json
import socket
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from chaosext.cluster.bounded_http import allowed, cause_of
from chaosext.model.errors import MALFORMED, ChaosextError, Refused, Unreachable
from chaosext.model.output_bounds import LARGEST_ANSWER, MIB, MOST_LINES, too_large

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PROTOCOL = "v4.channel.k8s.io"
"""Kubernetes' remote command protocol: every message starts with its channel's number; channel 3 ends with a
Status object. It cannot close stdin alone, so a command must recognize the end of its input itself."""

STDIN, STDOUT, STDERR, ERROR = 0, 1, 2, 3

CHUNK = 32 * 1024
"""Bytes of stdin per message, as in kubectl (client-go, tools/remotecommand/websocket.go)."""

LARGEST_MESSAGE = 4 * MIB
"""A kubelet sends a command's output in messages of 32 KiB."""

LARGEST_HANDSHAKE = MIB // 8
"""Bytes of the answer's headers, or of a refusal, which are read one byte at a time."""

NO_CONTAINER = (
    "container not found",
    "completed pod",
    "does not have a host assigned",
    "is not available",
    "is not running",
    "is not created or running",
    "task not found",
    "failed to exec in container",
)
"""Phrases of the API server (registry/core/pod/strategy.go), a kubelet or a container runtime if no running
container can be entered, other than a 404."""


class NoContainer(Unreachable):
    """The Pod does not exist, or its container is not running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecResult:
    """How a command in a container ended: exit code and output."""

    exit_code: int
    stdout: str
    stderr: str


_open: set[Exec] = set()
"""All execs that were started and not closed yet, from all threads."""


def end_all() -> None:
    """Break all connections at once: threads that wait for one get `Unreachable`."""
    for each in tuple(_open):
        each.break_off()


class Exec:
    """A running command, started by `url` (an https Pod exec address with its query).

    `connect` opens a connection to a URL, as for every other request (bounded_http.py); `headers` returns the
    current credentials. Leaving the context closes the connection, and with it the command's stdin.

    Raises `Unreachable` if it cannot connect within `connect_s`, does not end within `timeout_s`, prints too
    much, or loses the connection, as `NoContainer` without a running container; `Refused` if a permission is
    missing.
    """

    def __init__(
        self,
        connect: Callable[[str], socket.socket],
        url: str,
        headers: Callable[[], Mapping[str, str]],
        *,
        timeout_s: float | None,
        connect_s: float,
    ) -> None:
        from websocket import WebSocket

        self._timeout_s = inf if timeout_s is None else timeout_s
        self._deadline_s = monotonic() + self._timeout_s
        self._channels = {STDOUT: bytearray(), STDERR: bytearray(), ERROR: bytearray()}
        self._lines = 0
        self._connection = WebSocket()
        _open.add(self)
        try:
            self._connect(connect, url, headers, min(connect_s, self._timeout_s))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Exec:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def send(self, text: str) -> None:
        """Send `text` to the command. If it has ended, reading its output shows that."""
        from websocket import ABNF, WebSocketException

        data = text.encode()
        with suppress(WebSocketException, OSError), allowed(self._deadline_s - monotonic()):
            for start in range(0, len(data), CHUNK):
                self._connection.send(bytes([STDIN]) + data[start : start + CHUNK], ABNF.OPCODE_BINARY)

    def line(self) -> str | None:
        """Wait for the next line of stdout, and return it without its line break; None if the command has ended."""
        said = self._channels[STDOUT]
        while not self._has_ended and b"\n" not in said:
            self._receive()
        if not said:
            return None
        line = bytes(said[: said.find(b"\n") + 1 or len(said)])
        del said[: len(line)]
        self._lines -= line.count(b"\n")
        return line.decode(errors="replace").rstrip("\n")

    def result(self) -> ExecResult:
        """Wait for the end, and return the exit code with the unread rest of the output."""
        while not self._has_ended:
            self._receive()
        return ExecResult(
            exit_code=exit_code(bytes(self._channels[ERROR])),
            stdout=self._channels[STDOUT].decode(errors="replace"),
            stderr=self._channels[STDERR].decode(errors="replace"),
        )

    def close(self) -> None:
        _open.discard(self)
        with suppress(OSError):
            self._connection.shutdown()  # type: ignore[no-untyped-call]

    def break_off(self) -> None:
        """Called from another thread: interrupts a waiting read at once, which closing the descriptor would not do."""
        if transport := self._connection.sock:
            with suppress(OSError, ValueError):
                socket.socket.shutdown(transport, socket.SHUT_RDWR)

    @property
    def _has_ended(self) -> bool:
        return bool(self._channels[ERROR])

    def _connect(
        self,
        connect: Callable[[str], socket.socket],
        url: str,
        headers: Callable[[], Mapping[str, str]],
        within_s: float,
    ) -> None:
        from websocket import WebSocketBadStatusException

        with self._bounded(within_s, LARGEST_HANDSHAKE):
            given = [f"{key}: {value}" for key, value in headers().items()]
            sock = connect(url)
            try:
                self._connection.connect(  # type: ignore[no-untyped-call]
                    url.replace("http", "ws", 1),
                    header=given,
                    subprotocols=[PROTOCOL],
                    socket=sock,
                    redirect_limit=0,  # a redirect would send the credentials elsewhere
                )
            except WebSocketBadStatusException as error:
                raise _refusal(error) from error
            finally:
                if self._connection.sock is not sock:
                    sock.close()

    def _receive(self) -> None:
        from websocket import ABNF

        with self._bounded(self._deadline_s - monotonic(), LARGEST_MESSAGE):
            opcode, frame = self._connection.recv_data()
        if opcode == ABNF.OPCODE_CLOSE:
            exit_code(b"")  # it ended without a Status
        if frame and frame[0] in self._channels:
            self._keep(self._channels[frame[0]], frame[1:])

    def _keep(self, said: bytearray, more: bytes) -> None:
        """Lines that were already read are not kept, and do not count toward the limit."""
        said.extend(more)
        self._lines += more.count(b"\n")
        if sum(map(len, self._channels.values())) > LARGEST_ANSWER or self._lines > MOST_LINES:
            raise too_large("exec in a container", LARGEST_ANSWER)

    @contextmanager
    def _bounded(self, within_s: float, most_bytes: int) -> Iterator[None]:
        """Limit what is sent and received; every failure raises `Unreachable`."""
        from urllib3.exceptions import HTTPError
        from websocket import WebSocketException

        with allowed(within_s, most_bytes) as allowance:
            try:
                yield
            except ChaosextError:
                raise
            except (WebSocketException, HTTPError, OSError, ValueError) as error:
                if not allowance.is_exceeded and monotonic() >= self._deadline_s:
                    raise Unreachable(
                        f"exec in a container: no answer within {self._timeout_s:g} s"
                    ) from error
                raise allowance.error("exec in a container", cause_of(error)) from error


def exit_code(status: bytes) -> int:
    """Parse the exit code from the Status object that ends an exec.

    Raises `Unreachable` without a Status or code, `NoContainer` if it says that no container is running.
    """
    try:
        verdict = json.loads(status) if status else {}
        if verdict.get("status") == "Success":
            return 0
        causes = (verdict.get("details") or {}).get("causes") or ()
        codes = [cause["message"] for cause in causes if cause.get("reason") == "ExitCode"]
        if codes:
            return int(codes[0])
        message = str(verdict.get("message") or "the connection closed before its end")
    except MALFORMED as error:
        raise Unreachable(f"exec ended with something else than a Status ({type(error).__name__})") from error
    raise _no_container(message) or Unreachable(f"exec broke off ({message})")


def _no_container(message: str) -> NoContainer | None:
    if any(phrase in message for phrase in NO_CONTAINER):
        return NoContainer(f"exec: {message}", "check that the Pod runs")
    return None


def _refusal(error: Any) -> ChaosextError:
    """Return the error for a handshake that the API server answered with an HTTP status."""
    body = (error.resp_body or b"").decode(errors="replace")
    try:
        message = str(json.loads(body).get("message", body))[:1000]
    except (ValueError, AttributeError, RecursionError):
        message = body[:200]
    if error.status_code in (401, 403):
        return Refused(f"missing permission: {message}", "grant create on pods/exec to this user")
    if error.status_code == 404:
        return NoContainer(f"exec: {message}", "check namespace, Pod and container")
    if found := _no_container(message):
        return found
    if 400 <= error.status_code < 500:
        return Refused(f"exec: {message}", "check namespace, Pod and container")
    return Unreachable(f"exec: {message} (HTTP {error.status_code})")
