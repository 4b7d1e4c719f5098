"""Size limits for answers: a hostile or broken peer must not exhaust the runner's memory.

A game day's Pod has 512 MiB (gameday/manifests.py), of which Python and the libraries take about 90 MiB.
"""

from __future__ import annotations

from chaosext.model.errors import TooLarge

MIB = 1 << 20

LARGEST_ANSWER = 32 * MIB
"""Bytes that a script on a node, or a command, may print. A node with 100,000 rules lists about 15 MiB of them."""

MOST_LINES = 500_000
"""Lines of such an output: as a Python string of its own, a two-letter line takes twenty times its size."""

MOST_OF_ERRORS = 1 << 16
"""Bytes kept of a command's standard error. The last ones are kept, because they say why it failed."""


class Collected:
    """Collects the bytes of one answer. `whose`: its source, for the error message."""

    def __init__(self, whose: str, *, most_bytes: int = LARGEST_ANSWER, most_lines: int = MOST_LINES) -> None:
        self._whose, self._most_bytes, self._most_lines = whose, most_bytes, most_lines
        self._kept = bytearray()
        self._lines = 0

    def add(self, piece: bytes) -> None:
        """Append `piece`. Raises `TooLarge` once the answer exceeds its limits."""
        self._lines += piece.count(b"\n")
        if len(self._kept) + len(piece) > self._most_bytes or self._lines > self._most_lines:
            self._kept.clear()
            raise too_large(self._whose, self._most_bytes, self._most_lines)
        self._kept += piece

    def text(self) -> str:
        """Return everything as text, and free the bytes."""
        said = self._kept.decode(errors="replace")
        self._kept.clear()
        return said


def too_large(whose: str, most_bytes: int, most_lines: int = MOST_LINES) -> TooLarge:
    """Return the error for an answer that exceeds its limits."""
    size = f"{most_bytes >> 20} MiB" if most_bytes >= MIB else f"{most_bytes >> 10} KiB"
    return TooLarge(
        f"{whose}: the answer is larger than {size} or {most_lines:,} lines",
        "find out what answers there: nothing that chaosext asks for is that large",
    )
