"""What BIRD, Calico's BGP daemon, says on its control socket (BIRD 1.6 and 2; the protocol is the same). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

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
