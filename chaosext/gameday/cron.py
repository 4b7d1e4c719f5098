"""A CronJob's schedule: its syntax in Kubernetes, and when it is due. Pure.

The grammar is that of github.com/robfig/cron/v3, `ParseStandard`, which the CronJob controller uses: five
fields, names of months and days, `?` as `*`. Unsupported: `@every` (it counts from the controller's start),
and a time zone in the schedule. docs/decisions/0013-cron.md says why no library does this.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from zoneinfo import ZoneInfo

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")

DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

LONGEST_GAP = timedelta(days=8 * 366)
"""From one 29 February to the next it may take eight years (1896 to 1904)."""

_PART = re.compile(r"(\*|\?|[0-9]+|[a-z]{3})(?:-([0-9]+|[a-z]{3}))?(?:/([0-9]+))?")
_STAR = re.compile(r"[*?](/0*1)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One of the five fields: its name, its bounds, and names for its numbers, starting with `low`."""

    name: str
    low: int
    high: int
    words: tuple[str, ...] = ()

    def numbers(self, text: str) -> frozenset[int]:
        """Parse the field. Raises ValueError, with a message for users, for invalid text."""
        return frozenset(number for part in text.split(",") for number in self._part(part))

    def _part(self, part: str) -> Sequence[int]:
        found = _PART.fullmatch(part.lower())
        if not found:
            raise ValueError(f"{self.name}: {part!r} is not valid")
        first, last, step = found.groups()
        if first in "*?":
            if last:
                raise ValueError(f"{self.name}: {part!r} is not valid")
            begin, end = self.low, self.high
        else:
            begin = self._number(first)
            end = self._number(last) if last else self.high if step else begin
        if end < begin or step == "0":
            raise ValueError(f"{self.name}: {part!r} is empty")
        return range(begin, end + 1, int(step or 1))

    def _number(self, text: str) -> int:
        number = self.low + self.words.index(text) if text in self.words else None
        if number is None and text.isdigit():
            number = int(text)
        if number is None or not self.low <= number <= self.high:
            raise ValueError(f"{self.name}: {text!r} is not between {self.low} and {self.high}")
        return number


FIELDS = (
    Field(name="minute", low=0, high=59),
    Field(name="hour", low=0, high=23),
    Field(name="day of the month", low=1, high=31),
    Field(name="month", low=1, high=12, words=MONTHS),
    Field(name="day of the week", low=0, high=6, words=DAYS),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cron:
    """A schedule. If both days are restricted, either is enough.

    A field with a `*` is not restricted; one with `*/2` is, unlike in cron(8).
    """

    minutes: frozenset[int]
    hours: frozenset[int]
    month_days: frozenset[int]
    months: frozenset[int]
    week_days: frozenset[int]
    either_day: bool

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse a schedule.

        Raises ValueError, with a message for users, if Kubernetes would reject or never start it.
        """
        words = DESCRIPTORS.get(text, text).split()
        if len(words) != len(FIELDS):
            raise ValueError("expected five fields: minute, hour, day of the month, month, day of the week")
        numbers = [field.numbers(word) for field, word in zip(FIELDS, words, strict=True)]
        either = not any(_STAR.fullmatch(part) for word in (words[2], words[4]) for part in word.split(","))
        cron = cls(
            minutes=numbers[0],
            hours=numbers[1],
            month_days=numbers[2],
            months=numbers[3],
            week_days=numbers[4],
            either_day=either,
        )
        if next(cron.dates(date(2024, 3, 1)), None) is None:
            raise ValueError("there is no such day")
        return cron

    def dates(self, first: date) -> Iterator[date]:
        """Return the days on which it is due, from `first` on, within `LONGEST_GAP`."""
        return (
            day for number in range(LONGEST_GAP.days) if self._holds(day := first + timedelta(days=number))
        )

    def times(self, since: datetime, zone: ZoneInfo) -> Iterator[datetime]:
        """Yield when it is due after `since`, in local time of `zone`.

        When clocks are set forward, a skipped time is not due; when they are set back, a repeated one is due twice.
        """
        for day in self.dates(since.astimezone(zone).date()):
            due = [
                datetime(day.year, day.month, day.day, hour, minute, tzinfo=zone, fold=fold)
                for hour in self.hours
                for minute in self.minutes
                for fold in (0, 1)
            ]
            for moment in sorted({time.astimezone(UTC) for time in due}):
                local = moment.astimezone(zone)
                if moment > since and local.hour in self.hours and local.minute in self.minutes:
                    yield local

    def _holds(self, day: date) -> bool:
        in_month, in_week = day.day in self.month_days, day.isoweekday() % 7 in self.week_days
        on_day = in_month or in_week if self.either_day else in_month and in_week
        return on_day and day.month in self.months
