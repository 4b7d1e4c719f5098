"""Read a sentinel through its node's address: without an API server, and bounded in time and memory.

The server at that address may have been replaced, so its answers are not trusted to end or to be small.
"""

from __future__ import annotations

import json
import socket
import time
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any

from chaosext.model.errors import MALFORMED, Unreachable, finite
from chaosext.timeline.clock_offsets import ClockReading

if TYPE_CHECKING:
    from chaosext.sentinel.watch_plan import WatchPlan

TIMEOUT_S = 2.0
"""Seconds that one call may take; a node in the same datacenter answers within milliseconds."""

PIECE_BYTES = 1 << 16
LARGEST_BYTES = 2 << 20
"""Bytes of one answer: hours of samples. The rest of a longer one is requested after this part was processed."""

LONGEST_BOOT_ID = 64
"""A boot ID is a UUID (random(4), /proc/sys/kernel/random/boot_id)."""


class _Timed(socket.socket):
    """A socket with a time limit for a whole answer, however slowly its bytes arrive."""

    _over_s = 0.0

    def give(self, within_s: float) -> None:
        self.settimeout(within_s)
        self._over_s = time.monotonic() + within_s

    def recv_into(self, *arguments: Any) -> int:
        left_s = self._over_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        self.settimeout(left_s)
        return super().recv_into(*arguments)


class Reader:
    """Client of one node's sentinel. Not thread-safe: it keeps one connection, and reconnects if that is lost.

    Every call raises `Unreachable` without a valid answer within `TIMEOUT_S`.
    """

    def __init__(self, node: str, host: str, port: int, token: str) -> None:
        self.node = node
        self._connection = HTTPConnection(host, port, timeout=TIMEOUT_S)
        self._headers = {"Authorization": f"Bearer {token}"}

    def read_from(self, offset: int) -> tuple[bytes, int]:
        """Return the record from byte `offset` on, or the part that arrives in time, and the record's whole size."""
        said, response = self._ask("GET", f"/v1/record?offset={offset}")
        try:
            return said, int(response.headers["X-Record-Size"])
        except MALFORMED as error:
            raise Unreachable(f"{self.node}: what answers there is not a sentinel") from error

    def clock(self) -> ClockReading:
        """Read the node's clocks, together with the local times before and after."""
        sent_s, wall_s = time.monotonic(), time.time()
        said, _ = self._ask("GET", "/v1/clock")
        answered_s = time.monotonic()
        try:
            value = json.loads(said)
            return ClockReading(
                boot=str(value["boot"])[:LONGEST_BOOT_ID],
                mono_s=finite(value["mono_s"]),
                wall_s=finite(value["wall_s"]),
                sent_s=sent_s,
                answered_s=answered_s,
                own_wall_s=wall_s + (answered_s - sent_s) / 2,
            )
        except MALFORMED as error:
            raise Unreachable(f"{self.node}: its sentinel's clock can't be read") from error

    def put_plan(self, plan: WatchPlan) -> None:
        """Replace the sentinel's plan; its record continues with a new head."""
        self._ask("PUT", "/v1/plan", json.dumps(plan.to_json()).encode())

    def end(self) -> None:
        """Stop sampling; the record can still be read."""
        self._ask("POST", "/v1/end", b"")

    def close(self) -> None:
        self._connection.close()

    def _ask(self, method: str, path: str, body: bytes | None = None) -> tuple[bytes, HTTPResponse]:
        kept = self._connection.sock is not None
        try:
            try:
                return self._answer(method, path, body)
            except (ConnectionError, HTTPException):
                if not kept:
                    raise
                self._connection.close()  # a kept connection may have died unnoticed
                return self._answer(method, path, body)
        except (OSError, HTTPException) as error:
            self._connection.close()
            raise Unreachable(f"{self.node}: its sentinel did not answer ({_cause(error)})") from error

    def _answer(self, method: str, path: str, body: bytes | None) -> tuple[bytes, HTTPResponse]:
        self._connected().give(TIMEOUT_S)
        self._connection.request(method, path, body, self._headers)
        response = self._connection.getresponse()
        said = self._body(response)
        if response.status // 100 != 2:
            raise Unreachable(
                f"{self.node}: its sentinel answered {method} {path} with HTTP {response.status}"
            )
        return said, response

    def _connected(self) -> _Timed:
        if not isinstance(self._connection.sock, _Timed):
            self._connection.connect()
            self._connection.sock = _Timed(fileno=self._connection.sock.detach())
        return self._connection.sock

    def _body(self, response: HTTPResponse) -> bytes:
        """Return the body, or its beginning: if the rest does not arrive in time, the connection is closed."""
        said = bytearray()
        try:
            while len(said) < LARGEST_BYTES and (piece := response.read1(PIECE_BYTES)):
                said += piece
        except TimeoutError:
            self._connection.close()
        if len(said) >= LARGEST_BYTES:
            self._connection.close()
        response.close()  # `read1` leaves it open at its end, and the connection could not be reused
        return bytes(said)


def _cause(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
