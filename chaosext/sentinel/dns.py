"""DNS as a resolver's library speaks it (RFC 1035): a question's bytes made once, a reply's bytes read. Pure.

Standard library only, and a hundredth of the time that a full parser takes: each second, for each server, three times.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Self

from chaosext.model.malformed import MALFORMED
from chaosext.model.signal import Mark

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = 12
RECURSION_DESIRED = 0x0100
IS_REPLY, RCODE = 0x8000, 0x000F
IN = 1
A, AAAA = 1, 28
POINTER = 0xC0
LABEL, NAME = 63, 253
"""The most octets of a label, and of a name as it is written (RFC 1035, 2.3.4)."""


@dataclass(frozen=True, slots=True)
class Question:
    """One name, asked for its addresses; one of `expected` must be answered (packed; empty: whatever)."""

    section: bytes
    rdtype: int
    expected: frozenset[bytes]

    @classmethod
    def make(cls, name: str, expected: tuple[str, ...], *, ipv6: bool) -> Self:
        """`ipv6`: the family to ask for where `expected` doesn't say. Raises `ValueError` for no DNS name."""
        addresses = [ip_address(each) for each in expected]
        rdtype = AAAA if (addresses[0].version == 6 if addresses else ipv6) else A
        section = _name(name) + rdtype.to_bytes(2) + IN.to_bytes(2)
        return cls(section, rdtype, frozenset(each.packed for each in addresses))

    def wire(self, query_id: int) -> bytes:
        counts = b"\0\1\0\0\0\0\0\0"
        return query_id.to_bytes(2) + RECURSION_DESIRED.to_bytes(2) + counts + self.section

    def is_answered_by(self, reply: bytes, query_id: int) -> bool:
        """Whether it is a reply to this very query, not to an older one or to somebody else's."""
        return (
            len(reply) >= HEADER
            and reply[:2] == query_id.to_bytes(2)
            and bool(reply[2] & IS_REPLY >> 8)
            and (reply[HEADER : HEADER + len(self.section)].lower() == self.section.lower() or not reply[5])
        )

    def mark(self, reply: bytes) -> Mark:
        """Good is an answer with an address, and one that was expected; all else is an error of the server."""
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
        raise ValueError(f"{name!r} is no DNS name")
    return b"".join(len(label).to_bytes(1) + label for label in labels) + b"\0"


def _after_name(message: bytes, at: int) -> int:
    """Where a name that begins at `at` ends; a pointer (RFC 1035, 4.1.4) is its end. IndexError for a torn message."""
    while length := message[at]:
        if length & POINTER:
            return at + 2
        at += 1 + length
    return at + 1
