"""The whole timeline, so that it can be read: every line of a short one; of a long one what is alike, folded. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from chaosext.model.timeline import Kind
from chaosext.report.units import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chaosext.model.timeline import Event

UNFOLDED = 500
SHOWN_OF_A_KIND = 3
"""So many events of one kind and minute are shown of a timeline that is folded; the others are counted."""
NEVER_FOLDED = (Kind.CUT, Kind.HEAL, Kind.ROLLBACK, Kind.STEADY, Kind.LOCK_LOST)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """Events in the order of time. `more`: kind -> how many of it are in timeline.jsonl only. `minute` None: all."""

    minute: int | None
    events: tuple[Event, ...]
    more: tuple[str, ...] = ()


def chapters(events: Sequence[Event]) -> tuple[Chapter, ...]:
    """One chapter up to UNFOLDED events; beyond, one a minute, in which each kind has its first few."""
    ordered = sorted(events, key=lambda event: event.t_s)
    if len(ordered) <= UNFOLDED:
        return (Chapter(minute=None, events=tuple(ordered)),) if ordered else ()
    return tuple(_minutes(ordered))


def _minutes(ordered: Sequence[Event]) -> Iterator[Chapter]:
    for minute, found in groupby(ordered, key=lambda event: int(event.t_s // 60)):
        seen: Counter[Kind] = Counter()
        shown: list[Event] = []
        for event in found:
            seen[event.kind] += 1
            if seen[event.kind] <= SHOWN_OF_A_KIND or event.kind in NEVER_FOLDED:
                shown.append(event)
        left = seen - Counter(event.kind for event in shown)
        more = tuple(f"{count} more of “{words(kind)}”" for kind, count in left.most_common())
        yield Chapter(minute=minute, events=tuple(shown), more=more)
