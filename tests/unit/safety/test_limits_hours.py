"""Allowed hours: how they are written, when they are, and what fits into them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from chaosext.model.errors import Refused
from chaosext.safety.limits import DAYS, EXAMPLE, Hours, fits


def at(text: str) -> datetime:
    """`22 10:00`: in November 2026, UTC. The 22nd is a Sunday, the 23rd a Monday."""
    return datetime.strptime(f"2026-11-{text}", "%Y-%m-%d %H:%M").replace(tzinfo=UTC)


def windows(text: str, since: str, until: str) -> list[tuple[str, str]]:
    found = Hours.parse(text).windows(at(since), at(until))
    return [(f"{start:%d %H:%M}", f"{end:%d %H:%M}") for start, end in found]


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        ("Mon", "Mon"),
        ("Sun", "Sun"),
        ("Mon-Fri", "Mon Tue Wed Thu Fri"),
        ("Fri-Mon", "Mon Fri Sat Sun"),
        ("Sun-Mon", "Mon Sun"),
        ("Tue-Tue", "Tue"),
        ("Mon-Sun", "Mon Tue Wed Thu Fri Sat Sun"),
        ("Sat,Sun", "Sat Sun"),
        ("Mon,Wed-Thu,Sun", "Mon Wed Thu Sun"),
    ],
)
def test_days_are_single_days_ranges_or_both(days: str, expected: str) -> None:
    assert [DAYS[day] for day in sorted(Hours.parse(f"{days} 09:00-16:00 UTC").days)] == expected.split()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("weekdays", "the form is `DAYS HH:MM-HH:MM ZONE`"),
        ("Mon 09:00-09:00 UTC", "the window is empty (all day is 00:00-24:00)"),
        ("Mon 24:00-09:00 UTC", "the window is empty (all day is 00:00-24:00)"),
        ("Mon 09:00-25:00 UTC", "25:00 is not a time of day"),
        ("Mon-Fry 09:00-16:00 UTC", "days are Mon, Tue, Wed, Thu, Fri, Sat, Sun"),
        ("Mon, 09:00-16:00 UTC", "days are Mon, Tue, Wed, Thu, Fri, Sat, Sun"),
        ("Mon 09:00-16:00 Mars/Olympus", "unknown time zone Mars/Olympus (on Debian, install tzdata)"),
    ],
)
def test_anything_else_is_refused_with_the_form(text: str, why: str) -> None:
    with pytest.raises(Refused) as caught:
        Hours.parse(text)
    assert str(caught.value) == f"allowed_hours: {text!r}: {why}: write it as `{EXAMPLE}`"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Mon 09:00-16:00 UTC", [("23 09:00", "23 16:00")]),
        ("Mon 09:05-24:00 UTC", [("23 09:05", "24 00:00")]),
        ("Sun 22:00-04:00 UTC", [("22 22:00", "23 04:00")]),
        ("Mon 16:00-09:00 UTC", [("23 16:00", "24 09:00")]),
        ("Mon 09:30-16:45 Europe/Berlin", [("23 08:30", "23 15:45")]),
        ("Sat-Tue 01:00-02:00 UTC", [(f"{day} 01:00", f"{day} 02:00") for day in (22, 23)]),
        ("Wed 01:00-02:00 UTC", []),
    ],
)
def test_a_window_begins_on_its_day_and_may_end_on_the_next(
    text: str, expected: list[tuple[str, str]]
) -> None:
    assert windows(text, "23 10:00", "23 10:30") == expected


def test_windows_are_counted_in_the_days_of_their_zone() -> None:
    night = "Tue 00:00-06:00 Pacific/Auckland"  # 13 hours ahead: it begins on Monday in UTC
    assert windows(night, "23 11:30", "23 11:40") == [("23 11:00", "23 17:00")]
    evening = "Sun 18:00-23:00 Pacific/Honolulu"  # 10 hours behind: it begins on Monday in UTC
    assert windows(evening, "23 04:30", "23 04:40") == [("23 04:00", "23 09:00")]
    late = "Sun 23:00-24:00 Pacific/Honolulu"
    assert fits([Hours.parse(late)], at("23 09:30"), at("23 09:40"))


def test_hours_follow_daylight_saving() -> None:
    hours = Hours.parse("Sun 02:30-05:00 Europe/Berlin")
    since = datetime(
        2026, 10, 25, 1, 0, tzinfo=UTC
    )  # 02:30 comes twice on this day, and the first one counts
    ((start, end),) = hours.windows(since, since)
    assert (start.hour, start.minute, end.hour) == (0, 30, 4)


@pytest.mark.parametrize(
    ("hours", "since", "until", "expected"),
    [
        (["Mon 09:00-16:00 UTC"], "23 09:00", "23 16:00", True),
        (["Mon 09:00-16:00 UTC"], "23 08:59", "23 10:00", False),
        (["Mon 09:00-16:00 UTC"], "23 15:00", "23 16:01", False),
        (["Mon 09:00-16:00 UTC"], "23 16:00", "23 16:00", False),
        (["Mon 09:00-12:00 UTC", "Mon 12:00-16:00 UTC"], "23 10:00", "23 15:00", True),
        (["Mon 12:00-16:00 UTC", "Mon 09:00-12:00 UTC"], "23 10:00", "23 15:00", True),
        (["Mon 09:00-12:00 UTC", "Mon 12:01-16:00 UTC"], "23 10:00", "23 15:00", False),
        (["Mon 09:00-24:00 UTC", "Tue 00:00-09:00 UTC"], "23 10:00", "24 08:00", True),
        (["Mon-Tue 00:00-24:00 UTC"], "23 00:00", "24 23:59", True),
        (["Sun 22:00-04:00 UTC"], "23 01:00", "23 03:00", True),
        (["Sat 23:30-23:20 Pacific/Honolulu"], "23 09:00", "23 09:10", True),  # Sunday 23:00 there
        ([], "23 10:00", "23 11:00", False),
    ],
)
def test_all_of_a_time_has_to_be_within_hours_that_adjoin(
    hours: list[str], since: str, until: str, expected: bool
) -> None:
    assert fits(map(Hours.parse, hours), at(since), at(until)) is expected
