"""A run's lanes in a terminal, while it goes on. Only the painting thread ever waits for the terminal.

Each frame overwrites the previous one in a single write, without clearing the screen first, so it does not
flicker. After each frame the cursor is visible, and the alternate screen is not used: however the process
ends, the terminal remains usable.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from itertools import groupby
from typing import IO, TYPE_CHECKING

from chaosext.cli.lane_text import Cell, TerminalAxis, TerminalRow, rows
from chaosext.cli.output import COLOURS, Plain, event_line
from chaosext.model.duration_text import short_duration
from chaosext.model.printable import one_line
from chaosext.model.redact import veiled

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rich.console import Console
    from rich.text import Text

    from chaosext.model.result import Briefing
    from chaosext.model.timeline import Event
    from chaosext.run.monitor.progress import Picture

EVERY_S = 1.0
"""Interval of frames, seconds; changes of the window's size are noticed as often."""

SOONEST_S = 0.6
"""Minimum interval of frames, seconds: news is painted earlier, but many events cost no more than this."""

PARTING_S = 1.0
"""Time for the last frame, seconds, if the terminal no longer accepts output."""

EVENTS = 12
FEWEST_EVENTS = 3
HEADER = 4
"""Lines above the lanes, including the axis."""

STYLES = {
    Cell.OUT: "red",
    Cell.UNSEEN: "yellow",
    Cell.ASTRAY: "magenta",
    Cell.HERE: "blue",
    Cell.GOOD: "green",
    Cell.NOTHING: "",
}
COUNTED = "bold red"

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"
BEGIN, END = "\x1b[?2026h", "\x1b[?2026l"
"""Terminals with synchronized output show what is between these at once; others ignore them."""
CLEAR_LINE, CLEAR_BELOW, CLEAR_ALL = "\x1b[K", "\x1b[J", "\x1b[H\x1b[2J"


def suits(stream: IO[str], environment: Mapping[str, str]) -> bool:
    """Return whether `stream` is a terminal that can move its cursor, and is not in CI."""
    if environment.get("TERM", "dumb") in ("dumb", "") or environment.get("CI"):
        return False
    return stream.isatty()


class Lanes(Plain):
    """Paints the lanes from the briefing until the result; output before and after that is printed normally."""

    def __init__(self, stream: IO[str]) -> None:
        super().__init__(stream)
        self._stream = stream
        self._over, self._news = threading.Event(), threading.Event()
        self._painting: threading.Thread | None = None

    def briefing(self, briefing: Briefing) -> None:
        super().briefing(briefing)
        self._painting = threading.Thread(target=self._paint_all, name="lanes", daemon=True)
        self._painting.start()

    def event(self, event: Event) -> None:
        """Request a frame: it will include the event."""
        self._news.set()

    def lines(self, lines: Iterable[str]) -> None:
        if self._painting:
            self._over.set()
            self._news.set()
            self._painting.join(PARTING_S)
            self._painting = None
        super().lines(lines)

    def _paint_all(self) -> None:
        painter = Painter(self._stream, self._console)
        with suppress(Exception):  # most likely the terminal was closed
            while not self._over.wait(SOONEST_S):
                self._news.clear()
                painter.paint(self.scene.picture())
                self._news.wait(EVERY_S - SOONEST_S)
            painter.paint(self.scene.picture())
            painter.leave()


class Painter:
    """Paints each frame over the previous one."""

    def __init__(self, stream: IO[str], console: Console) -> None:
        self._stream, self._console = stream, console
        self._size: os.terminal_size | None = None
        self._lines = 0

    def paint(self, picture: Picture) -> None:
        """Paint `picture`; clears the screen if the window's size has changed, since old lines have moved then."""
        size = _size(self._stream)
        back = f"\x1b[{self._lines - 1}A\r" if self._lines > 1 else "\r"
        if self._size not in (None, size):
            back = CLEAR_ALL
        lines = self._rendered(frame(picture, size.columns - 1, size.lines - 1), size)
        painted = "\r\n".join(f"{line}{CLEAR_LINE}" for line in lines)
        self._stream.write(f"{BEGIN}{HIDE}{back}{painted}{CLEAR_BELOW}{SHOW}{END}")
        self._stream.flush()
        self._size, self._lines = size, len(lines)

    def leave(self) -> None:
        """Move below the last frame."""
        self._stream.write("\r\n")
        self._stream.flush()

    def _rendered(self, lines: Iterable[Text], size: os.terminal_size) -> list[str]:
        from rich.console import ConsoleDimensions

        self._console.size = ConsoleDimensions(size.columns, size.lines)
        with self._console.capture() as captured:
            for line in lines:
                self._console.print(line, soft_wrap=True)
        return captured.get().splitlines()


def _size(stream: IO[str]) -> os.terminal_size:
    """Return the window's size; some pseudo-terminals report 0."""
    size = os.get_terminal_size(stream.fileno())
    return os.terminal_size((size.columns or 80, size.lines or 24))


def frame(picture: Picture, width: int, height: int) -> list[Text]:
    """Return the lines of one frame: at most `height`, none longer than `width`."""
    room = max(1, height - HEADER - FEWEST_EVENTS - 1)
    who = min(24, max(6, width // 4))
    cells = max(1, width - 10 - who - 1 - 16)
    found = rows(picture, width=cells, height=room)
    lines = [*_header(picture)]
    if picture.now_s is not None:
        lines += [_axis(TerminalAxis(picture.now_s, cells), 10 + who + 1), *_lane_lines(found, who)]
    left = max(0, height - len(lines) - 1)
    last = picture.events[-min(EVENTS, left) :] if left else ()
    if last:
        lines += [_text(""), *(_text(event_line(event), COLOURS.get(event.kind.value, "")) for event in last)]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
        line.rstrip()
    return lines[:height]


def _header(picture: Picture) -> Iterator[Text]:
    where = f"  on {picture.briefing.context}" if picture.briefing else ""
    yield _text(f"run {picture.run}  {picture.experiment}{where}", "bold")
    yield _state(picture)
    yield _text(
        f"{picture.doing}  ({short_duration(round(picture.doing_s))})" if picture.doing else "", "dim"
    )


def _state(picture: Picture) -> Text:
    if picture.verdict and not picture.in_force:
        return _text(f"ended: {picture.verdict.ending(picture.expected)}", "bold")
    since = f"+{short_duration(round(picture.now_s))}" if picture.now_s is not None else ""
    if not picture.in_force:
        return _text(f"the network is open  {since}" if since else "before the cut", "bold green")
    text = _text(f"CUT ACTIVE  {since}  ", "bold red")
    ttl = short_duration(round(picture.ttl_s))
    if picture.let_go_s < picture.ttl_s - 1:
        return text.append(
            f"TTL {ttl} left  rules expire in {short_duration(round(picture.let_go_s))} unless renewed"
        )
    return text.append(f"TTL {ttl} left, then the rules expire")


def _axis(axis: TerminalAxis, indent: int) -> Text:
    """Return the time axis: a label every ten cells."""
    labels = (f"{_tick(place * axis.step_s):<10}" for place in range(0, axis.width, 10))
    return _text(" " * indent + "".join(labels)[: axis.width], "dim")


def _tick(at_s: int) -> str:
    return short_duration(at_s)


def _lane_lines(found: Iterable[TerminalRow], who: int) -> Iterator[Text]:
    for lane, same in groupby(found, key=lambda row: row.lane):
        for place, row in enumerate(same):
            text = _text(f"{'' if place else lane:<10}{_shortened(row.who, who):<{who}} ")
            for style, run in groupby(row.cells, key=_style):
                text.append("".join(run), style)
            yield text.append(f" {row.says}")


def _style(cell: str) -> str:
    return STYLES.get(Cell(cell), "") if cell in STYLES else COUNTED


def _shortened(name: str, width: int) -> str:
    """Shorten a name at its start, as names differ at their ends."""
    return name if len(name) <= width else f"…{name[-(width - 1) :]}"


def _text(said: str, style: str = "") -> Text:
    """Return redacted text on one line, without characters that would move the cursor, such as tabs."""
    from rich.text import Text

    return Text(one_line(veiled(said)).expandtabs(4), style=style, no_wrap=True)
