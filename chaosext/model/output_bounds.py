"""How much of one answer is kept, whoever gives it: a hostile or broken peer must not take the runner's memory.

A game day's Pod has 512 MiB (gameday/manifests.py), of which Python and the libraries take some 90 MiB.
"""

from __future__ import annotations

from chaosext.model.errors import TooLarge

MIB = 1 << 20

LARGEST_ANSWER = 32 * MIB
"""Bytes that a script on a node, or a command, may print. A node of 100,000 rules lists some 15 MiB of them."""

MOST_LINES = 500_000
"""Lines in it: a line of two letters takes twenty times its size once it is a Python text of its own."""

MOST_OF_ERRORS = 1 << 16
"""Bytes that are kept of what a command says on its standard error: the last ones, which say why it failed."""


class Collected:
    """The bytes of one answer, as they come. `whose`: how the error names the one that gives it."""

    def __init__(self, whose: str, *, most_bytes: int = LARGEST_ANSWER, most_lines: int = MOST_LINES) -> None:
        self._whose, self._most_bytes, self._most_lines = whose, most_bytes, most_lines
        self._kept = bytearray()
        self._lines = 0

    def add(self, piece: bytes) -> None:
        """Keep `piece`. Raises `TooLarge` where the answer is larger than its bounds by now."""
        self._lines += piece.count(b"\n")
        if len(self._kept) + len(piece) > self._most_bytes or self._lines > self._most_lines:
            self._kept.clear()
            raise too_large(self._whose, self._most_bytes, self._most_lines)
        self._kept += piece

    def text(self) -> str:
        """All of it, as text. Nothing of it is kept any longer."""
        said = self._kept.decode(errors="replace")
        self._kept.clear()
        return said


def too_large(whose: str, most_bytes: int, most_lines: int = MOST_LINES) -> TooLarge:
    """The error for an answer that is larger than its bounds."""
    size = f"{most_bytes >> 20} MiB" if most_bytes >= MIB else f"{most_bytes >> 10} KiB"
    return TooLarge(
        f"{whose}: the answer is larger than {size} or {most_lines:,} lines",
        "find out what answers there: nothing that chaosext asks for is that large",
    )
