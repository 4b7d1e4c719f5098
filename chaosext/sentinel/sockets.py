"""Non-blocking sockets, and what their errors mean."""

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
"""How long an open connection is watched for a reset: a proxy without a way on sends it within a round trip."""

NO_WAY = (
    errno.EHOSTUNREACH,  # a router says so, the neighbour doesn't answer, or a route of type `unreachable`
    errno.ENETUNREACH,
    errno.ENETDOWN,
    errno.EHOSTDOWN,
    errno.EINVAL,  # connect(2) to what a `blackhole` route covers: a Pod that is gone from this node's block
    errno.EACCES,  # a route of type `prohibit`
    errno.EADDRNOTAVAIL,  # no address of our own to send from
)


@dataclass(frozen=True, slots=True)
class Address:
    """An IPv4 or IPv6 address and a port."""

    host: str
    port: int

    @classmethod
    def parse(cls, target: str, port: int | None = None) -> Self:
        """`host:port` or `[host]:port`, or a host alone where `port` is given. Raises `ValueError`; no names."""
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
    """What an error of a socket says about the other side and the way there.

    EPERM is what nftables' drop makes of a UDP packet on its way out; for TCP the same rule is silence. So both are
    called timed out: packets are dropped. What is our own trouble, such as EMFILE, is not measured.
    """
    if isinstance(error, TimeoutError) or error.errno == errno.EPERM:
        return Mark.TIMED_OUT
    if isinstance(error, ConnectionRefusedError):
        return Mark.REFUSED
    if isinstance(error, (ConnectionResetError, BrokenPipeError)):
        return Mark.RESET
    return Mark.NO_ROUTE if error.errno in NO_WAY else Mark.UNKNOWN


def marked(probe: Probe[Mark]) -> Probe[Mark]:
    """`probe`, whose errors are marks."""
    try:
        return (yield from probe)
    except OSError as error:
        return mark_of(error)


def datagram_socket(address: Address) -> socket.socket:
    """A UDP socket that hears from `address` only, and of ICMP errors on the way there."""
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
    """Raises `OSError` as connect(2) would that waits."""
    error = sock.connect_ex(address)
    if error == errno.EINPROGRESS:
        yield from writable(sock)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))


def tcp(address: Address) -> Probe[Mark]:
    """TCP triage: whether a connection is accepted, and not reset at once."""
    with stream_socket(address.family) as sock:
        yield from connect(sock, address.pair)
        if (yield Wait(sock, EVENT_READ, time.monotonic() + LINGER_S)):
            sock.recv(1)
        return Mark.GOOD


def exchange(
    sock: socket.socket, address: Any, question: bytes, is_whole: Callable[[bytes], bool], limit: int
) -> Probe[bytes]:
    """Connect, send `question`, and read until the answer `is_whole`, the other side ends, or `limit` bytes came."""
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
