"""Draws lanes as SVG. Pure: values in, markup out.

Every line is a small SVG of full width: lengths along the time axis are in per cent, heights and round shapes
in pixels, so that nothing is distorted on a phone and no text shrinks.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup, escape

from chaosext.model.duration_text import short_duration
from chaosext.model.signal import MEANING, Mark
from chaosext.report.data.lane_state import State
from chaosext.report.render.html.tracks import BACKGROUND, Bar, Dot, Guess, Track, coarse
from chaosext.report.units import duration, window

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chaosext.report.render.html.time_axis import Axis

HEIGHT_PX = 22
GUESSED_HEIGHT_PX = 36
"""Predictions are below what was observed."""

SHAPES = {
    State.OUT: ("o", 3, 16),
    State.FAILING: ("o", 1, 20),
    State.UNSEEN: ("u", 3, 16),
    State.AWAY: ("w", 5, 12),
    State.DRAINED: ("w", 7, 8),
    State.HERE: ("h", 5, 12),
    State.ASTRAY: ("a", 5, 12),
    State.GOOD: ("g", 9, 4),
    State.QUIET: ("q", 10, 2),
}
"""State -> its class, top and height in pixels; healthy states stay in the background."""

DIAMOND = "M0 22.5l5.5 5.5l-5.5 5.5l-5.5-5.5z"

GLYPHS = {
    "probe": "M0 3v16",
    "crash": "M0 4l7 7l-7 7l-7-7z",
    "evicted": "M-4 7l8 8M4 7l-8 8",
    "pending": "M-5 7h10l-5 9z",
}
"""Symbol -> its path, centred on its moment."""

SIGNS = {
    "probe": "a kubelet probe failed",
    "crash": "a container crash-loops",
    "evicted": "a kube-dns Pod was evicted",
    "pending": "a kube-dns Pod was not scheduled",
}
"""Symbol -> its meaning."""

THINNEST_PERCENT = 0.15
"""Minimum width of a bar in per cent; keeps the shortest outage visible."""
LETTERED_PERCENT = 2.2
"""Minimum width in per cent of a bar with a letter, on a phone of 360 px."""
HALF = 0.5
"""A bar with at most this share is too low for a letter."""
DOTS_APART = 100
"""Minimum distance of dots: the axis' length divided by this."""
MOST_STOPS = 12
"""Maximum number of bars with keyboard focus of their own; with more, the line has the focus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LineStyle:
    """How lines are drawn: the maximum number of bars in each, and whether bars can have the keyboard focus."""

    axis: Axis
    most_bars: int
    stops: bool = True


def line(track: Track, manner: LineStyle) -> Markup:
    """Draw one line of a lane; few bars are accessible one by one, many as a whole."""
    bars = coarse(track.bars, manner.axis.length_s, manner.most_bars)
    each = manner.stops and sum(bar.state not in BACKGROUND for bar in bars) <= MOST_STOPS
    parts = [
        *((_bar(bar, track, manner.axis) for bar in bars) if each else _traced(bars, manner.axis)),
        *(_dot(dot, manner.axis) for dot in _apart(track.dots, manner.axis)),
        *(_guess(guess, manner.axis, stop=each) for guess in track.guesses[:MOST_STOPS]),
    ]
    label = escape(said(track))
    role, title = ("group", "") if each else ("img", f"<title>{label}</title>")
    stop = ' tabindex="0"' if manner.stops and not each else ""
    height = GUESSED_HEIGHT_PX if track.guesses else HEIGHT_PX
    about = f'height="{height}" role="{role}" aria-label="{label}"{stop}'
    return Markup(f'<svg class="line" {about}>{title}{"".join(parts)}</svg>')  # noqa: S704  escaped, each part


def said(track: Track) -> str:
    """Describe a line in words, for screen readers."""
    out = ", ".join(map(window, track.windows[:MOST_STOPS]))
    more = f" and {len(track.windows) - MOST_STOPS} more times" if len(track.windows) > MOST_STOPS else ""
    unseen_s = track.seconds(State.UNSEEN)
    blind = f"; not observed for {duration(unseen_s)}" if unseen_s else ""
    none = "no outage seen" if any(bar.state is not State.UNSEEN for bar in track.bars) else "not observed"
    return f"{track.name}: {f'out {out}{more}' if out else none}{blind}"


def _bar(bar: Bar, track: Track, axis: Axis) -> str:
    css, top, height = _shape(bar)
    left, right = axis.percent(bar.start_s), axis.percent(bar.end_s)
    width = max(right - left, THINNEST_PERCENT)
    rect = f'<rect class="{css}" x="{left:.2f}%" width="{width:.2f}%" y="{top:g}" height="{height:g}"/>'
    if bar.state in BACKGROUND or right <= 0 or left >= 100:
        return rect if right > left else ""
    letter = ""
    if bar.letter and bar.share > HALF and right - left >= LETTERED_PERCENT:
        letter = f'<text class="{css}t" x="{left:.2f}%" dx="5" y="15">{escape(bar.letter)}</text>'
    text = escape(f"{track.name}: {_words(bar)}{_some(bar)}, {window((bar.start_s, bar.end_s))}")
    return f'<g tabindex="0" role="img" aria-label="{text}"><title>{text}</title>{rect}{letter}</g>'


def _traced(bars: Iterable[Bar], axis: Axis) -> Iterator[str]:
    """Draw all bars of a class as one path, in thousandths of the width: a tenth of the size of rectangles."""
    paths: dict[str, list[str]] = defaultdict(list)
    for bar in bars:
        css, top, height = _shape(bar)
        left, right = axis.percent(bar.start_s) * 10, axis.percent(bar.end_s) * 10
        if right > left:
            width = f"{max(right - left, THINNEST_PERCENT * 10):.4g}"
            paths[css].append(f"M{left:.4g} {top:g}h{width}v{height:g}h-{width}z")
    yield f'<svg viewBox="0 0 1000 {HEIGHT_PX}" preserveAspectRatio="none" width="100%" height="{HEIGHT_PX}">'
    yield from (f'<path class="{css}" d="{"".join(path)}"/>' for css, path in paths.items())
    yield "</svg>"


def _shape(bar: Bar) -> tuple[str, float, float]:
    """Return class, top and height; a bar of part of a group is only as high as that part."""
    css, top, height = SHAPES[bar.state]
    if bar.state in BACKGROUND:
        return css, top, height
    return css, top + height * (1 - bar.share), height * bar.share


def _words(bar: Bar) -> str:
    match bar.state:
        case State.OUT if bar.letter in MARKS:
            return MEANING[Mark(bar.letter)].partition(":")[0]
        case State.UNSEEN:
            return "not observed"
        case State.HERE | State.ASTRAY:
            return f"{bar.letter} kube-dns Pod{'s' * (bar.letter != '1')} {bar.state}"
        case state:
            return state.value


MARKS = tuple(Mark)
SHARES = {0.25: "a quarter", 0.5: "half", 0.75: "three quarters"}


def _some(bar: Bar) -> str:
    if bar.state is State.FAILING:
        return f", up to {bar.share:.0%} of them"
    return f" on up to {SHARES[bar.share]} of them" if bar.share in SHARES else ""


def _apart(dots: Iterable[Dot], axis: Axis) -> Iterator[Dot]:
    """Yield the first of overlapping dots with the same symbol."""
    last: dict[str, float] = {}
    for dot in sorted(dots, key=lambda each: each.t_s):
        if dot.t_s - last.get(dot.glyph, -axis.length_s) >= axis.length_s / DOTS_APART:
            last[dot.glyph] = dot.t_s
            yield dot


def _dot(dot: Dot, axis: Axis) -> str:
    text = escape(f"{duration(dot.t_s)}: {dot.text}")
    at = f'x="{axis.percent(dot.t_s):.2f}%" overflow="visible"'
    return f'<svg {at}><title>{text}</title><path class="d d-{dot.glyph}" d="{GLYPHS[dot.glyph]}"/></svg>'


def _guess(guess: Guess, axis: Axis, *, stop: bool) -> str:
    left, at, right = map(axis.percent, (guess.t_min_s, guess.t_s, guess.t_max_s))
    least, likely, most = (short_duration(round(each)) for each in (guess.t_min_s, guess.t_s, guess.t_max_s))
    text = escape(f"predicted: {guess.text}, at {likely} ({least} to {most})")
    whisker = f'<line class="p" x1="{left:.2f}%" x2="{right:.2f}%" y1="28" y2="28"/>'
    diamond = f'<svg x="{at:.2f}%" overflow="visible"><path class="pd" d="{DIAMOND}"/></svg>'
    reach = f' tabindex="0" role="img" aria-label="{text}"' if stop else ""
    return f"<g{reach}><title>{text}</title>{whisker}{diamond}</g>"
