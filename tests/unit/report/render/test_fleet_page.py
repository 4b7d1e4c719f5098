"""The page of a fleet: a row for each cluster, a column for each day, self-contained."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from chaosext.report.data.fleet_history import MOST_DAYS, FleetDay, FleetRow, with_day
from chaosext.report.render.html.fleet_page import SHOWN_DAYS, render_fleet

DATES = st.dates().map(lambda date: date.isoformat())


def day(date: str, verdict: str = "passed", worse: int | None = 0, said: str = "") -> FleetDay:
    return FleetDay(date=date, verdict=verdict, exit_code=0, worse=worse, better=0, said=said)


def test_each_verdict_has_a_sign_and_a_word_beside_its_colour():
    days = [day("2026-11-27"), day("2026-11-28", "deviated", 2, "WORSE: x"), day("2026-11-29", "unknown")]
    text = render_fleet("prod", [FleetRow(cluster="eu", days=tuple(days)), FleetRow(cluster="us")])
    assert re.findall(r'class="cell (\w+)"[^>]*>([^<]*)<', text) == [
        ("unknown", "?"),
        ("bad", "✗"),
        ("good", "✓"),
        *[("none", "")] * 3,
    ]
    assert 'aria-label="2026-11-28: deviated. WORSE: x"' in text
    assert text.count("▲") == 2  # the cell, and the key
    assert "2 clusters: 0 pass, 0 deviate, 1 unknown, 1 without an answer" in " ".join(text.split())


def test_what_became_worse_on_the_last_day_is_in_the_first_lines():
    rows = [
        FleetRow(cluster="eu", days=(day("2026-11-29", "deviated", 1, "WORSE: x"),)),
        FleetRow(cluster="us", days=(day("2026-11-28", "deviated", 1, "WORSE: x"),)),
    ]
    assert "Worse than the day before: eu." in render_fleet("prod", rows)


def test_the_page_is_self_contained_and_escapes_what_clusters_say():
    text = render_fleet(
        "prod", [FleetRow(cluster="eu", days=(day("2026-11-29", said="<script>x</script>"),))]
    )
    assert "<script>" not in text
    assert "http://" not in text
    assert "https://" not in text
    assert "default-src &#39;none&#39;" in text


def test_only_the_last_days_are_shown():
    days = tuple(day(f"2026-{month:02}-{number:02}") for month in (9, 10) for number in range(1, 31))
    text = render_fleet("prod", [FleetRow(cluster="eu", days=days)])
    assert text.count("<time ") == SHOWN_DAYS


def test_an_empty_fleet_has_a_page():
    assert "no answer yet" in render_fleet("prod", [FleetRow(cluster="eu")])


@given(st.lists(DATES, max_size=20), DATES)
def test_a_day_is_kept_once_and_days_are_in_order(dates: list[str], date: str):
    found: tuple[FleetDay, ...] = ()
    for each in (*dates, date):
        found = with_day(found, day(each))
    assert [each.date for each in found] == sorted({*dates, date})[-MOST_DAYS:]
    assert all(FleetDay.from_json(each.to_json()) == each for each in found)
