"""JUnit: what CI servers take, coloured as the run's exit code is."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from xml.etree import ElementTree

import pytest
from checkout import ROOT
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from runs import RUNS, activity
from stories import DNS_IS_DEAD

from chaosext.cli.output import result_lines
from chaosext.model.findings import Status
from chaosext.model.known_unhealthy import Became, KnownObject, KnownUnhealthy
from chaosext.model.result import RunResult
from chaosext.model.verdict import Outcome, Verdict
from chaosext.report.data.activities import Phase
from chaosext.report.data.run_comparison import compare
from chaosext.report.data.run_data import RunData
from chaosext.report.render.formats import document
from chaosext.report.render.html.page import page
from chaosext.report.render.junit import cases, junit
from chaosext.report.render.markdown import summary
from chaosext.report.render.traces import trace

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


VERIFIED = (None, True, False)
EXPECTED = (None, *Outcome)


@pytest.mark.parametrize("expected", EXPECTED)
@pytest.mark.parametrize("story", RUNS)
def test_junit_is_red_exactly_where_the_exit_code_is_not_zero(story: str, expected: Outcome | None) -> None:
    """Every story, with whatever verdict and rollback, and whatever was expected: one judgement in every output."""
    for outcome, verified in product(Outcome, VERIFIED):
        verdict = replace(RUNS[story].result.verdict, outcome=outcome, rollback_verified=verified)
        result = replace(RUNS[story].result, verdict=verdict, expected=expected)
        data = replace(RUNS[story], result=result)
        assert colour(data) == ("red" if result.exit_code else "green"), (outcome, verified)


@pytest.mark.parametrize("expected", EXPECTED)
@pytest.mark.parametrize("outcome", Outcome)
def test_every_output_shows_the_exit_code_of_the_process(outcome: Outcome, expected: Outcome | None) -> None:
    verdict = Verdict(outcome=outcome, reasons=("why",), rollback_verified=None)
    result = replace(RUNS["passed"].result, verdict=verdict, expected=expected)
    data = replace(RUNS["passed"], result=result)
    code = verdict.exit_code_for(expected)
    assert result.to_json()["exit_code"] == code
    assert document(data)["result"]["exit_code"] == code
    assert f"(exit {code}" in summary(data).partition("\n")[0]
    assert f">exit {code}<" in page(data)
    assert f"(exit {code}" in list(root_of(data).iter("testcase"))[-1].attrib["name"]
    assert {"name": "exit_code", "value": str(code)} in [
        each.attrib for each in root_of(data).iter("property")
    ]
    span = trace(result, (), cut_at_s=0.0)
    assert (span.attributes["chaosext.exit_code"], span.well) == (code, code == 0)
    assert any(f"(exit {code}" in line for line in result_lines(result, Path("run")))
    (facts,) = (pair for pair in compare(data, data).facts if pair.name == "exit code")
    assert facts.first == code


def test_an_expected_deviation_keeps_its_reasons_as_skipped_cases() -> None:
    data = RUNS["deviated-rollback-verified"]
    expected = replace(data, result=replace(data.result, expected=Outcome.DEVIATED))
    after = [case for case in cases(expected) if case.name.startswith("the steady state held after")]
    assert [case.status for case in after] == [None]
    assert DNS_IS_DEAD in after[0].said


@pytest.mark.parametrize(
    ("story", "tag"),
    [
        ("deviated-rollback-verified", "failure"),
        ("deviated-rollback-not-verified", "failure"),
        ("unsafe", "failure"),
        ("inconclusive", "error"),
        ("interrupted", "error"),
        ("killed", "error"),
        ("refused", "error"),
    ],
)
def test_the_verdict_is_a_case_with_its_reasons(story: str, tag: str) -> None:
    case = list(root_of(RUNS[story]).iter("testcase"))[-1]
    assert case.attrib["classname"] == "chaosext.verdict"
    (outcome,) = case
    assert outcome.tag == tag
    assert outcome.attrib["message"] == "; ".join(RUNS[story].result.verdict.reasons)


@pytest.mark.parametrize("story", ["passed", "deviated-rollback-verified"])
def test_a_hole_in_the_watch_is_skipped_and_never_passed(story: str) -> None:
    data = RUNS[story]
    blind = replace(data, result=replace(data.result, unobserved={"worker": ((1.0, 4.0),)}))
    watched = next(case for case in cases(blind) if case.name == "observation was complete")
    assert (watched.status, watched.said) == (None, "worker was not observed from 1s to 4s")
    assert colour(blind) == colour(data)


def test_a_gap_that_hides_no_outage_is_told_and_makes_nothing_red() -> None:
    data = RUNS["passed"]
    short = replace(data, result=replace(data.result, unobserved={"worker": ((1.0, 2.0), (9.0, 11.0))}))
    watched = next(case for case in cases(short) if case.name == "observation was complete")
    assert watched.status is Status.HEALTHY
    assert watched.said == (
        "too short to hide an outage: worker was not observed from 1s to 2s, from 9s to 11s"
    )
    assert colour(short) == "green"
    assert watched.said in junit(short)


def test_short_gaps_that_together_let_nothing_be_seen_are_a_hole() -> None:
    data = RUNS["passed"]
    often = {"worker": tuple((float(n), n + 1.0) for n in range(2, 60, 3))}
    blind = replace(data, result=replace(data.result, unobserved=often))
    watched = next(case for case in cases(blind) if case.name == "observation was complete")
    assert watched.status is None


def test_what_was_watched_during_the_cut_is_no_failure() -> None:
    """A probe of the method is there to look: only that it could not be asked is an error."""
    looked = activity(Phase.METHOD, "DNS resolves", Status.UNHEALTHY, "0 of 2 nodes resolve")
    raised = activity(Phase.METHOD, "DNS resolves", Status.UNKNOWN, "Unreachable: no answer", ended=False)
    found = {
        each.ended: next(cases(replace(RUNS["interrupted"], activities=(each,)))).status
        for each in (looked, raised)
    }
    assert found == {True: Status.HEALTHY, False: Status.UNKNOWN}


def test_what_does_not_apply_is_skipped_and_neither_passed_nor_failed() -> None:
    without = activity(Phase.GATE, "BGP is established", Status.NOT_APPLICABLE, "not applicable: flannel")
    for name in ("passed", "deviated-rollback-verified"):
        case = root_of(replace(RUNS[name], activities=(without,))).find(".//testcase")
        assert case is not None
        assert [(each.tag, each.get("type")) for each in case] == [("skipped", "not applicable")]


def test_every_outcome_has_a_colour() -> None:
    for outcome in Outcome:
        verdict = replace(RUNS["passed"].result.verdict, outcome=outcome)
        assert list(cases(RunData(result=replace(RUNS["passed"].result, verdict=verdict))))


@pytest.mark.parametrize(
    ("became", "tag"), [(Became.SAME, "skipped"), (Became.NO_MATCH, "skipped"), (Became.WORSE, "failure")]
)
def test_what_is_known_to_be_unhealthy_is_a_case_that_never_passes(became: Became, tag: str) -> None:
    entry = KnownUnhealthy(
        check="probes_healthy",
        object="Pod/shop/cart-*",
        reason="CHG-1",
        until=datetime(2026, 12, 24, tzinfo=UTC),
    )
    known = KnownObject(entry=entry, at_baseline="1 of 2", at_end="1 of 2", became=became)
    data = RUNS["deviated-rollback-verified"]
    with_known = replace(data, result=replace(data.result, known=(known,)))
    (case,) = (
        each for each in root_of(with_known).iter("testcase") if each.attrib["classname"] == "chaosext.known"
    )
    (outcome,) = case
    assert outcome.tag == tag
    assert outcome.attrib["message"] == known.said
    for text in (summary(with_known).replace("\\", ""), page(with_known)):
        assert known.said in text
    assert f"  {known.said}" in tuple(result_lines(with_known.result, Path("run")))
    assert RunResult.from_json(with_known.result.to_json(), ()).known == (known,)
    schema = json.loads((ROOT / "docs/schemas/result.schema.json").read_text())
    Draft202012Validator(schema).validate(with_known.result.to_json())
