"""JUnit for CI: one suite per run, with cases for the verdict, each rule that led to it, and each activity.

The suite has a failure or an error exactly if the exit code of the run is not 0.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from io import BytesIO
from typing import TYPE_CHECKING

from chaosext.model.findings import Status
from chaosext.model.known_unhealthy import Became
from chaosext.model.printable import printable
from chaosext.model.result import VerdictRule
from chaosext.model.verdict import Outcome
from chaosext.report.data.activities import Activity, Phase
from chaosext.report.data.coverage_gaps import hiding, unseen
from chaosext.report.sentences.root_cause import chain_of_causes
from chaosext.report.sentences.what_to_do import what_to_do

if TYPE_CHECKING:
    from collections.abc import Iterator

    from junitparser import TestCase, TestSuite
    from junitparser.junitparser import FinalResult

    from chaosext.model.known_unhealthy import KnownObject
    from chaosext.model.result import RunResult
    from chaosext.report.data.run_data import RunData

RULES = {
    VerdictRule.GATE: "the steady state held before the cut",
    VerdictRule.CUT: "the cut was verified from both sides",
    VerdictRule.AFTER: "the steady state held after the heal, without help",
    VerdictRule.ROLLBACK: "the rollback ended in the steady state",
    VerdictRule.COMPLETE: "everything from the baseline was still there at the end",
    VerdictRule.CLEAN: "chaosext left nothing behind",
}
ASKED = (Phase.GATE, Phase.AFTER)
"""Phases of the hypothesis, whose findings are judged. In other phases findings are only observations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One test case. `status` None: skipped. `said`: the reason, in one line."""

    group: str
    name: str
    status: Status | None
    said: str
    duration_s: float = 0.0


def junit(data: RunData) -> str:
    """The run as a JUnit document, with a failure or an error exactly if the exit code is not 0."""
    from junitparser import JUnitXml

    document, written = JUnitXml("chaosext"), BytesIO()
    document.add_testsuite(_suite(data))
    document.update_statistics()
    document.write(written, pretty=True)
    return written.getvalue().decode()


def cases(data: RunData) -> Iterator[Case]:
    """The cases of a run in order; the verdict is the last."""
    found = (
        *(_asked(data.result, activity) for activity in data.activities),
        *_rules(data.result),
        _watched(data),
        *(_known(each) for each in data.result.known),
        _verdict(data.result),
    )
    yield from map(_accepted, found) if data.result.exit_code == 0 else found


def _accepted(case: Case) -> Case:
    """Return a case of a run that ended with 0: what did not hold, as expected, is skipped with its reason."""
    is_well = case.status is not None and not case.status.is_bad
    return case if is_well else replace(case, status=None)


def _asked(result: RunResult, activity: Activity) -> Case:
    """Return an activity's case; outside the hypothesis it passes if the activity did its work."""
    judged = activity.status if activity.phase in ASKED else Status.HEALTHY
    status: Status | None = judged if activity.ended else Status.UNKNOWN
    if status is not Status.HEALTHY and _is_refusal(result):
        status = None
    return Case(
        group=f"experiment.{activity.phase.value}",
        name=activity.name,
        status=status,
        said=activity.said,
        duration_s=activity.duration_s,
    )


def _rules(result: RunResult) -> Iterator[Case]:
    given = {ruling.rule: ruling for ruling in result.rulings}
    for rule, name in RULES.items():
        ruling = given.get(rule)
        status = ruling.status if ruling else None
        said = ruling.reason if ruling else "unknown: the run recorded nothing about it"
        if ruling is None and result.verdict.outcome is Outcome.NOT_KNOWN:
            status = Status.UNKNOWN
        if status is not Status.HEALTHY and _is_refusal(result):
            status, said = None, "; ".join(result.verdict.reasons)
        yield Case(group="rule", name=name, status=status, said=said)


def _watched(data: RunData) -> Case:
    """Return the case of observation: gaps are skipped, never passed. They don't decide; checks query the cluster."""
    status: Status | None = Status.HEALTHY
    said = "; ".join(unseen(data))
    if any(hiding(data)):
        status = None
    elif not data.stretches:
        status, said = None, "sentinels were disabled"
    elif said:
        said = f"too short to hide an outage: {said}"
    return Case(group="rule", name="observation was complete", status=status, said=said)


def _known(known: KnownObject) -> Case:
    """Return the case of a known unhealthy object, never passed; if it got worse, its check and the verdict say so."""
    status = Status.UNHEALTHY if known.became is Became.WORSE else None
    return Case(group="known", name=f"{known.entry} is no worse than before", status=status, said=known.said)


def _verdict(result: RunResult) -> Case:
    expected, reasons = result.expected, "; ".join(result.verdict.reasons)
    status = _BAD.get(result.verdict.outcome, Status.UNKNOWN)
    if result.exit_code == 0:
        status, reasons = Status.HEALTHY, f"as expected: {reasons}" if expected else reasons
    elif expected and result.verdict.outcome is not expected:
        reasons = f"{expected.value} was expected: {reasons}"
    return Case(group="verdict", name=result.ending, status=status, said=reasons)


_BAD = dict.fromkeys((Outcome.PASSED, Outcome.DEVIATED, Outcome.UNSAFE), Status.UNHEALTHY)
"""Status of the verdict's case if the exit code is not 0; for other outcomes it is unknown."""


def _is_refusal(result: RunResult) -> bool:
    return result.verdict.outcome is Outcome.REFUSED


def _suite(data: RunData) -> TestSuite:
    from junitparser.junitparser import SystemOut, TestSuite

    result = data.result
    suite = TestSuite(_fit(f"chaosext: {result.experiment or result.run}"))
    suite.timestamp = _timestamp(result.started_at)
    for name, value in _properties(data):
        suite.add_property(name, _fit(value))
    suite.add_testcases([_case(each) for each in cases(data)])
    story = ("Root cause:", *chain_of_causes(result), "Next steps:", *what_to_do(result))
    suite.append(SystemOut(_fit("\n".join(story))))
    return suite


def _case(case: Case) -> TestCase:
    from junitparser import TestCase

    made = TestCase(_fit(case.name), f"chaosext.{case.group}", round(case.duration_s, 3))
    if case.status is not Status.HEALTHY:
        made.result = [_outcome(case)]
    elif case.said:
        made.system_out = _fit(case.said)
    return made


def _outcome(case: Case) -> FinalResult:
    from junitparser import Error, Failure, Skipped

    if case.status is None:
        return Skipped(_fit(case.said), "skipped")
    if case.status is Status.NOT_APPLICABLE:
        return Skipped(_fit(case.said), "not applicable")
    if case.status is Status.UNHEALTHY:
        return Failure(_fit(case.said), "deviated")
    return Error(_fit(case.said), "unknown")


def _properties(data: RunData) -> Iterator[tuple[str, str]]:
    result = data.result
    yield "run", result.run
    yield "verdict", result.verdict.headline
    yield "exit_code", str(result.exit_code)
    yield "duration_s", f"{result.duration_s:.1f}"
    if result.expected:
        yield "expected", result.expected.value
    if result.briefing:
        yield "context", result.briefing.context
        yield from ((f"timings.{name}", str(value)) for name, value in result.briefing.timings.items())
    known = {name: value for name, value in result.timing.to_json().items() if value is not None}
    yield from ((f"measured.{name}", str(value)) for name, value in known.items())


def _timestamp(started_at: str) -> str:
    """Return a time in JUnit's format: UTC, without fraction and zone."""
    try:
        return datetime.fromisoformat(started_at).strftime("%Y-%m-%dT%H:%M:%S")
    except ValueError:
        return ""


def _fit(text: str) -> str:
    """Escape characters that XML can't contain or that a viewer would interpret."""
    return printable(text)
