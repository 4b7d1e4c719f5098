"""A screen of text: it fits on 24 rows of 100 columns, the last of which is the prompt's, whatever is on it. Pure.

Each row is a list of parts with a tone; a terminal shows tones as colours, anything else as plain text.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from textwrap import wrap
from typing import TYPE_CHECKING, Self

from chaosext.model.printable import one_line
from chaosext.report.units import clipped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

ROWS, COLUMNS, FEWEST_COLUMNS = 23, 100, 72

LABEL = 10
"""Columns of the label before a block."""

MORE = "…"


class Tone(StrEnum):
    """How a part of a row looks."""

    PLAIN = ""
    GOOD = "green"
    BAD = "red"
    WARN = "yellow"
    COMMAND = "cyan"
    TITLE = "bold"
    FAINT = "dim"


@dataclass(frozen=True, slots=True)
class ScreenRow:
    """One row; no part has a line break or a character that a terminal obeys."""

    parts: tuple[tuple[str, Tone], ...]

    @classmethod
    def of(cls, *parts: tuple[str, Tone], columns: int = COLUMNS) -> Self:
        """Return a row with its text made displayable, cut off after the last column."""
        left, found = columns, []
        for text, tone in parts:
            fitted = clipped(one_line(text).expandtabs(1), left)
            left -= len(fitted)
            if fitted:
                found.append((fitted, tone))
        return cls(tuple(found))

    def __str__(self) -> str:
        return "".join(text for text, _ in self.parts).rstrip()


EMPTY = ScreenRow(())


@dataclass(frozen=True, slots=True, kw_only=True)
class ScreenBlock:
    """Rows under one label. Of `texts`, each is wrapped to at most `deep` rows; at `most` rows the rest is counted.

    `least`: rows that stay if the screen is full. `rows`: drawn instead of texts, as they are. `are_commands`: a text
    that ends in a backslash goes on in the next one, and none is counted.
    """

    label: str = ""
    texts: Sequence[str] = ()
    tone: Tone = Tone.PLAIN
    deep: int = 1
    most: int = 3
    least: int = 1
    rows: Sequence[ScreenRow] = ()
    are_commands: bool = False

    def shown(self, most: int, columns: int = COLUMNS) -> tuple[ScreenRow, ...]:
        """Return at most so many rows."""
        if most <= 0:
            return ()
        if self.rows:
            return tuple(self.rows[:most])
        labels = (f"{self.label if not number else '':<{LABEL}}" for number in range(most))
        lines = self._lines(most, columns - LABEL)
        return tuple(
            ScreenRow.of((label, Tone.TITLE), (line, self.tone), columns=columns)
            for label, line in zip(labels, lines, strict=False)
        )

    def _lines(self, most: int, width: int) -> Iterator[str]:
        if self.are_commands:
            yield from _whole(self.texts[:most])
            return
        texts, hidden = list(self.texts), 0
        if len(texts) > most:
            kept = max(1, most - 1)
            texts, hidden = texts[:kept], len(texts) - kept
        counts = hidden > 0 and most > 1
        spare = most - counts - len(texts)
        for text in texts:
            lines = wrapped(text, width, 1 + max(0, min(self.deep - 1, spare)))
            spare -= len(lines) - 1
            yield from lines
        if counts:
            yield f"{MORE} and {hidden} more (-v)"


def _whole(commands: Sequence[str]) -> Sequence[str]:
    """Leave out the beginning of a command whose end is missing."""
    while commands and commands[-1].endswith("\\"):
        commands = commands[:-1]
    return commands


def wrapped(text: str, width: int, deep: int) -> list[str]:
    """Wrap a text to at most `deep` lines, the last one with an ellipsis if there is more."""
    lines = wrap(one_line(text), width, break_on_hyphens=False) or [""]
    if len(lines) <= deep:
        return lines
    return [*lines[: deep - 1], clipped(f"{lines[deep - 1]} {lines[deep]}", width)]


def screen(blocks: Iterable[ScreenBlock], columns: int = COLUMNS) -> tuple[ScreenRow, ...]:
    """Return the blocks in at most `ROWS` rows. If they are too many, what may be left out goes first, then the end."""
    found = list(blocks)
    sizes = [len(each.shown(each.most, columns)) for each in found]
    for at in sorted(range(len(found)), key=lambda at: (found[at].least > 0, -at)):
        over = sum(sizes) - ROWS
        sizes[at] -= max(0, min(over, sizes[at] - found[at].least))
    rows = [row for block, size in zip(found, sizes, strict=True) for row in block.shown(size, columns)]
    return tuple(rows[:ROWS])
