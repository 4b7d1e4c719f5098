"""HTTP with limits for a whole exchange: in time, from the name lookup to the last byte, and in size.

urllib3 limits single reads only, so a peer that sends a byte now and then blocks the caller forever, and one
that never stops sending exhausts memory. Here the sockets themselves enforce the allowance of the thread that
uses them, below all other layers: TLS, a proxy's tunnel, headers, a body, a websocket.
"""

from __future__ import annotations

import json
import math
import queue
import socket
import sys
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from ipaddress import ip_address
from time import monotonic
from typing import TYPE_CHECKING, Any

from chaosext.model.errors import Unreachable
from chaosext.model.output_bounds import MIB, too_large

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import urllib3
    from urllib3.response import BaseHTTPResponse

LARGEST_BODY = 8 * MIB
"""Bytes of one answer: about 500 Pods with all their fields. Larger lists are read in smaller pages (client.py)."""

LARGEST_DECODED = 96 * MIB
"""Estimated memory of a decoded answer: `{"a":1}` takes thirty times its own size in Python."""

PIECE = 1 << 16
_allowances = threading.local()


class Allowance:
    """What a thread may spend on one exchange: time until `deadline_s` (monotonic), and received bytes."""

    def __init__(self, within_s: float, most_bytes: int) -> None:
        self.within_s, self.most_bytes = within_s, most_bytes
        self.deadline_s, self._left_bytes = monotonic() + within_s, most_bytes

    @property
    def is_exceeded(self) -> bool:
        """Whether more bytes were received than allowed."""
        return self._left_bytes < 0

    @property
    def left_s(self) -> float:
        """Seconds left. Raises TimeoutError if there are none."""
        left_s = self.deadline_s - monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        return left_s

    def take(self, count: int) -> None:
        """Count received bytes. Raises OSError if there are more than allowed."""
        self._left_bytes -= count
        if self.is_exceeded:
            raise OSError("the answer is too large")

    def error(self, whose: str, cause: str) -> Unreachable:
        """Return the error for a failed exchange: `cause`, unless this allowance was used up."""
        if self.is_exceeded:
            return too_large(whose, self.most_bytes)
        if monotonic() >= self.deadline_s:
            return Unreachable(f"{whose} did not answer within {self.within_s:g} s")
        return Unreachable(f"{whose} did not answer ({cause})")


@contextmanager
def allowed(within_s: float, most_bytes: int = LARGEST_BODY) -> Iterator[Allowance]:
    """Limit the time and size of what this thread sends and receives inside the block.

    Inside another allowance, its remaining time is a limit too.
    """
    before = current()
    allowance = Allowance(within_s, most_bytes)
    if before is not None:
        allowance.deadline_s = min(allowance.deadline_s, before.deadline_s)
    _allowances.newest = allowance
    try:
        yield allowance
    finally:
        _allowances.newest = before


def current() -> Allowance | None:
    """The allowance of this thread; None: it has none, and its sockets use their own timeouts."""
    return getattr(_allowances, "newest", None)


class _Metered:
    """Mixin for socket classes: sending and receiving count toward the allowance of the calling thread."""

    __slots__ = ()

    def recv(self, size: int = PIECE, *flags: int) -> bytes:
        received: bytes = _on_allowance(self, super().recv, min(size, MIB), *flags)  # type: ignore[misc]
        return received

    def recv_into(self, *where: Any) -> int:
        count: int = _on_allowance(self, super().recv_into, *where)  # type: ignore[misc]
        return count

    def send(self, *what: Any) -> int:
        _hurry(self)
        count: int = super().send(*what)  # type: ignore[misc]
        return count

    def sendall(self, *what: Any) -> None:
        _hurry(self)
        super().sendall(*what)  # type: ignore[misc]


def _on_allowance(sock: Any, receive: Callable[..., Any], *arguments: Any) -> Any:
    _hurry(sock)
    received = receive(*arguments)
    if allowance := current():
        allowance.take(received if isinstance(received, int) else len(received))
    return received


def _hurry(sock: Any) -> None:
    """Give each call the remaining time: Python limits a single send as a whole, and TLS a single record."""
    if allowance := current():
        sock.settimeout(None if math.isinf(allowance.deadline_s) else allowance.left_s)


@cache
def _metered_class(kind: type) -> type:
    return type(f"Metered{kind.__name__}", (_Metered, kind), {"__slots__": ()})


def metered(sock: Any) -> Any:
    """Return the same socket, which from now on respects allowances, whatever its class."""
    kind: Any = type(sock)
    if not issubclass(kind, _Metered):
        sock.__class__ = _metered_class(kind)
    return sock


class _BoundedConnection:
    """Mixin for urllib3's connections."""

    def _new_conn(self) -> Any:
        """Connect like urllib3, but look up the name within the allowance, and give each address a share of it."""
        allowance = current()
        if allowance is None or hasattr(self, "_socks_options"):
            return metered(super()._new_conn())  # type: ignore[misc]
        from urllib3 import exceptions

        here: Any = self
        try:
            return metered(_connected(here, allowance))
        except socket.gaierror as error:
            raise exceptions.NameResolutionError(here.host, here, error) from error
        except TimeoutError as error:
            raise exceptions.ConnectTimeoutError(here, f"connecting to {here.host} timed out") from error
        except OSError as error:
            raise exceptions.NewConnectionError(here, str(error)) from error

    def _connect_tls_proxy(self, *arguments: Any) -> Any:
        return metered(super()._connect_tls_proxy(*arguments))  # type: ignore[misc]

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        metered(self.sock)  # type: ignore[attr-defined]


def _connected(connection: Any, allowance: Allowance) -> socket.socket:
    from urllib3.util.connection import create_connection

    failed = OSError("it has no address")
    addresses = resolve(connection._dns_host, allowance.left_s)
    sys.audit("http.client.connect", connection, connection.host, connection.port)
    for position, address in enumerate(addresses):
        try:
            return create_connection(
                (address, connection.port),
                allowance.left_s / (len(addresses) - position),
                source_address=connection.source_address,
                socket_options=connection.socket_options,
            )
        except OSError as error:
            failed = error
    raise failed


def resolve(host: str, within_s: float) -> tuple[str, ...]:
    """Look up `host`, in the order of this machine's resolver. Raises socket.gaierror, and TimeoutError.

    The C library's resolver takes half a minute if no name server answers, and cannot be interrupted.
    """
    with suppress(ValueError):
        return (str(ip_address(host.strip("[]"))),)
    answers: queue.SimpleQueue[tuple[str, ...] | OSError] = queue.SimpleQueue()
    threading.Thread(target=_look_up, args=(host, answers), name="resolver", daemon=True).start()
    try:
        found = answers.get(timeout=within_s)
    except queue.Empty:
        raise TimeoutError(f"{host} could not be looked up within {within_s:.1f} s") from None
    if isinstance(found, OSError):
        raise found
    return found


def _look_up(host: str, answers: queue.SimpleQueue[tuple[str, ...] | OSError]) -> None:
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        answers.put(tuple(dict.fromkeys(str(each[4][0]) for each in found)))
    except UnicodeError:  # not a valid name
        answers.put(socket.gaierror(socket.EAI_NONAME, "no such name"))
    except Exception as error:  # the caller waits for an answer
        answers.put(error if isinstance(error, OSError) else OSError(f"no address ({type(error).__name__})"))


@cache
def _bounded_pool(pool: Any) -> Any:
    if issubclass(pool.ConnectionCls, _BoundedConnection):
        return pool
    connection = type(f"Bounded{pool.ConnectionCls.__name__}", (_BoundedConnection, pool.ConnectionCls), {})
    return type(f"Bounded{pool.__name__}", (pool,), {"ConnectionCls": connection})


def bounded(manager: urllib3.PoolManager) -> urllib3.PoolManager:
    """Return the same pool manager, direct or with a proxy; its connections now respect allowances."""
    schemes = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: _bounded_pool(pool) for scheme, pool in schemes.items()}
    return manager


def trusting(authority: str | None = None) -> urllib3.PoolManager:
    """Create bounded connections. TLS is verified with the authorities in the file `authority` (None: the system's)."""
    import urllib3

    return bounded(urllib3.PoolManager(cert_reqs="CERT_REQUIRED", ca_certs=authority))


def connect(manager: urllib3.PoolManager, url: str) -> socket.socket:
    """Open a dedicated connection to `url` for a protocol other than HTTP, with the manager's proxy and TLS.

    Raises the errors of urllib3, and OSError. Opening and using it count toward the allowance.
    """
    pool: Any = manager.connection_from_url(url)
    connection = pool._new_conn()  # urllib3 has no public API for a connected socket
    try:
        if pool.proxy is not None:
            pool._prepare_proxy(connection)
        else:
            connection.connect()
    except BaseException:
        connection.close()
        raise
    sock: socket.socket = connection.sock
    return sock


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpReply:
    """The answer to one request. `body` as sent: no encoding is requested, and none is decoded."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def ask(
    manager: urllib3.PoolManager,
    method: str,
    url: str,
    *,
    whose: str,
    within_s: float,
    headers: Mapping[str, str] | None = None,
    body: bytes | str | None = None,
    most_bytes: int = LARGEST_BODY,
) -> HttpReply:
    """Send one request, without retries or redirects, and return its whole answer.

    Raises `Unreachable` (`TooLarge` for more than `most_bytes`), naming `whose` answer is missing, and why.
    """
    from urllib3.exceptions import HTTPError

    with allowed(within_s, most_bytes) as allowance:
        try:
            response = send(manager, method, url, headers=headers, body=body)
            try:
                return HttpReply(status=response.status, headers=response.headers, body=_whole(response))
            finally:
                response.close() if allowance.is_exceeded else response.release_conn()
        except (HTTPError, OSError, ValueError) as error:
            raise allowance.error(whose, cause_of(error)) from error


def send(
    manager: urllib3.PoolManager,
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None,
    body: bytes | str | None = None,
) -> BaseHTTPResponse:
    """Send a request and return the answer's head; its body is still to be read. The thread must have an allowance."""
    from urllib3.util import Timeout

    allowance = current()
    assert allowance is not None, "a request without an allowance"  # noqa: S101
    return manager.request(
        method,
        url,
        body=body,
        headers=headers,
        timeout=Timeout(total=None if math.isinf(allowance.deadline_s) else allowance.left_s),
        retries=False,
        redirect=False,
        preload_content=False,
        decode_content=False,
    )


def _whole(response: BaseHTTPResponse) -> bytes:
    """Read piece by piece: a length that is only announced takes no memory."""
    body = bytearray()
    while piece := response.read(PIECE, decode_content=False):
        body += piece
    return bytes(body)


def decoded(data: bytes, whose: str) -> Any:
    """Decode JSON. Raises ValueError or RecursionError if it is invalid, `TooLarge` if its value would be huge.

    Estimated from CPython 3.11: 240 bytes for a mapping with one member, 90 for a list, 60 for a value.
    """
    estimate = 240 * data.count(b"{") + 90 * data.count(b"[") + 60 * data.count(b",") + len(data)
    if estimate > LARGEST_DECODED:
        raise too_large(whose, LARGEST_DECODED)
    return json.loads(data)


def cause_of(error: BaseException) -> str:
    """The innermost cause in a few words, without the addresses of Python objects."""
    reason = getattr(error, "reason", None)
    inner = reason if isinstance(reason, BaseException) else error
    text = str(inner).rpartition(">: ")[2] or str(inner)
    return f"{type(inner).__name__}: {text}"
