"""The sentinel's HTTP API on its node's address, for the runner and for kubelet's readiness probe.

 GET  /v1/health               200 while it samples, else 503; the body says why. The only path without a token.
 GET  /v1/record?offset=N      the record from byte N on; `X-Record-Size` is its size
 GET  /v1/clock                {"boot", "mono_s", "wall_s"}, read while answering
 PUT  /v1/plan                 replace the plan: 204, or 400 with the reason
 POST /v1/end                  stop sampling: 204

All paths but health require `Authorization: Bearer <token>`.
"""

from __future__ import annotations

import hmac
import json
import socket
import time
from collections import deque
from contextlib import suppress
from http import HTTPStatus
from http.client import LineTooLong
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from chaosext.model.clock import boot_id
from chaosext.sentinel.watch_plan import WatchPlan

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import BufferedIOBase

    from chaosext.sentinel.sample_log import Journal
    from chaosext.sentinel.sampler import Sentinel

IDLE_S = 10.0
"""Seconds without a request after which a connection is closed; the runner asks every second."""

CONNECTIONS = 8
"""Maximum number of connections. A further one closes the oldest, so that open connections cannot lock out
the runner."""

LARGEST_HEAD_BYTES = 16 << 10
"""Bytes of a request's headers. The standard library's limit of 6 MiB would let any client fill a sentinel's memory."""

LARGEST_PLAN_BYTES = 4 << 20
LARGEST_OFFSET = 1 << 53


class Server(ThreadingHTTPServer):
    """Listens on `host` only. Raises `OSError` if it cannot."""

    daemon_threads = True
    request_queue_size = 16

    def __init__(self, host: str, port: int, token: str, sentinel: Sentinel, journal: Journal) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.wanted = f"Bearer {token}".encode()
        self.sentinel, self.journal = sentinel, journal
        self._open: deque[socket.socket] = deque()
        super().__init__((host, port), Handler)

    def server_bind(self) -> None:
        """Bind without the base class's lookup of the host name, which would depend on DNS."""
        socket.socket.setsockopt(self.socket, socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.append(request)
        while len(self._open) > CONNECTIONS:
            with suppress(OSError):
                self._open.popleft().shutdown(socket.SHUT_RDWR)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with suppress(ValueError):
            self._open.remove(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that disconnect."""


class Handler(BaseHTTPRequestHandler):
    server: Server
    protocol_version = "HTTP/1.1"
    timeout = IDLE_S
    server_version, sys_version = "chaosext-sentinel", ""

    def parse_request(self) -> bool:
        whole, self.rfile = self.rfile, _Head(self.rfile)  # type: ignore[assignment]
        try:
            return super().parse_request()
        finally:
            self.rfile = whole

    def do_GET(self) -> None:
        self._route({"/v1/health": self._health, "/v1/record": self._record, "/v1/clock": self._clock})

    def do_PUT(self) -> None:
        self._route({"/v1/plan": self._plan})

    def do_POST(self) -> None:
        self._route({"/v1/end": self._end})

    def _route(self, paths: dict[str, Callable[[], None]]) -> None:
        path = urlsplit(self.path).path
        if path != "/v1/health" and not self._is_allowed():
            self._refuse(HTTPStatus.UNAUTHORIZED, "who asks is not the one who may")
        elif path not in paths:
            self._refuse(HTTPStatus.NOT_FOUND, "there is no such path")
        else:
            paths[path]()

    def _is_allowed(self) -> bool:
        said = self.headers.get("Authorization", "").encode("latin-1", "replace")
        return hmac.compare_digest(said, self.server.wanted)

    def _health(self) -> None:
        why_not = self.server.sentinel.why_not()
        status = HTTPStatus.SERVICE_UNAVAILABLE if why_not else HTTPStatus.OK
        self._say(status, _json({"why_not": why_not, "disk": self.server.journal.trouble}))

    def _clock(self) -> None:
        self._say(
            HTTPStatus.OK, _json({"boot": boot_id(), "mono_s": time.monotonic(), "wall_s": time.time()})
        )

    def _record(self) -> None:
        offset = parse_qs(urlsplit(self.path).query).get("offset", ["0"])[-1]
        if not (offset.isascii() and offset.isdigit() and int(offset) <= LARGEST_OFFSET):
            self._refuse(HTTPStatus.BAD_REQUEST, "the offset is not a number of bytes")
            return
        lines, size = self.server.journal.read(int(offset))
        self._say(HTTPStatus.OK, lines, ("X-Record-Size", str(size)))

    def _plan(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not (length.isascii() and length.isdigit() and int(length) <= LARGEST_PLAN_BYTES):
            self._refuse(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a plan has at most {LARGEST_PLAN_BYTES} bytes"
            )
            return
        try:
            self.server.sentinel.take(WatchPlan.parse(self.rfile.read(int(length)).decode()))
        except ValueError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        else:
            self._say(HTTPStatus.NO_CONTENT)

    def _end(self) -> None:
        self.server.sentinel.end()
        self._say(HTTPStatus.NO_CONTENT)

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        """Answer and close the connection: an unread body would be taken for the next request."""
        self.close_connection = True
        self._say(status, why.encode() + b"\n", ("Connection", "close"))

    def _say(self, status: HTTPStatus, body: bytes = b"", *headers: tuple[str, str]) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if status is not HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing: otherwise one line per second would flood the log."""


class _Head:
    """The lines of a request's head, up to `LARGEST_HEAD_BYTES`; the base class answers a longer one with 431."""

    def __init__(self, file: BufferedIOBase) -> None:
        self._file, self._left = file, LARGEST_HEAD_BYTES

    def readline(self, limit: int) -> bytes:
        line = self._file.readline(min(limit, self._left + 1))
        self._left -= len(line)
        if self._left < 0:
            raise LineTooLong("head")
        return line


def _json(value: dict[str, object]) -> bytes:
    return json.dumps(value).encode() + b"\n"
