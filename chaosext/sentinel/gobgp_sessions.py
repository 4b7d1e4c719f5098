"""The node's BGP sessions as reported by its own GoBGP, as kube-router runs it: over gRPC, on the node's loopback.

kube-router serves GoBGP's API at 127.0.0.1:50051, without TLS (pkg/controllers/routing, `startBgpServer`). One call of
`ListPeer` is all that is needed, so its HTTP/2 frames are written and read here. They hold no compressed header that
matters: a call that ends without any message, as a refused one does, counts as no answer.

Source: RFC 9113 (HTTP/2), RFC 7541 (HPACK), gRPC's PROTOCOL-HTTP2.md, and GoBGP v3's api/gobgp.proto. Seen with GoBGP
3.23.0, which kube-router 2.1.0 has: it answers within 2 ms.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from chaosext.model.errors import MALFORMED
from chaosext.model.signal import Mark
from chaosext.sentinel.bird_sessions import Session, marks
from chaosext.sentinel.sockets import exchange, stream_socket

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chaosext.sentinel.socket_loop import Probe

ADDRESS = ("127.0.0.1", 50051)
LARGEST = 1 << 22
"""Bytes of an answer. A session takes about 500 bytes."""

METHOD = b"/apipb.GobgpApi/ListPeer"

STATES = ("unknown", "Idle", "Connect", "Active", "OpenSent", "OpenConfirm", "Established")
"""The values of PeerState.SessionState; one that is not established may be left out, as 0."""

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 7, 8
_END_STREAM, _END_HEADERS = 0x1, 0x4
_WIDE = (1 << 31) - 1
_HEAD = 9


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + payload


def _text(value: bytes) -> bytes:
    return bytes((len(value),)) + value


_CALL = (
    b"\x83\x86"  # :method POST, :scheme http, from HPACK's static table
    + (b"\x04" + _text(METHOD))  # :path
    + (b"\x01" + _text(b"localhost"))  # :authority
    + (b"\x0f\x10" + _text(b"application/grpc"))  # content-type
    + (b"\x00" + _text(b"te") + _text(b"trailers"))
)

QUESTION = (
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    + _frame(_SETTINGS, 0, 0, (4).to_bytes(2) + _WIDE.to_bytes(4))  # SETTINGS_INITIAL_WINDOW_SIZE
    + _frame(_WINDOW_UPDATE, 0, 0, (_WIDE - 65_535).to_bytes(4))
    + _frame(_HEADERS, _END_HEADERS, 1, _CALL)
    + _frame(_DATA, _END_STREAM, 1, bytes(5))  # an empty ListPeerRequest
)


def ask(peers: Sequence[str]) -> Probe[list[Mark]]:
    """Mark each of `peers`: good if GoBGP's session with it is established, unknown if GoBGP does not answer."""
    try:
        with stream_socket(socket.AF_INET) as sock:
            answer = yield from exchange(sock, ADDRESS, QUESTION, is_whole, LARGEST)
        return marks(parse_gobgp(answer), peers)
    except (OSError, *MALFORMED):
        return [Mark.UNKNOWN] * len(peers)


def is_whole(answer: bytes) -> bool:
    """Whether the call has ended, well or not. The connection stays open."""
    return any(
        kind in (_RST_STREAM, _GOAWAY) or (stream == 1 and kind in (_DATA, _HEADERS) and flags & _END_STREAM)
        for kind, flags, stream, _ in _frames(answer)
    )


def parse_gobgp(answer: bytes) -> tuple[Session, ...]:
    """Parse the sessions in the answer to `QUESTION`. Raises `ValueError` for any other, or one without a session."""
    frames = list(_frames(answer))
    body = b"".join(payload for kind, _, stream, payload in frames if kind == _DATA and stream == 1)
    if not is_whole(answer) or any(kind in (_RST_STREAM, _GOAWAY) for kind, *_ in frames) or not body:
        raise ValueError("GoBGP gave no list of peers")
    return tuple(_session(message) for message in _messages(body))


def _frames(answer: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield kind, flags, stream and payload of each whole frame."""
    at = 0
    while at + _HEAD <= len(answer):
        end = at + _HEAD + int.from_bytes(answer[at : at + 3])
        if end > len(answer):
            return
        yield (
            answer[at + 3],
            answer[at + 4],
            int.from_bytes(answer[at + 5 : at + 9]),
            answer[at + _HEAD : end],
        )
        at = end


def _messages(body: bytes) -> Iterator[bytes]:
    """Yield gRPC's messages: each follows a byte for its compression, and its length."""
    at = 0
    while at < len(body):
        end = at + 5 + int.from_bytes(body[at + 1 : at + 5])
        if body[at] or end > len(body):
            raise ValueError("a message is compressed or truncated")
        yield body[at + 5 : end]
        at = end


def _session(message: bytes) -> Session:
    """Read Peer.conf.neighbor_address and Peer.state.session_state of a ListPeerResponse."""
    peer = _fields(_part(_fields(message), 1))
    conf, state = _fields(_part(peer, 2)), _fields(_part(peer, 5))
    number = state.get(13, 0)
    if not isinstance(number, int):
        raise ValueError("a session's state is not a number")
    return Session(peer=_part(conf, 4).decode(), established=number == len(STATES) - 1, state=STATES[number])


def _part(fields: dict[int, int | bytes], number: int) -> bytes:
    found = fields.get(number, b"")
    if not isinstance(found, bytes):
        raise ValueError(f"field {number} is a number")
    return found


def _fields(message: bytes) -> dict[int, int | bytes]:
    """Return field number -> its last value, of a message in protobuf's wire format."""
    found: dict[int, int | bytes] = {}
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == 0:
            found[number], at = _varint(message, at)
            continue
        size, at = _varint(message, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
        if at + size > len(message):
            raise ValueError("a field is truncated")
        found[number] = message[at : at + size]
        at += size
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
