"""Reading one sentinel, over its node's address: no API server is asked, and no call takes long, or much memory.

What listens there may be anything by now, so that neither its answers' ends nor their sizes are left to it.
"""

from __future__ import annotations

import json
import socket
import time
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import TYPE_CHECKING, Any

from chaosext.model.errors import MALFORMED, Unreachable, finite
from chaosext.timeline.clock_offsets import Measured

if TYPE_CHECKING:
    from chaosext.sentinel.watch_plan import Plan

TIMEOUT_S = 2.0
"""What one call may take; a node of the same datacenter answers within milliseconds."""

PIECE_BYTES = 1 << 16
LARGEST_BYTES = 2 << 20
"""Of one answer: hours of samples. The rest of a longer one is asked for again, once this was taken in."""

LONGEST_BOOT_ID = 64
"""A boot's id is a UUID (random(4), /proc/sys/kernel/random/boot_id)."""


class _Timed(socket.socket):
    """What is asked over it is answered within the time that it is given, however little comes at once."""

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
    """The sentinel of one node. Not for several threads at once: it keeps one connection, and makes it anew when lost.

    Every call raises `Unreachable` where there is no proper answer within `TIMEOUT_S`.
    """

    def __init__(self, node: str, host: str, port: int, token: str) -> None:
        self.node = node
        self._connection = HTTPConnection(host, port, timeout=TIMEOUT_S)
        self._headers = {"Authorization": f"Bearer {token}"}

    def read_from(self, offset: int) -> tuple[bytes, int]:
        """The record from byte `offset` on, or as much of it as comes in time, and the size of all of it."""
        said, response = self._ask("GET", f"/v1/record?offset={offset}")
        try:
            return said, int(response.headers["X-Record-Size"])
        except MALFORMED as error:
            raise Unreachable(f"{self.node}: what answers there is not a sentinel") from error

    def clock(self) -> Measured:
        """What the node's clocks show, and between which moments of ours they were read."""
        sent_s, wall_s = time.monotonic(), time.time()
        said, _ = self._ask("GET", "/v1/clock")
        answered_s = time.monotonic()
        try:
            value = json.loads(said)
            return Measured(
                boot=str(value["boot"])[:LONGEST_BOOT_ID],
                mono_s=finite(value["mono_s"]),
                wall_s=finite(value["wall_s"]),
                sent_s=sent_s,
                answered_s=answered_s,
                own_wall_s=wall_s + (answered_s - sent_s) / 2,
            )
        except MALFORMED as error:
            raise Unreachable(f"{self.node}: its sentinel's clock can't be read") from error

    def put_plan(self, plan: Plan) -> None:
        """Have the sentinel watch by `plan` from now on; its record then goes on with a new head."""
        self._ask("PUT", "/v1/plan", json.dumps(plan.to_json()).encode())

    def end(self) -> None:
        """Have it sample no more; what it has recorded can still be read."""
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
                self._connection.close()  # one that was kept may have died in silence, which says nothing
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
        """The body, or its beginning: what does not come in time is left, and the connection with it."""
        said = bytearray()
        try:
            while len(said) < LARGEST_BYTES and (piece := response.read1(PIECE_BYTES)):
                said += piece
        except TimeoutError:
            self._connection.close()
        if len(said) >= LARGEST_BYTES:
            self._connection.close()
        response.close()  # `read1` leaves it open at its end, and then the connection could not be used again
        return bytes(said)


def _cause(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or type(error).__name__
