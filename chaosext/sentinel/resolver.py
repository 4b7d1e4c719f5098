"""DNS lookups over UDP from a fresh and a kept socket, and over TCP."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from ipaddress import ip_address
from itertools import count
from secrets import randbelow
from typing import TYPE_CHECKING, Self

from chaosext.model.errors import MALFORMED
from chaosext.model.signal import Mark
from chaosext.sentinel.socket_loop import Probe, readable
from chaosext.sentinel.sockets import SocketAddress, datagram_socket, exchange, stream_socket

if TYPE_CHECKING:
    from collections.abc import Iterator

PORT = 53
LARGEST = 1 << 16

_IDS = count(randbelow(1 << 16))
"""Query IDs in sequence from a random start: none repeats before 65536 others, so a late reply cannot match."""


def _next_id() -> int:
    return next(_IDS) % (1 << 16)


def fresh_udp(server: SocketAddress, question: DnsQuestion) -> Probe[Mark]:
    """Look up from a new socket: conntrack has no entry for it, and treats it like a new client."""
    with datagram_socket(server) as sock:
        return (yield from _ask(sock, question))


@dataclass(slots=True)
class KeptSockets:
    """One connected UDP socket per server, kept for the life of the process.

    Because its five-tuple stays the same, conntrack keeps sending it to the endpoint chosen first, even if
    that one is gone (Kubernetes #125467). The same happens to an application that keeps its resolver's
    socket.
    """

    _sockets: dict[SocketAddress, socket.socket] = field(default_factory=dict)

    def udp(self, server: SocketAddress, question: DnsQuestion) -> Probe[Mark]:
        if server not in self._sockets:
            self._sockets[server] = datagram_socket(server)
        sock = self._sockets[server]
        _forget(sock)
        return (yield from _ask(sock, question))

    def keep(self, servers: set[SocketAddress]) -> None:
        """Close the sockets of all other servers."""
        for server in self._sockets.keys() - servers:
            self._sockets.pop(server).close()


def _forget(sock: socket.socket) -> None:
    """Discard replies and errors of earlier queries that arrived too late."""
    sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    try:
        while True:
            sock.recv(LARGEST)
    except OSError:
        return


def _ask(sock: socket.socket, question: DnsQuestion) -> Probe[Mark]:
    query_id = _next_id()
    sock.send(question.wire(query_id))
    while True:
        yield from readable(sock)
        reply = sock.recv(LARGEST)
        if question.is_answered_by(reply, query_id):
            return question.mark(reply)


def over_tcp(server: SocketAddress, question: DnsQuestion) -> Probe[Mark]:
    """Look up over TCP. A connection closed without a reply is an error.

    Each message is preceded by its length (RFC 1035, 4.2.2).
    """
    query_id = _next_id()
    query = question.wire(query_id)
    with stream_socket(server.family) as sock:
        said = yield from exchange(sock, server.pair, len(query).to_bytes(2) + query, _is_whole, LARGEST + 2)
    reply = said[2:]
    is_ours = _is_whole(said) and question.is_answered_by(reply, query_id)
    return question.mark(reply) if is_ours else Mark.ERROR


def _is_whole(said: bytes) -> bool:
    return len(said) >= 2 and len(said) - 2 >= int.from_bytes(said[:2])


HEADER = 12
RECURSION_DESIRED = 0x0100
IS_REPLY, RCODE = 0x8000, 0x000F
IN = 1
A, AAAA = 1, 28
POINTER = 0xC0
LABEL, NAME = 63, 253
"""Maximum octets of a label and of a whole name (RFC 1035, 2.3.4)."""


@dataclass(frozen=True, slots=True)
class DnsQuestion:
    """A query for the addresses of a name; the answer must contain one of `expected` (packed; empty: any)."""

    section: bytes
    rdtype: int
    expected: frozenset[bytes]

    @classmethod
    def make(cls, name: str, expected: tuple[str, ...], *, ipv6: bool) -> Self:
        """Build a question. `ipv6`: the family if `expected` is empty. Raises `ValueError` for an invalid name."""
        addresses = [ip_address(each) for each in expected]
        rdtype = AAAA if (addresses[0].version == 6 if addresses else ipv6) else A
        section = _name(name) + rdtype.to_bytes(2) + IN.to_bytes(2)
        return cls(section, rdtype, frozenset(each.packed for each in addresses))

    def wire(self, query_id: int) -> bytes:
        counts = b"\0\1\0\0\0\0\0\0"
        return query_id.to_bytes(2) + RECURSION_DESIRED.to_bytes(2) + counts + self.section

    def is_answered_by(self, reply: bytes, query_id: int) -> bool:
        """Whether `reply` answers this query, rather than an earlier one or another client's."""
        return (
            len(reply) >= HEADER
            and reply[:2] == query_id.to_bytes(2)
            and bool(reply[2] & IS_REPLY >> 8)
            and (reply[HEADER : HEADER + len(self.section)].lower() == self.section.lower() or not reply[5])
        )

    def mark(self, reply: bytes) -> Mark:
        """Good if the answer has an address, and an expected one if any is; every other reply is a server error."""
        try:
            found = set(self._addresses(reply)) if not reply[3] & RCODE else set()
        except MALFORMED:
            return Mark.ERROR
        return Mark.GOOD if found & self.expected or (found and not self.expected) else Mark.ERROR

    def _addresses(self, reply: bytes) -> Iterator[bytes]:
        at = HEADER
        for _ in range(int.from_bytes(reply[4:6])):
            at = _after_name(reply, at) + 4
        for _ in range(int.from_bytes(reply[6:8])):
            at = _after_name(reply, at)
            rdtype, length = int.from_bytes(reply[at : at + 2]), int.from_bytes(reply[at + 8 : at + 10])
            at += 10 + length
            if at > len(reply):
                raise ValueError("the reply ends before its last record does")
            if rdtype == self.rdtype:
                yield reply[at - length : at]


def _name(name: str) -> bytes:
    labels = [label.encode("ascii") for label in name.removesuffix(".").split(".")]
    if len(name) > NAME or not all(0 < len(label) <= LABEL for label in labels):
        raise ValueError(f"{name!r} is not a DNS name")
    return b"".join(len(label).to_bytes(1) + label for label in labels) + b"\0"


def _after_name(message: bytes, at: int) -> int:
    """Return the end of the name at `at`; a pointer (RFC 1035, 4.1.4) ends it. IndexError for a truncated message."""
    while length := message[at]:
        if length & POINTER:
            return at + 2
        at += 1 + length
    return at + 1
