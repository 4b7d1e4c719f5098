"""The node's BGP sessions, by its own BIRD's word."""

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


SOCKETS = "/var/run/calico"
"""Where calico-node keeps BIRD's control sockets, mounted from the host."""

BIRD_SOCKET = f"{SOCKETS}/bird.ctl"
BIRD6_SOCKET = f"{SOCKETS}/bird6.ctl"
"""IPv6 has a daemon of its own."""

QUESTION = b"show protocols all\n"

_END = re.compile(rb"^(?:0000|[89]\d{3}) ", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One BGP session as one side sees it: with whom, whether it is Established, and the side's own words."""

    peer: str
    established: bool
    state: str


def is_whole(answer: bytes) -> bool:
    """Whether BIRD's last line has come: code 0000, or 8xxx and 9xxx for an error. BIRD keeps the connection."""
    return _END.search(answer) is not None


def parse_bird(text: str) -> tuple[Session, ...]:
    """The BGP sessions in BIRD's answer to `show protocols all` (protocol of BIRD's control socket: 1002, 1006)."""
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
            state = None  # what comes next is another protocol's, or its head was lost
    return tuple(found)
