"""What customers get at the entry: judged by what became of their requests."""

import pytest

from chaosext.checks.customer_requests import judge_ratio, judge_serves
from chaosext.model.findings import Status
from chaosext.model.load_balancer_state import Request


def requests(ok, failed=0, by="way"):
    good = [Request(ago_s=1, took_s=0.01, status=200, served_by=by)] * ok
    bad = [Request(ago_s=1, took_s=2, status=0, error="timed out")] * failed
    return [*good, *bad]


@pytest.mark.parametrize(
    ("ok", "failed", "status"),
    [
        (100, 0, Status.HEALTHY),
        (999, 1, Status.HEALTHY),
        (998, 2, Status.UNHEALTHY),
        (0, 5, Status.UNHEALTHY),
        (0, 0, Status.UNKNOWN),
    ],
)
def test_a_thousandth_may_fail_and_silence_is_no_success(ok, failed, status):
    assert judge_ratio("e", requests(ok, failed)).status is status


def test_below_is_healthy_only_where_customers_feel_it():
    assert judge_ratio("e", requests(1, 1), below=0.9).status is Status.HEALTHY
    assert judge_ratio("e", requests(9, 1), below=0.9).status is Status.UNHEALTHY
    assert judge_ratio("e", [], below=0.9).status is Status.UNKNOWN


def test_a_failure_is_shown_with_its_reason():
    (shown,) = judge_ratio("way-entry", requests(1, 1)).evidence

    assert (shown.subject, shown.detail) == ("Entry/way-entry", "timed out after 2.0 s")


@pytest.mark.parametrize(
    ("at_least", "at_most", "status"),
    [(0.1, 0.9, Status.HEALTHY), (0.8, 1, Status.UNHEALTHY), (0, 0, Status.UNHEALTHY)],
)
def test_a_share_lies_within_its_bounds(at_least, at_most, status):
    seen = [*requests(3), *requests(1, by="way-b")]

    finding = judge_serves("e", seen, "way", at_least=at_least, at_most=at_most)

    assert finding.status is status
    assert "way 75%, way-b 25%" in finding.summary


def test_what_no_cluster_answered_counts_for_none():
    assert judge_serves("e", requests(0, 9), "way", at_least=0, at_most=0).status is Status.UNKNOWN
    assert judge_serves("e", requests(4, 9, by="b"), "way", at_least=0, at_most=0).status is Status.HEALTHY
