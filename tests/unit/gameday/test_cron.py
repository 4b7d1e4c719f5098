"""A schedule is what the CronJob controller understands; what it rejects, or never start, is refused."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from chaosext.gameday.cron import Cron

BERLIN = ZoneInfo("Europe/Berlin")
SINCE = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)  # a Monday


def due(text: str, count: int = 3, zone: ZoneInfo = BERLIN) -> list[str]:
    return [f"{time:%a %d.%m. %H:%M}" for time in islice(Cron.parse(text).times(SINCE, zone), count)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30 2 * * Tue", ["Tue 24.11. 02:30", "Tue 01.12. 02:30", "Tue 08.12. 02:30"]),
        ("*/20 14 * * *", ["Mon 23.11. 14:00", "Mon 23.11. 14:20", "Mon 23.11. 14:40"]),
        ("0 0 1 jan,JUL ?", ["Fri 01.01. 00:00", "Thu 01.07. 00:00", "Sat 01.01. 00:00"]),
        ("5 4-6/2 * * mon-fri", ["Tue 24.11. 04:05", "Tue 24.11. 06:05", "Wed 25.11. 04:05"]),
        ("0 3 13 * 5", ["Fri 27.11. 03:00", "Fri 04.12. 03:00", "Fri 11.12. 03:00"]),  # either day is enough
        ("0 3 */1 * 5", ["Fri 27.11. 03:00", "Fri 04.12. 03:00", "Fri 11.12. 03:00"]),  # a star names no day
        ("0 3 1,* * 5", ["Fri 27.11. 03:00", "Fri 04.12. 03:00", "Fri 11.12. 03:00"]),  # nor in a list
        ("0 3 */2 * 5", ["Wed 25.11. 03:00", "Fri 27.11. 03:00", "Sun 29.11. 03:00"]),  # a step names days
        ("0 3 13 * */3", ["Wed 25.11. 03:00", "Sat 28.11. 03:00", "Sun 29.11. 03:00"]),
        ("0 3 * * 1/2", ["Wed 25.11. 03:00", "Fri 27.11. 03:00", "Mon 30.11. 03:00"]),  # there is no day 7
        ("1-1/3 3 * * *", ["Tue 24.11. 03:01", "Wed 25.11. 03:01", "Thu 26.11. 03:01"]),
        ("30/10 9 * * 0", ["Sun 29.11. 09:30", "Sun 29.11. 09:40", "Sun 29.11. 09:50"]),
        ("@weekly", ["Sun 29.11. 00:00", "Sun 06.12. 00:00", "Sun 13.12. 00:00"]),
        ("0 0 29 2 *", ["Tue 29.02. 00:00"]),
    ],
)
def test_it_comes_due_as_a_cron_job_does(text: str, expected: list[str]) -> None:
    assert due(text, len(expected)) == expected


def test_it_is_read_in_its_time_zone() -> None:
    assert due("30 13 * * *", 1) == ["Mon 23.11. 13:30"]  # 12:30 UTC, still to come
    assert due("30 13 * * *", 1, ZoneInfo("Asia/Tokyo")) == ["Tue 24.11. 13:30"]  # over there today's is over


@pytest.mark.parametrize(
    ("text", "since", "zone", "expected"),
    [
        ("30 2 * * *", "2026-03-27T12", "Europe/Berlin", ["03-28T01:30", "03-30T00:30"]),  # skipped
        ("0 2,3 * * *", "2026-03-29T00", "Europe/Berlin", ["03-29T01:00", "03-30T00:00"]),
        ("30 2 * * *", "2026-10-24T12", "Europe/Berlin", ["10-25T00:30", "10-25T01:30", "10-26T01:30"]),
        ("*/30 * * * *", "2026-10-25T00", "Europe/Berlin", ["10-25T00:30", "10-25T01:00", "10-25T01:30"]),
        ("0 0 * * *", "2018-11-03T00", "America/Sao_Paulo", ["11-03T03:00", "11-05T02:00"]),  # no midnight
        (
            "45 1 * * *",
            "2026-04-04T12",
            "Australia/Lord_Howe",
            ["04-04T14:45", "04-04T15:15"],
        ),  # half an hour
    ],
)
def test_schedule_is_due_as_a_cron_job_when_clocks_are_set(
    text: str, since: str, zone: str, expected: list[str]
) -> None:
    times = Cron.parse(text).times(datetime.fromisoformat(f"{since}:00+00:00"), ZoneInfo(zone))
    assert [f"{time.astimezone(UTC):%m-%dT%H:%M}" for time in islice(times, len(expected))] == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "five fields"),
        ("0 3 * *", "five fields"),
        ("0 0 3 * * *", "five fields"),
        ("60 3 * * *", "minute: '60' is not between 0 and 59"),
        ("0 24 * * *", "hour: '24' is not between 0 and 23"),
        ("0 3 0 * *", "day of the month: '0' is not between 1 and 31"),
        ("0 3 * 13 *", "month: '13' is not between 1 and 12"),
        ("0 3 * * 7", "day of the week: '7' is not between 0 and 6"),
        ("0 3 * * Tuesday", "not valid"),
        ("0 3 * * tux", "day of the week: 'tux'"),
        ("0 5-3 * * *", "hour: '5-3' is empty"),
        ("*/0 3 * * *", "minute: '*/0' is empty"),
        ("*-5 3 * * *", "not valid"),
        ("1,,2 3 * * *", "minute: '' is not valid"),
        ("-1 3 * * *", "not valid"),
        ("0 3 31 2,4 *", "there is no such day"),
        ("0 3 L * *", "day of the month: 'L' is not valid"),
        ("0 3 15W * *", "day of the month: '15W' is not valid"),
        ("0 3 * * 1#2", "day of the week: '1#2' is not valid"),
        ("0 3 * * 5L", "day of the week: '5L' is not valid"),
        ("@every 1h", "five fields"),
        ("TZ=UTC 0 3 * * *", "five fields"),
        ("@dayly", "five fields"),
    ],
)
def test_what_kubernetes_would_not_take_or_never_start_is_refused_in_words(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace("*", r"\*")):
        Cron.parse(text)
