"""JUnit for CI: one suite a run; a case for the verdict, each rule that it was derived from, and each activity."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import TYPE_CHECKING

from chaosext.model.finding import Status
from chaosext.model.printable import printable
from chaosext.model.result import Rule
from chaosext.model.verdict import Outcome
from chaosext.report.activities import Activity, Phase
from chaosext.report.advice import what_to_do
from chaosext.report.story import chain_of_causes
from chaosext.report.unseen import hiding, unseen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from junitparser import TestCase, TestSuite
    from junitparser.junitparser import FinalResult

    from chaosext.model.result import RunResult
    from chaosext.report.run_data import RunData

RULES = {
    Rule.GATE: "the steady state held before the cut",
    Rule.CUT: "the cut was proven from both sides",
    Rule.AFTER: "the steady state held after the heal, without help",
    Rule.ROLLBACK: "the rollback ended in the steady state",
    Rule.CLEAN: "nothing of ours was left behind",
}
PROMISED = (Rule.GATE, Rule.CUT, Rule.ROLLBACK, Rule.CLEAN)
"""The rules that must hold also where a deviation was expected, as `--expect deviated` does."""

ASKED = (Phase.GATE, Phase.AFTER)
"""The phases that ask the hypothesis: what is found there is judged. Elsewhere it is watched, and has its own rule."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One test case. `status` None: skipped. `said`: why, in a line."""

    group: str
    name: str
    status: Status | None
    said: str
    duration_s: float = 0.0


def junit(data: RunData) -> str:
    """The run as a JUnit document. Its colour is that of the exit code, but that a hole in the watch is an error."""
    from junitparser import JUnitXml

    document, written = JUnitXml("chaosext"), BytesIO()
    document.add_testsuite(_suite(data))
    document.update_statistics()
    document.write(written, pretty=True)
    return written.getvalue().decode()


def cases(data: RunData) -> Iterator[Case]:
    """The cases of a run, in the order in which it comes to them; the verdict at the end."""
    yield from (_asked(data.result, activity) for activity in data.activities)
    yield from _rules(data.result)
    yield _watched(data)
    yield _verdict(data.result)


def _asked(result: RunResult, activity: Activity) -> Case:
    """What was found outside of the hypothesis is an observation; it counts there that the activity did its work."""
    judged = activity.status if activity.phase in ASKED else Status.HEALTHY
    status: Status | None = judged if activity.ended else Status.UNKNOWN
    if status is not Status.HEALTHY and _is_refusal(result):
        status = None
    if activity.phase is Phase.AFTER and _as_expected(result):
        status = Status.HEALTHY
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
        said = ruling.reason if ruling else "not known: the run left no word about it"
        if ruling is None and result.verdict.outcome is Outcome.NOT_KNOWN:
            status = Status.UNKNOWN
        if status is not Status.HEALTHY and _is_refusal(result):
            status, said = None, "; ".join(result.verdict.reasons)
        if ruling and rule not in PROMISED and _as_expected(result):
            status = Status.HEALTHY
        yield Case(group="rule", name=name, status=status, said=said)


def _watched(data: RunData) -> Case:
    """A gap that is too short to hide an outage is told, but makes nothing red."""
    status: Status | None = Status.HEALTHY
    said = "; ".join(unseen(data))
    if any(hiding(data)):
        status = None if _is_refusal(data.result) else Status.UNKNOWN
    elif not data.stretches:
        status, said = None, "no sentinel watched from the nodes"
    elif said:
        said = f"too short to hide an outage: {said}"
    return Case(group="rule", name="the watch had no hole", status=status, said=said)


def _verdict(result: RunResult) -> Case:
    verdict, reasons = result.verdict, "; ".join(result.verdict.reasons)
    status = _STATUSES[verdict.outcome]
    if _as_expected(result):
        status, reasons = Status.HEALTHY, f"as expected: {reasons}"
    elif result.expected and status is Status.HEALTHY:
        status, reasons = Status.UNHEALTHY, f"{result.expected} was expected: {reasons}"
    return Case(
        group="verdict",
        name=f"{verdict.headline} (exit {verdict.exit_code})",
        status=status,
        said=reasons,
    )


_STATUSES: dict[Outcome, Status | None] = {
    Outcome.PASSED: Status.HEALTHY,
    Outcome.DEVIATED: Status.UNHEALTHY,
    Outcome.UNSAFE: Status.UNHEALTHY,
    Outcome.REFUSED: None,
    Outcome.INCONCLUSIVE: Status.UNKNOWN,
    Outcome.INTERRUPTED: Status.UNKNOWN,
    Outcome.NOT_KNOWN: Status.UNKNOWN,
}


def _is_refusal(result: RunResult) -> bool:
    return result.verdict.outcome is Outcome.REFUSED


def _as_expected(result: RunResult) -> bool:
    """Whether it ended as was asked for, with the exit code 0 (as `Verdict.exit_code_for` has it)."""
    if not result.expected or result.verdict.outcome.value != result.expected:
        return False
    return result.verdict.exit_code_for(result.verdict.outcome) == 0


def _suite(data: RunData) -> TestSuite:
    from junitparser.junitparser import SystemOut, TestSuite

    result = data.result
    suite = TestSuite(_fit(f"chaosext: {result.experiment or result.run}"))
    suite.timestamp = _timestamp(result.started_at)
    for name, value in _properties(data):
        suite.add_property(name, _fit(value))
    suite.add_testcases([_case(each) for each in cases(data)])
    story = ("Chain of causes:", *chain_of_causes(result), "What to do:", *what_to_do(result))
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
    if case.status is Status.UNHEALTHY:
        return Failure(_fit(case.said), "deviated")
    return Error(_fit(case.said), "not known")


def _properties(data: RunData) -> Iterator[tuple[str, str]]:
    result = data.result
    yield "run", result.run
    yield "verdict", result.verdict.headline
    yield "exit_code", str(result.verdict.exit_code)
    yield "duration_s", f"{result.duration_s:.1f}"
    if result.expected:
        yield "expected", result.expected
    if result.briefing:
        yield "context", result.briefing.context
        yield from ((f"timings.{name}", str(value)) for name, value in result.briefing.timings.items())
    known = {name: value for name, value in result.timing.to_json().items() if value is not None}
    yield from ((f"measured.{name}", str(value)) for name, value in known.items())


def _timestamp(started_at: str) -> str:
    """As JUnit has it: without a fraction and a zone (UTC)."""
    try:
        return datetime.fromisoformat(started_at).strftime("%Y-%m-%dT%H:%M:%S")
    except ValueError:
        return ""


def _fit(text: str) -> str:
    """`text` with what XML can't carry, or a viewer would obey, as its escape."""
    return printable(text)
