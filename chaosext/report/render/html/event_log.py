"""The whole timeline: every line of a short one; a long one is grouped by minute. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from chaosext.model.duration_text import short_duration
from chaosext.model.timeline import Kind
from chaosext.report.units import words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chaosext.model.timeline import Event

UNFOLDED = 500
SHOWN_OF_A_KIND = 3
"""Maximum number of events of one kind and minute in a grouped timeline; the others are counted."""
NEVER_FOLDED = (
    Kind.CUT,
    Kind.CUT_LOST,
    Kind.CUT_WEAKENED,
    Kind.HEAL,
    Kind.ROLLBACK,
    Kind.STEADY,
    Kind.LOCK_LOST,
    Kind.STOP_CONDITION,
    Kind.ABORT,
    Kind.ENTRY_DRAINED,
    Kind.ENTRY_TAKEN_BACK,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """Events in order of time, of one `minute`, or of the whole timeline (None).

    `more`: counts of kinds that are in timeline.jsonl only; `contents`: counts of all kinds.
    """

    minute: int | None
    events: tuple[Event, ...]
    more: tuple[str, ...] = ()
    contents: str = ""

    @property
    def title(self) -> str:
        if self.minute is None:
            return ""
        return f"{short_duration(self.minute * 60)} to {short_duration(self.minute * 60 + 60)}"


def chapters(events: Sequence[Event]) -> tuple[Chapter, ...]:
    """One chapter for up to UNFOLDED events; else one a minute, with the first few of each kind."""
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
        yield Chapter(
            minute=minute, events=tuple(shown), more=tuple(_counts(left)), contents=", ".join(_counts(seen))
        )


def _counts(found: Counter[Kind]) -> Iterator[str]:
    return (f"{count} × {words(kind)}" for kind, count in found.most_common())
