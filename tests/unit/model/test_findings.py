"""How findings combine: the worst counts, and what does not apply counts neither way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from chaosext.model.findings import Status, not_applicable, worst

STATUSES = st.lists(st.sampled_from(Status), max_size=6)


@given(STATUSES)
def test_a_whole_is_healthy_only_if_a_part_is_and_none_is_bad(statuses: list[Status]) -> None:
    expected = Status.HEALTHY in statuses and not any(each.is_bad for each in statuses)
    assert (worst(statuses) is Status.HEALTHY) == expected


@given(STATUSES)
def test_what_does_not_apply_never_changes_the_rest(statuses: list[Status]) -> None:
    rest = [each for each in statuses if each is not Status.NOT_APPLICABLE]
    assert worst(statuses) is (worst(rest) if rest or not statuses else Status.NOT_APPLICABLE)


def test_nothing_is_unknown() -> None:
    assert worst(()) is Status.UNKNOWN


def test_a_finding_that_does_not_apply_says_why_and_counts_no_evidence() -> None:
    finding = not_applicable("bgp_established", "no BGP here")
    assert finding.to_json()["status"] == "not applicable"
    assert "no BGP here" in finding.summary
    assert not any(row.counts for row in finding.evidence)
