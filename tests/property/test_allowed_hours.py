"""Allowed hours against a plain reading of them: minute by minute, on a clock on the wall."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaosext.model.errors import Refused
from chaosext.safety.limits import DAYS, Hours, fits

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe")
MOMENTS = st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC))
MINUTES = st.integers(0, 24 * 60 - 1)


def spelled(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


@st.composite
def windows(draw: st.DrawFn) -> Hours:
    first, last = draw(st.sampled_from(DAYS)), draw(st.sampled_from(DAYS))
    start, end = draw(MINUTES), draw(st.integers(0, 24 * 60))
    if start == end:
        end += 1
    zone = draw(st.sampled_from(ZONES))
    return Hours.parse(f"{first}-{last} {spelled(start)}-{spelled(end)} {zone}")


def shown_within(hours: Hours, at: datetime) -> bool:
    """By the wall clock there, which days of a change of clocks show twice or not at all."""
    local = at.astimezone(hours.zone)
    minute, today, yesterday = local.hour * 60 + local.minute, local.weekday(), (local.weekday() - 1) % 7
    if hours.end > hours.start:
        return today in hours.days and hours.start <= minute < hours.end
    return (today in hours.days and minute >= hours.start) or (yesterday in hours.days and minute < hours.end)


def changes_clocks(zone: ZoneInfo, at: datetime) -> bool:
    days = (at + timedelta(days=day) for day in range(-2, 4))
    return len({day.astimezone(zone).utcoffset() for day in days}) > 1


@given(windows(), MOMENTS)
def test_a_minute_fits_as_the_clock_on_the_wall_shows_it(hours: Hours, at: datetime) -> None:
    at = at.replace(second=0, microsecond=0)
    if not changes_clocks(hours.zone, at):
        assert fits([hours], at, at + timedelta(seconds=60)) == shown_within(hours, at)


@given(st.lists(windows(), max_size=3), MOMENTS, st.integers(1, 180))
def test_a_stretch_fits_when_each_of_its_minutes_does(
    several: list[Hours], at: datetime, minutes: int
) -> None:
    at = at.replace(second=0, microsecond=0)
    each = [at + timedelta(minutes=passed) for passed in range(minutes)]
    step = timedelta(minutes=1)
    assert fits(several, at, at + minutes * step) == all(fits(several, one, one + step) for one in each)


@given(st.lists(windows(), max_size=3), windows(), MOMENTS, st.floats(1, 3600))
def test_more_hours_never_forbid(several: list[Hours], more: Hours, at: datetime, ttl_s: float) -> None:
    until = at + timedelta(seconds=ttl_s)
    assert not fits(several, at, until) or fits([*several, more], at, until)


@given(st.text(max_size=40))
def test_what_is_no_hours_is_refused_by_its_text(text: str) -> None:
    with pytest.raises(Refused, match=r"^allowed_hours: "):
        Hours.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Mon-Fri 09:00-16:00",
        "Mon-Fri 9:00-16:00 UTC",
        "Mon-Fri 09:00-25:00 UTC",
        "Mon-Fri 24:00-04:00 UTC",
        "Mon-Fri 09:00-09:00 UTC",
        "Mon-Fri 09:60-10:00 UTC",
        "Mon-Xyz 09:00-16:00 UTC",
        "Mon- 09:00-16:00 UTC",
        "Mon-Fri 09:00-16:00 Europe/Nowhere",
        "Mon-Fri 09:00-16:00 ../../etc/passwd",
        "Mon-Fri 09:00-16:00 Europe",
        "Mon-Fri 09:00-16:00 UTC ",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(Refused, match=r"^allowed_hours: "):
        Hours.parse(text)


@pytest.mark.parametrize(
    ("text", "since", "fit"),
    [
        ("Mon-Fri 09:00-16:00 Europe/Berlin", "2026-11-23T08:00:00Z", True),
        ("Mon-Fri 09:00-16:00 Europe/Berlin", "2026-11-23T07:59:59Z", False),
        ("Mon-Fri 09:00-16:00 Europe/Berlin", "2026-07-06T07:00:00Z", True),
        ("Mon-Fri 09:00-16:00 Europe/Berlin", "2026-11-23T14:59:00Z", True),
        ("Mon-Fri 09:00-16:00 Europe/Berlin", "2026-11-23T14:59:01Z", False),
        ("Sat,Sun 09:00-16:00 UTC", "2026-11-23T10:00:00Z", False),
        ("Fri-Mon 00:00-24:00 UTC", "2026-11-23T23:59:00Z", True),
        ("Fri-Mon 00:00-24:00 UTC", "2026-11-23T23:59:01Z", False),
        ("Fri 22:00-04:00 UTC", "2026-11-28T03:59:00Z", True),
        ("Fri 22:00-04:00 UTC", "2026-11-27T03:00:00Z", False),
        ("Mon-Sun 00:00-24:00 America/New_York", "2026-11-01T05:59:30Z", True),
        ("Sun 02:15-02:45 Europe/Berlin", "2026-03-29T01:20:00Z", True),
    ],
)
def test_a_minutes_cut(text: str, since: str, fit: bool) -> None:
    at = datetime.fromisoformat(since)
    assert fits([Hours.parse(text)], at, at + timedelta(seconds=60)) is fit
