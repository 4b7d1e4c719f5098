"""Non-blocking sockets, and the meaning of their errors."""

from __future__ import annotations

import errno
import os
import socket
import time
from dataclasses import dataclass
from ipaddress import ip_address
from selectors import EVENT_READ
from typing import TYPE_CHECKING, Any, Self

from chaosext.model.signal import Mark
from chaosext.sentinel.socket_loop import Probe, Wait, readable, writable

if TYPE_CHECKING:
    from collections.abc import Callable

LINGER_S = 0.05
"""Seconds that an open connection is watched for a reset: a proxy without an upstream sends it within a round trip."""

NO_WAY = (
    errno.EHOSTUNREACH,  # reported by a router, no answer from the neighbor, or an `unreachable` route
    errno.ENETUNREACH,
    errno.ENETDOWN,
    errno.EHOSTDOWN,
    errno.EINVAL,  # connect(2) to an address in a `blackhole` route: a Pod that left this node's block
    errno.EACCES,  # a route of type `prohibit`
    errno.EADDRNOTAVAIL,  # no local address to send from
)


@dataclass(frozen=True, slots=True)
class SocketAddress:
    """An IPv4 or IPv6 address and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, target: str, port: int | None = None) -> Self:
        """Parse `host:port` or `[host]:port`, or a host if `port` is given. Raises `ValueError`, also for names."""
        host, text = (target, str(port)) if port else _split(target)
        ip_address(host)
        if not (text.isascii() and text.isdigit() and 0 < int(text) < 1 << 16):
            raise ValueError(f"{target!r} names no port from 1 to 65535")
        return cls(host, int(text))

    @property
    def family(self) -> socket.AddressFamily:
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def pair(self) -> tuple[str, int]:
        return self.host, self.port


def _split(target: str) -> tuple[str, str]:
    host, _, port = target.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), port


def mark_of(error: OSError) -> Mark:
    """Return what a socket error says about the other side and the path to it.

    EPERM is the result of an nftables drop for an outgoing UDP packet; for TCP, the same rule causes silence.
    So both count as timed out: packets are dropped. A local problem such as EMFILE counts as not measured.
    """
    if isinstance(error, TimeoutError) or error.errno == errno.EPERM:
        return Mark.TIMED_OUT
    if isinstance(error, ConnectionRefusedError):
        return Mark.REFUSED
    if isinstance(error, (ConnectionResetError, BrokenPipeError)):
        return Mark.RESET
    return Mark.NO_ROUTE if error.errno in NO_WAY else Mark.UNKNOWN


def marked(probe: Probe[Mark]) -> Probe[Mark]:
    """Convert errors of `probe` into marks."""
    try:
        return (yield from probe)
    except OSError as error:
        return mark_of(error)


def datagram_socket(address: SocketAddress) -> socket.socket:
    """Create a UDP socket that receives only from `address`, and ICMP errors of the path to it."""
    sock = socket.socket(address.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        sock.connect(address.pair)
    except OSError:
        sock.close()
        raise
    return sock


def stream_socket(family: int) -> socket.socket:
    return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)


def connect(sock: socket.socket, address: Any) -> Probe[None]:
    """Connect `sock`. Raises `OSError` as a blocking connect(2) would."""
    error = sock.connect_ex(address)
    if error == errno.EINPROGRESS:
        yield from writable(sock)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))


def tcp(address: SocketAddress) -> Probe[Mark]:
    """Check whether a TCP connection is accepted and not reset immediately."""
    with stream_socket(address.family) as sock:
        yield from connect(sock, address.pair)
        if (yield Wait(sock, EVENT_READ, time.monotonic() + LINGER_S)):
            sock.recv(1)
        return Mark.GOOD


def answers(address: SocketAddress) -> Probe[Mark]:
    """Check whether anything comes back from a host: a refusal or a reset is an answer, too."""
    try:
        return (yield from tcp(address))
    except (ConnectionRefusedError, ConnectionResetError, BrokenPipeError):
        return Mark.GOOD


def exchange(
    sock: socket.socket, address: Any, question: bytes, is_whole: Callable[[bytes], bool], limit: int
) -> Probe[bytes]:
    """Connect, send `question`, and read until the answer `is_whole`, the peer closes, or `limit` bytes came."""
    yield from connect(sock, address)
    sock.sendall(question)
    answer = b""
    while not is_whole(answer) and len(answer) < limit:
        yield from readable(sock)
        piece = sock.recv(1 << 16)
        if not piece:
            break
        answer += piece
    return answer
