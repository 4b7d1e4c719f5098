"""JUnit: what CI servers take, coloured as the run's exit code is."""

from __future__ import annotations

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runs import RUNS, activity

from chaosext.model.finding import Status
from chaosext.model.verdict import Outcome
from chaosext.report.activities import Phase
from chaosext.report.junit import cases, junit
from chaosext.report.run_data import RunData

RESULTS = {"failure", "error", "skipped"}

ATTRIBUTES = {
    "testsuites": ({"name", "tests", "failures", "errors", "time"}, {"skipped"}),
    "testsuite": ({"name", "tests", "failures", "errors", "skipped", "time", "timestamp"}, set()),
    "testcase": ({"name", "classname", "time"}, set()),
    "property": ({"name", "value"}, set()),
    **dict.fromkeys(RESULTS, ({"message", "type"}, set())),
}
"""Element -> attributes that CI servers need, and those that they let pass (Jenkins' junit-10.xsd, Ant's report)."""

CHILDREN = {
    "testsuites": ("testsuite",),
    "testsuite": ("properties", "testcase", "system-out"),
    "properties": ("property",),
    "testcase": ("skipped", "error", "failure", "system-out"),
}
"""Element -> what may be in it, in this order."""

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d|")
TIME = re.compile(r"\d+\.\d{1,3}")


def root_of(data: RunData) -> ElementTree.Element:
    return ElementTree.fromstring(junit(data).encode())  # noqa: S314  (our own)


def require_valid(element: ElementTree.Element) -> None:
    needed, allowed = ATTRIBUTES.get(element.tag, (set(), set()))
    assert needed <= set(element.attrib) <= needed | allowed, element.tag
    order = [CHILDREN[element.tag].index(child.tag) for child in element] if len(element) else []
    assert order == sorted(order), element.tag
    assert STAMP.fullmatch(element.get("timestamp", ""))
    assert TIME.fullmatch(element.get("time", "0.0"))
    for child in element:
        require_valid(child)


@pytest.mark.parametrize("story", RUNS)
def test_the_document_is_one_that_ci_servers_take(story: str) -> None:
    root = root_of(RUNS[story])
    require_valid(root)
    (suite,) = root
    found = list(suite.iter("testcase"))
    for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(suite.attrib[name]) == len(list(suite.iter(tag)))
    assert int(suite.attrib["tests"]) == len(found)
    assert all(len([child for child in case if child.tag in RESULTS]) <= 1 for case in found)


@given(st.text(st.characters(exclude_categories=()), max_size=40))
def test_no_text_makes_it_unreadable(text: str) -> None:
    verdict = replace(RUNS["unsafe"].result.verdict, reasons=(text,))
    data = replace(
        RUNS["unsafe"],
        result=replace(RUNS["unsafe"].result, experiment=text, verdict=verdict),
        activities=(activity(Phase.GATE, text, Status.UNHEALTHY, text),),
    )
    assert len(root_of(data)) == 1


def colour(data: RunData) -> str:
    statuses = {case.status for case in cases(data)}
    return "red" if statuses & {Status.UNHEALTHY, Status.UNKNOWN} else "green"


@pytest.mark.parametrize("story", RUNS)
def test_it_is_red_exactly_where_the_exit_code_says_so(story: str) -> None:
    """But that a refused run, which says nothing about the cluster, is skipped."""
    data = RUNS[story]
    exit_code = data.result.verdict.exit_code
    assert colour(data) == ("green" if exit_code in (0, 20) else "red")


def test_what_was_expected_is_green() -> None:
    data = RUNS["deviated-rollback-verified"]
    expected = replace(data, result=replace(data.result, expected="deviated"))
    assert (colour(data), colour(expected)) == ("red", "green")


def test_a_rollback_that_was_not_verified_is_red_though_the_deviation_was_expected() -> None:
    data = RUNS["deviated-rollback-not-verified"]
    assert colour(replace(data, result=replace(data.result, expected="deviated"))) == "red"


def test_a_pass_that_nobody_expected_is_red() -> None:
    data = RUNS["passed"]
    assert colour(replace(data, result=replace(data.result, expected="deviated"))) == "red"


@pytest.mark.parametrize(
    ("story", "tag"),
    [
        ("deviated-rollback-verified", "failure"),
        ("deviated-rollback-not-verified", "failure"),
        ("unsafe", "failure"),
        ("inconclusive", "error"),
        ("interrupted", "error"),
        ("killed", "error"),
        ("refused", "skipped"),
    ],
)
def test_the_verdict_is_a_case_with_its_reasons(story: str, tag: str) -> None:
    case = list(root_of(RUNS[story]).iter("testcase"))[-1]
    assert case.attrib["classname"] == "chaosext.verdict"
    (outcome,) = case
    assert outcome.tag == tag
    assert outcome.attrib["message"] == "; ".join(RUNS[story].result.verdict.reasons)


def test_a_hole_in_the_watch_is_an_error_even_of_a_pass() -> None:
    data = RUNS["passed"]
    blind = replace(data, result=replace(data.result, unobserved={"worker": ((1.0, 4.0),)}))
    watched = next(case for case in cases(blind) if case.name == "the watch had no hole")
    assert (watched.status, watched.said) == (Status.UNKNOWN, "worker was not observed from 1.0 s to 4.0 s")


def test_a_gap_that_hides_no_outage_is_told_and_makes_nothing_red() -> None:
    data = RUNS["passed"]
    short = replace(data, result=replace(data.result, unobserved={"worker": ((1.0, 2.0), (9.0, 11.0))}))
    watched = next(case for case in cases(short) if case.name == "the watch had no hole")
    assert watched.status is Status.HEALTHY
    assert watched.said == (
        "too short to hide an outage: worker was not observed from 1.0 s to 2.0 s, from 9.0 s to 11.0 s"
    )
    assert colour(short) == "green"
    assert watched.said in junit(short)


def test_short_gaps_that_together_let_nothing_be_seen_are_a_hole() -> None:
    data = RUNS["passed"]
    often = {"worker": tuple((float(n), n + 1.0) for n in range(2, 60, 3))}
    assert colour(replace(data, result=replace(data.result, unobserved=often))) == "red"


def test_what_was_watched_during_the_cut_is_no_failure() -> None:
    """A probe of the method is there to look: only that it could not is an error."""
    looked = activity(Phase.METHOD, "DNS resolves", Status.UNHEALTHY, "0 of 2 nodes resolve")
    raised = activity(Phase.METHOD, "DNS resolves", Status.UNKNOWN, "Unreachable: no answer", ended=False)
    found = {
        each.ended: next(cases(replace(RUNS["passed"], activities=(each,)))).status
        for each in (looked, raised)
    }
    assert found == {True: Status.HEALTHY, False: Status.UNKNOWN}


def test_every_outcome_has_a_colour() -> None:
    for outcome in Outcome:
        verdict = replace(RUNS["passed"].result.verdict, outcome=outcome)
        assert list(cases(RunData(result=replace(RUNS["passed"].result, verdict=verdict))))
