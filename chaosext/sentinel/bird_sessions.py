"""The node's BGP sessions as reported by its own BIRD."""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from chaosext.model.signal import Mark
from chaosext.sentinel.sockets import exchange, stream_socket

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaosext.sentinel.socket_loop import Probe

LARGEST = 1 << 22
"""Bytes of an answer. A session takes about 1.5 kB of `show protocols all`: enough for a mesh of more than
2000 nodes."""


def ask(path: str, peers: Sequence[str]) -> Probe[list[Mark]]:
    """Mark each of `peers`: good if BIRD's session with it is Established, unknown if BIRD does not answer."""
    try:
        with stream_socket(socket.AF_UNIX) as sock:
            answer = yield from exchange(sock, path, QUESTION, is_whole, LARGEST)
    except OSError:
        answer = b""
    if not is_whole(answer):
        return [Mark.UNKNOWN] * len(peers)
    return marks(parse_bird(answer.decode(errors="replace")), peers)


def marks(sessions: Sequence[Session], peers: Sequence[str]) -> list[Mark]:
    """Mark each of `peers`. A peer that BIRD does not know is down: the session that should exist does not."""
    up = {_canonical(each.peer) for each in sessions if each.established}
    return [Mark.GOOD if _canonical(peer) in up else Mark.DOWN for peer in peers]


def _canonical(address: str) -> str:
    try:
        return str(ip_address(address))
    except ValueError:
        return address


SOCKETS = "/var/run/calico"
"""Where calico-node keeps BIRD's control sockets, mounted from the host."""

BIRD_SOCKET = f"{SOCKETS}/bird.ctl"
BIRD6_SOCKET = f"{SOCKETS}/bird6.ctl"
"""IPv6 has a separate daemon."""

QUESTION = b"show protocols all\n"

_END = re.compile(rb"^(?:0000|[89]\d{3}) ", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One BGP session as seen by one side: its peer, whether it is Established, and that side's own description."""

    peer: str
    established: bool
    state: str


def is_whole(answer: bytes) -> bool:
    """Whether BIRD's last line has arrived: code 0000, or 8xxx and 9xxx for errors. BIRD keeps the connection open."""
    return _END.search(answer) is not None


def parse_bird(text: str) -> tuple[Session, ...]:
    """Parse the BGP sessions in BIRD's answer to `show protocols all` (control protocol, codes 1002 and 1006)."""
    found: list[Session] = []
    state: str | None = None
    for line in text.splitlines():
        if line.startswith("1002"):
            words = line[5:].split()
            is_bgp = len(words) > 3 and words[1] == "BGP"
            state = " ".join([words[3], *words[5:]]) if is_bgp else None
        elif state and (match := re.search(r"Neighbor address:\s+(\S+)", line)):
            established = state.startswith("up") and "Established" in state
            found.append(Session(peer=match[1].partition("%")[0], established=established, state=state))
            state = None  # the next lines belong to another protocol
    return tuple(found)
