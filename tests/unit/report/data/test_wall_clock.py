"""The time of day beside seconds from the cut, and the link to a dashboard of the same time."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from urllib.parse import parse_qs, urlsplit

import pytest
from stories import STORIES

from chaosext.report.data.wall_clock import WallClock, dashboard_link

NIGHT = STORIES["deviated-rollback-verified"]
CUT_AT = "2026-11-23T23:03:28.500+00:00"


@pytest.mark.parametrize(
    ("t_s", "said"), [(0, "23:03:28"), (31.6, "23:04:00"), (-30, "23:02:58"), (3600, "00:03:28")]
)
def test_seconds_from_the_cut_as_the_time_of_day(t_s: float, said: str) -> None:
    assert WallClock.of(CUT_AT).at(t_s) == said


def test_the_time_of_day_is_utc_whatever_the_runner_s_zone() -> None:
    assert WallClock.of("2026-11-24T00:03:28+01:00").at(0, seconds=False) == "23:03"


@pytest.mark.parametrize("text", ["", "yesterday", "2026-11-23T23:03:28"])
def test_a_time_that_is_unknown_is_not_made_up(text: str) -> None:
    assert WallClock.of(text).at(1) == ""
    assert WallClock.of(text).day == ""


def test_a_link_has_the_time_of_the_run_and_keeps_the_rest_of_the_url() -> None:
    link = dashboard_link("https://grafana.example/d/abc/nodes?var-cluster=eu&from=now-6h&to=now", NIGHT)
    asked = parse_qs(urlsplit(link).query)
    zero_ms = datetime.fromisoformat(CUT_AT).timestamp() * 1000
    assert asked["var-cluster"] == ["eu"]
    assert int(asked["from"][0]) <= zero_ms - 60_000
    assert int(asked["to"][0]) > zero_ms + 60_000
    assert link.startswith("https://grafana.example/d/abc/nodes?")


@pytest.mark.parametrize(
    "url", ["", "javascript:alert(1)", "grafana.example", "file:///etc/passwd", "http://["]
)
def test_only_web_pages_are_linked(url: str) -> None:
    assert dashboard_link(url, NIGHT) == ""


def test_there_is_no_link_where_the_time_is_unknown() -> None:
    assert dashboard_link("https://grafana.example/", replace(NIGHT, cut_at="")) == ""
