"""The node's BGP sessions, by its own BIRD's word."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING

from chaosext.model.signal import Mark
from chaosext.sentinel.bird import QUESTION, Session, is_whole, parse_bird
from chaosext.sentinel.sockets import exchange, stream_socket

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaosext.sentinel.drive import Probe

LARGEST = 1 << 22
"""A session is about 1.5 kB of `show protocols all`: enough for a mesh of more than 2000 nodes."""


def ask(path: str, peers: Sequence[str]) -> Probe[list[Mark]]:
    """A mark for each of `peers`: good where BIRD's session with it is Established; unknown where BIRD is silent."""
    try:
        with stream_socket(socket.AF_UNIX) as sock:
            answer = yield from exchange(sock, path, QUESTION, is_whole, LARGEST)
    except OSError:
        answer = b""
    if not is_whole(answer):
        return [Mark.UNKNOWN] * len(peers)
    return marks(parse_bird(answer.decode(errors="replace")), peers)


def marks(sessions: Sequence[Session], peers: Sequence[str]) -> list[Mark]:
    """A peer that BIRD doesn't know is down: the session that should be there isn't."""
    up = {_canonical(each.peer) for each in sessions if each.established}
    return [Mark.GOOD if _canonical(peer) in up else Mark.DOWN for peer in peers]


def _canonical(address: str) -> str:
    try:
        return str(ip_address(address))
    except ValueError:
        return address
