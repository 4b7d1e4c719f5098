"""The values that lanes are drawn from, and how to merge them. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING

from chaosext.report.data.lane_state import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from chaosext.model.result import Window


BACKGROUND = (State.GOOD, State.QUIET)
"""States that need no attention."""

WORST_FIRST = tuple(State)
RANKS = {state: rank for rank, state in enumerate(WORST_FIRST)}


@dataclass(frozen=True, slots=True)
class Bar:
    """An object's `state` from `start_s` to `end_s`; `letter` is drawn on it: a `Mark`, or a count.

    `share`: the part of a group's members in this state, rounded up to a quarter, half, three quarters, or
    all.
    """

    start_s: float
    end_s: float
    state: State
    letter: str = ""
    share: float = 1.0


@dataclass(frozen=True, slots=True)
class Dot:
    """An event at `t_s`."""

    t_s: float
    glyph: str
    text: str


@dataclass(frozen=True, slots=True)
class Guess:
    """An event that a rehearsal predicts at `t_s`, or between `t_min_s` and `t_max_s`."""

    t_s: float
    t_min_s: float
    t_max_s: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """One object in one lane. `windows`: its outages."""

    name: str
    tag: str = ""
    bars: tuple[Bar, ...] = ()
    dots: tuple[Dot, ...] = ()
    guesses: tuple[Guess, ...] = ()
    windows: tuple[Window, ...] = ()

    def seconds(self, state: State) -> float:
        return sum(bar.end_s - bar.start_s for bar in self.bars if bar.state is state)

    @property
    def calm(self) -> bool:
        """Whether there is nothing to see: no outage, no gap, no event, no prediction."""
        loud = any(bar.state in (State.OUT, State.UNSEEN) for bar in self.bars)
        return not (loud or self.windows or self.dots or self.guesses)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swim:
    """A lane: its tracks, sorted by name."""

    key: str
    title: str
    caption: str
    tracks: tuple[Track, ...]


def joined(bars: Iterable[Bar]) -> tuple[Bar, ...]:
    """Merge bars that touch and look the same."""
    return tuple(_joined(bars))


def _joined(bars: Iterable[Bar]) -> Iterator[Bar]:
    last: Bar | None = None
    for bar in bars:
        if last and bar.start_s <= last.end_s and _look(bar) == _look(last):
            last = _moved(last, last.start_s, max(last.end_s, bar.end_s))
            continue
        if last:
            yield last
        last = bar
    if last:
        yield last


def _look(bar: Bar) -> tuple[State, str, float]:
    return bar.state, bar.letter, bar.share


def _moved(bar: Bar, start_s: float, end_s: float) -> Bar:
    return Bar(start_s, end_s, bar.state, bar.letter, bar.share)


def worst(tracks: Sequence[Sequence[Bar]]) -> tuple[Bar, ...]:
    """Merge tracks to the worst state at each moment, with its share and its most common letter."""
    return joined(
        Bar(start_s, end_s, state, max(letters, key=lambda each: letters[each]), _share(letters, len(tracks)))
        for start_s, end_s, state, letters in _worst(tracks)
    )


def layered(layers: Sequence[Sequence[Bar]]) -> tuple[Bar, ...]:
    """Merge several sources to the worst state at each moment."""
    return joined(
        Bar(start_s, end_s, state, max(letters)) for start_s, end_s, state, letters in _worst(layers)
    )


def counted(tracks: Sequence[Sequence[Bar]]) -> tuple[Bar, ...]:
    """Merge tracks to the worst state at each moment, with the number of tracks in it as the letter."""
    found = _worst(tracks)
    return joined(
        Bar(start_s, end_s, state, str(sum(letters.values()))) for start_s, end_s, state, letters in found
    )


def _share(letters: Mapping[str, int], of: int) -> float:
    return math.ceil(sum(letters.values()) / of * 4) / 4


def _worst(tracks: Sequence[Sequence[Bar]]) -> Iterator[tuple[float, float, State, Mapping[str, int]]]:
    """Yield the worst state between any two edges, with letter -> number of tracks in it."""
    now: dict[tuple[State, str], int] = {}
    moments = [(t_s, list(each)) for t_s, each in groupby(sorted(_edges(tracks)), key=itemgetter(0))]
    for (t_s, each), (next_s, _) in pairwise(moments):
        for _, state, letter, step in each:
            now[state, letter] = now.get((state, letter), 0) + step
        worst_now = min((RANKS[state] for (state, _), count in now.items() if count), default=None)
        if worst_now is not None:
            state = WORST_FIRST[worst_now]
            yield (
                t_s,
                next_s,
                state,
                {key[1]: count for key, count in now.items() if key[0] is state and count},
            )


def _edges(tracks: Sequence[Sequence[Bar]]) -> Iterator[tuple[float, State, str, int]]:
    for bars in tracks:
        for bar in bars:
            yield bar.start_s, bar.state, bar.letter, 1
            yield bar.end_s, bar.state, bar.letter, -1


def coarse(bars: Sequence[Bar], length_s: float, at_most: int) -> tuple[Bar, ...]:
    """Return the bars; more than `at_most` are reduced to the worst per slice of time, so that no outage is lost."""
    if len(bars) <= at_most:
        return tuple(bars)
    width_s = length_s / at_most
    cells: dict[int, Bar] = {}
    for bar in bars:
        for cell in range(math.floor(bar.start_s / width_s), math.ceil(bar.end_s / width_s)):
            cells[cell] = min(cells.get(cell, bar), bar, key=_rank)
    edges = ((cells[cell], cell * width_s, (cell + 1) * width_s) for cell in sorted(cells))
    return joined(_moved(bar, start_s, end_s) for bar, start_s, end_s in edges)


def _rank(bar: Bar) -> tuple[int, float]:
    return RANKS[bar.state], -bar.share
