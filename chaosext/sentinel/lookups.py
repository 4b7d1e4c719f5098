"""Lookups over UDP from a fresh and from a kept socket, and over TCP."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from itertools import count
from secrets import randbelow
from typing import TYPE_CHECKING

from chaosext.model.signal import Mark
from chaosext.sentinel.drive import Probe, readable
from chaosext.sentinel.sockets import Address, datagram_socket, exchange, stream_socket

if TYPE_CHECKING:
    from chaosext.sentinel.dns import Question

PORT = 53
LARGEST = 1 << 16

_IDS = count(randbelow(1 << 16))
"""In turn, from a random one on: none comes again before 65536 others, however late a reply is."""


def _next_id() -> int:
    return next(_IDS) % (1 << 16)


def fresh_udp(server: Address, question: Question) -> Probe[Mark]:
    """From a socket of its own: conntrack knows nothing of it, and sends it where a new client would go."""
    with datagram_socket(server) as sock:
        return (yield from _ask(sock, question))


@dataclass(slots=True)
class KeptSockets:
    """One connected UDP socket a server, made once for the life of the process.

    Its five-tuple stays, so conntrack goes on sending it to the endpoint that it once chose, also where that one is
    gone (Kubernetes #125467): what happens to an application that keeps its resolver's socket.
    """

    _sockets: dict[Address, socket.socket] = field(default_factory=dict)

    def udp(self, server: Address, question: Question) -> Probe[Mark]:
        if server not in self._sockets:
            self._sockets[server] = datagram_socket(server)
        sock = self._sockets[server]
        _forget(sock)
        return (yield from _ask(sock, question))

    def keep(self, servers: set[Address]) -> None:
        """Close those of other servers."""
        for server in self._sockets.keys() - servers:
            self._sockets.pop(server).close()


def _forget(sock: socket.socket) -> None:
    """What came too late for an older query, reply or error, is no answer to the next one."""
    sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    try:
        while True:
            sock.recv(LARGEST)
    except OSError:
        return


def _ask(sock: socket.socket, question: Question) -> Probe[Mark]:
    query_id = _next_id()
    sock.send(question.wire(query_id))
    while True:
        yield from readable(sock)
        reply = sock.recv(LARGEST)
        if question.is_answered_by(reply, query_id):
            return question.mark(reply)


def over_tcp(server: Address, question: Question) -> Probe[Mark]:
    """A length comes before each message (RFC 1035, 4.2.2). A server that ends without a reply answers wrongly."""
    query_id = _next_id()
    query = question.wire(query_id)
    with stream_socket(server.family) as sock:
        said = yield from exchange(sock, server.pair, len(query).to_bytes(2) + query, _is_whole, LARGEST + 2)
    reply = said[2:]
    is_ours = _is_whole(said) and question.is_answered_by(reply, query_id)
    return question.mark(reply) if is_ours else Mark.ERROR


def _is_whole(said: bytes) -> bool:
    return len(said) >= 2 and len(said) - 2 >= int.from_bytes(said[:2])
