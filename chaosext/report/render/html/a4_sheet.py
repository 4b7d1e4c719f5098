"""One printed sheet of A4, whatever stands on it: texts are measured and cut here, not by the printer. Pure.

A browser breaks lines by the width of its own font, which is unknown here. Widths are those of DejaVu Sans,
one of the widest fonts in use, so that a text takes at most as many lines as are counted.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from chaosext.report.render.html.svg import GUESSED_HEIGHT_PX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from chaosext.report.render.html.svg_parts import Drawing, Row

WIDTH_PT, HEIGHT_PT = 536.0, 780.0
"""A4 without its margins of 10 mm, less what rounding may take."""
LEADING_PT = 9.6
CODE_LEADING_PT = 8.4
"""Height of a row of text, and of one of code. style.css has the same."""
TITLE_PT = 16.4
"""Height of a block's title with the space around it."""
CODE_PADDING_PT = 6.0
NAME_PT = 84.0
"""Width of the names in a block of facts."""
ROW_PT = 16.6
"""Height of a line of the lanes; those with predictions below what was observed are higher."""
PT = 0.75
"""Points in a pixel."""

MOST_ROWS = 3
"""Maximum rows of one line of text; a longer one is cut."""
MOST_CODE_ROWS = 16
"""Commands that take more rows are left to the screen: they are printed whole, or not at all."""
MOST_LANES = 12
"""Maximum lines of the lanes."""

EM_PT = {False: 7.6, True: 6.4}
"""Font size of text, and of code."""
CODE_EM = 0.602
"""Width of a character of DejaVu Sans Mono."""
BOLD = 1.14


class BlockKind(StrEnum):
    """How the lines of a block look."""

    LINES = "lines"
    BOLD = "bold"
    CODE = "code"
    SOFT = "soft"


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetBlock:
    """Lines under a title, the most important first. `least`: how many of them come before all other blocks' rest.

    `names`: of each line, what it is about; empty for none. `rest`: where the lines are that did not fit.
    `left_off`: how many these are.
    """

    title: str
    lines: tuple[str, ...]
    kind: BlockKind = BlockKind.LINES
    least: int = 1
    names: tuple[str, ...] = ()
    rest: str = ""
    left_off: int = 0

    @property
    def pairs(self) -> Iterator[tuple[str, str]]:
        """The lines with their names, "" for none."""
        return zip(self.names or ("",) * len(self.lines), self.lines, strict=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrintedLane:
    """One line of the lanes: the lane's title where it is its first."""

    title: str
    row: Row


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetOfA4:
    """What is printed. `alone`: nothing but this sheet is. `lanes`: the lines of `drawing` that fit."""

    badge: str
    title: str
    gist: str
    blocks: tuple[SheetBlock, ...]
    foot: tuple[str, ...] = ()
    drawing: Drawing | None = None
    lanes: tuple[PrintedLane, ...] = ()
    more_lanes: int = 0
    alone: bool = False
    lead: str = ""


def sheet_of_a4(
    badge: str,
    title: str,
    gist: str,
    blocks: Iterable[SheetBlock],
    *,
    drawing: Drawing | None = None,
    lead: str = "",
    foot: Sequence[str] = (),
    alone: bool = False,
) -> SheetOfA4:
    """Return a sheet on which everything fits: blocks are shortened, the later ones first."""
    lanes, more_lanes = _lanes(drawing)
    sheet = SheetOfA4(
        badge=clipped(badge, WIDTH_PT, 1, BOLD * 1.6),
        title=clipped(title, WIDTH_PT, 2, BOLD * 1.9),
        gist=clipped(gist, WIDTH_PT, 2, 1.2),
        blocks=(),
        foot=tuple(clipped(line, WIDTH_PT, 2) for line in foot),
        drawing=drawing if lanes else None,
        lanes=tuple(lanes),
        more_lanes=more_lanes,
        alone=alone,
        lead=clipped(lead, WIDTH_PT, 1),
    )
    every = tuple(block for block in blocks if block.lines)
    shown = fitted(every, HEIGHT_PT - _taken_pt(sheet) - LEADING_PT)
    titles = {block.title for block in shown}
    missing = ", ".join(block.title for block in every if block.title not in titles)
    said = (clipped(f"Not on this sheet: {missing}.", WIDTH_PT, 1),) if missing else ()
    return replace(sheet, blocks=shown, foot=(*sheet.foot, *said))


def _taken_pt(sheet: SheetOfA4) -> float:
    """The height of everything but the blocks."""
    head = 16.0 + 18.0 * rows(sheet.title, WIDTH_PT, BOLD * 1.9) + 11.5 * rows(sheet.gist, WIDTH_PT, 1.2) + 8
    foot = 6 + sum(LEADING_PT * rows(line, WIDTH_PT) for line in sheet.foot)
    if not sheet.drawing:
        return head + foot
    heights = (
        GUESSED_HEIGHT_PX * PT if '<line class="p"' in each.row.svg else ROW_PT for each in sheet.lanes
    )
    more = LEADING_PT if sheet.more_lanes else 0.0
    return head + foot + TITLE_PT + PT * sheet.drawing.axis_height + sum(heights) + more + 4


def _lanes(drawing: Drawing | None) -> tuple[list[PrintedLane], int]:
    """The lines to print, and how many are not: the longest outage of each open lane, then the second ones."""
    lanes = [lane for lane in drawing.lanes if not lane.folded] if drawing else []
    ordered = [sorted(lane.rows, key=lambda row: -row.out_s) for lane in lanes]
    places = sorted((rank, at) for at, rows in enumerate(ordered) for rank in range(len(rows)))
    shown = [
        PrintedLane(title="" if rank else lanes[at].title, row=ordered[at][rank])
        for at, rank in sorted((at, rank) for rank, at in places[:MOST_LANES])
    ]
    return shown, len(places) - len(shown)


# -- blocks ------------------------------------------------------------------------------------------------------


def fitted(blocks: tuple[SheetBlock, ...], height_pt: float) -> tuple[SheetBlock, ...]:
    """Return the blocks as far as they fit: first the `least` lines of each in turn, then more of the first ones."""
    sizes = [[_height_pt(block, line) for line in _clipped(block)] for block in blocks]
    counts = [0] * len(blocks)
    left_pt = height_pt

    def taken_pt(at: int, count: int) -> float:
        title = TITLE_PT if blocks[at].title else 0.0
        left_off = LEADING_PT if count < len(sizes[at]) else 0.0
        return title + sum(sizes[at][:count]) + left_off if count else 0.0

    for wanted in ([block.least for block in blocks], [len(block.lines) for block in blocks]):
        for at, most in enumerate(wanted):
            for count in range(counts[at] + 1, min(most, len(sizes[at])) + 1):
                more_pt = taken_pt(at, count) - taken_pt(at, counts[at])
                if more_pt <= left_pt:
                    counts[at], left_pt = count, left_pt - more_pt
    return tuple(
        replace(block, lines=tuple(_clipped(block))[:count], left_off=len(block.lines) - count)
        for block, count in zip(blocks, counts, strict=True)
        if count
    )


def _clipped(block: SheetBlock) -> Iterator[str]:
    """The block's lines, none longer than it may be; commands are whole."""
    if block.kind is BlockKind.CODE:
        return iter(block.lines)
    return (clipped(line, _width_pt(block), MOST_ROWS, _scale(block)) for line in block.lines)


def _height_pt(block: SheetBlock, line: str) -> float:
    if block.kind is not BlockKind.CODE:
        return LEADING_PT * rows(line, _width_pt(block), _scale(block))
    count = sum(code_rows(each) for each in line.splitlines())
    return CODE_LEADING_PT * count + CODE_PADDING_PT if count <= MOST_CODE_ROWS else float("inf")


def _width_pt(block: SheetBlock) -> float:
    return WIDTH_PT - NAME_PT if block.names else WIDTH_PT - 8


def _scale(block: SheetBlock) -> float:
    return BOLD if block.kind is BlockKind.BOLD else 1.0


# -- measures ----------------------------------------------------------------------------------------------------

THIN, NARROW, MIDDLE, BROAD = 0.34, 0.42, 0.64, 1.0
"""Upper bounds of the widths of characters, in em."""


def width_pt(text: str, scale: float = 1.0) -> float:
    """The width of a text in one line, at most."""
    return sum(map(_em, text)) * EM_PT[False] * scale


def _em(character: str) -> float:
    if character in "ijl.,:;'/ ":
        return THIN
    if character in "frt|!()[]`-":
        return NARROW
    if character in "mwMW@%—…" or not character.isascii():
        return 1.1 if unicodedata.east_asian_width(character) in "WF" else BROAD
    return 0.84 if character.isupper() or character in "<>=+~&#_" else MIDDLE


def rows(text: str, within_pt: float, scale: float = 1.0) -> int:
    """In how many rows a browser breaks a text, at most."""
    return len(_rows(text, within_pt, scale)) if text else 0


def clipped(text: str, within_pt: float, most: int, scale: float = 1.0) -> str:
    """Return the text, or so much of it as fits into `most` rows, with an ellipsis."""
    text = " ".join(text.split())
    if rows(text, within_pt, scale) <= most:
        return text
    sizes = range(len(text))
    kept = bisect_right(sizes, most, key=lambda size: rows(f"{text[:size]}…", within_pt, scale))
    return f"{text[: max(0, kept - 1)].rstrip()}…"


def _rows(text: str, within_pt: float, scale: float) -> list[str]:
    """Break a text as a browser does: between words, and within one that is longer than a row."""
    found: list[str] = []
    row, left_pt = "", within_pt
    for word in text.split():
        needed_pt = width_pt(f" {word}" if row else word, scale)
        if needed_pt <= left_pt:
            row, left_pt = f"{row} {word}" if row else word, left_pt - needed_pt
            continue
        if row:
            found.append(row)
        *full, row = _broken(word, within_pt, scale)
        found += full
        left_pt = within_pt - width_pt(row, scale)
    return [*found, row] if row else found


def _broken(word: str, within_pt: float, scale: float) -> Iterator[str]:
    start, used_pt = 0, 0.0
    for at, character in enumerate(word):
        own_pt = width_pt(character, scale)
        if used_pt + own_pt > within_pt and at > start:
            yield word[start:at]
            start, used_pt = at, 0.0
        used_pt += own_pt
    yield word[start:]


def code_rows(line: str) -> int:
    """In how many rows a line of a command is broken; words of a command may be broken anywhere."""
    wide = sum(2 if unicodedata.east_asian_width(each) in "WF" else 1 for each in line)
    a_row = int((WIDTH_PT - 12) / (EM_PT[True] * CODE_EM))
    return max(1, -(-wide // a_row))
