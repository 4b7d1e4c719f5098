"""Allowed hours: `Mon-Fri 09:00-16:00 Europe/Berlin`, and whether a stretch of time fits inside. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Self
from zoneinfo import ZoneInfo

from chaosext.model.errors import Refused

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
EXAMPLE = "Mon-Fri 09:00-16:00 Europe/Berlin"

_FORM = re.compile(
    r"(?P<days>[A-Z][A-Za-z,-]{2,40}) (?P<start>[\d:]{5})-(?P<end>[\d:]{5}) (?P<zone>\S{1,60})"
)
_CLOCK = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d|24:00")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """Hours of a week in a time zone, as a clock on the wall there shows them.

    `start` and `end` are minutes after midnight. An `end` not after the `start` is on the next day, and the whole
    window belongs to the day (Monday is 0) on which it starts.
    """

    text: str
    days: frozenset[int]
    start: int
    end: int
    zone: ZoneInfo

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `DAYS HH:MM-HH:MM ZONE`: days as `Mon-Fri`, `Sat,Sun` or `Fri-Mon`; the zone by its IANA name.

        Raises `Refused` for anything else.
        """
        found = _FORM.fullmatch(text)
        if not found:
            raise _refused(text, "the form is `DAYS HH:MM-HH:MM ZONE`")
        start, end = _minutes(text, found["start"]), _minutes(text, found["end"])
        if start in (end, 24 * 60):
            raise _refused(text, "the window is empty (all day is 00:00-24:00)")
        return cls(
            text=text, days=_days(text, found["days"]), start=start, end=end, zone=_zone(text, found["zone"])
        )

    def windows(self, since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime]]:
        """Every window that reaches into `since` to `until`, in UTC."""
        day, last = since.astimezone(self.zone).date() - timedelta(days=1), until.astimezone(self.zone).date()
        while day <= last:
            if day.weekday() in self.days:
                next_day = timedelta(days=int(self.end <= self.start))
                yield self._at(day, self.start), self._at(day + next_day, self.end)
            day += timedelta(days=1)

    def _at(self, day: date, minutes: int) -> datetime:
        """Where clocks are put forward or back, the offset before it counts (PEP 495, fold=0)."""
        days, minutes = divmod(minutes, 24 * 60)
        clock = time(minutes // 60, minutes % 60)
        return datetime.combine(day + timedelta(days=days), clock, self.zone).astimezone(UTC)


def fits(hours: Iterable[Hours], since: datetime, until: datetime) -> bool:
    """Whether all of `since` to `until` lies within the hours, from one window into the next where they meet."""
    reached = since
    for start, end in sorted(window for each in hours for window in each.windows(since, until)):
        if start <= reached < end:
            reached = end
    return reached >= until and reached > since


def _days(text: str, days: str) -> frozenset[int]:
    return frozenset(day for part in days.split(",") for day in _range(text, part))


def _range(text: str, part: str) -> Iterator[int]:
    first, dash, last = part.partition("-")
    try:
        begin, end = DAYS.index(first), DAYS.index(last if dash else first)
    except ValueError:
        raise _refused(text, f"days are {', '.join(DAYS)}") from None
    return (day % 7 for day in range(begin, end + 1 + 7 * (end < begin)))


def _minutes(text: str, clock: str) -> int:
    if not _CLOCK.fullmatch(clock):
        raise _refused(text, f"{clock} is no time of day")
    hour, minute = clock.split(":")
    return int(hour) * 60 + int(minute)


def _zone(text: str, name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # unknown, or no name of a zone at all
        raise _refused(text, f"there is no time zone {name} (Debian: tzdata)") from None


def _refused(text: str, why: str) -> Refused:
    return Refused(f"allowed_hours: {text!r}: {why}", f"write it as `{EXAMPLE}`")
