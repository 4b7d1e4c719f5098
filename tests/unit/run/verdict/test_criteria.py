"""What a verdict was derived from is told question by question, and says the same as the verdict."""

from __future__ import annotations

from chaosext.model.findings import Status
from chaosext.model.result import VerdictRule
from chaosext.run.verdict.derive import Answer, Facts
from chaosext.run.verdict.facts import rulings

WELL = Answer(status=Status.HEALTHY, reason="well")
DEAD = Answer(status=Status.UNHEALTHY, reason="DNS is dead")


def statuses(facts: Facts) -> dict[VerdictRule, Status | None]:
    return {ruling.rule: ruling.status for ruling in rulings(facts)}


def test_a_whole_run_has_an_answer_to_every_rule() -> None:
    facts = Facts(gate=WELL, cut=WELL, after=WELL, rolled_back=WELL, missing=WELL)
    assert statuses(facts) == dict.fromkeys(VerdictRule, Status.HEALTHY)


def told(facts: Facts) -> list[tuple[VerdictRule, Status | None, str]]:
    return [(ruling.rule, ruling.status, ruling.reason) for ruling in rulings(facts)]


def test_what_was_never_asked_is_neither_well_nor_unwell() -> None:
    assert told(Facts()) == [
        (VerdictRule.GATE, None, "the steady state was not checked before the cut"),
        (VerdictRule.CUT, None, "nothing was cut"),
        (VerdictRule.AFTER, None, "the steady state was not checked after the heal"),
        (VerdictRule.ROLLBACK, None, "the steady state was not checked after a rollback"),
        (VerdictRule.COMPLETE, None, "the baseline's objects were not checked at the end"),
        (VerdictRule.CLEAN, Status.HEALTHY, "nothing was changed"),
    ]


def test_what_was_asked_is_told_as_it_was_answered() -> None:
    assert told(Facts(gate=DEAD, cut=WELL, after=DEAD, rolled_back=WELL, missing=DEAD)) == [
        (VerdictRule.GATE, Status.UNHEALTHY, "DNS is dead"),
        (VerdictRule.CUT, Status.HEALTHY, "well"),
        (VerdictRule.AFTER, Status.UNHEALTHY, "DNS is dead"),
        (VerdictRule.ROLLBACK, Status.HEALTHY, "well"),
        (VerdictRule.COMPLETE, Status.UNHEALTHY, "DNS is dead"),
        (VerdictRule.CLEAN, Status.HEALTHY, "the cut is gone on every node"),
    ]


def test_a_rollback_that_was_needed_and_not_looked_at_is_not_known() -> None:
    assert statuses(Facts(gate=WELL, cut=WELL, after=DEAD))[VerdictRule.ROLLBACK] is Status.UNKNOWN


def test_a_rollback_that_raised_did_not_end_in_the_steady_state() -> None:
    facts = Facts(
        gate=WELL, cut=WELL, after=DEAD, rolled_back=WELL, rollback_failures=("reschedule: refused", "x: y")
    )
    ruling = next(each for each in rulings(facts) if each.rule is VerdictRule.ROLLBACK)
    assert (ruling.status, ruling.reason) == (Status.UNHEALTHY, "reschedule: refused; x: y")


def test_what_is_left_is_named() -> None:
    facts = Facts(cut=WELL, left_behind=("the table on cp-1", "the table on cp-2"))
    ruling = rulings(facts)[-1]
    assert (ruling.rule, ruling.status) == (VerdictRule.CLEAN, Status.UNHEALTHY)
    assert ruling.reason == "the table on cp-1; the table on cp-2"


def test_a_cut_that_was_proven_and_did_not_last_is_not_known() -> None:
    ruling = rulings(Facts(gate=WELL, cut=WELL, after=WELL, lost=("flushed on cp-1", "restarted")))[1]
    assert (ruling.rule, ruling.status) == (VerdictRule.CUT, Status.UNKNOWN)
    assert ruling.reason == "flushed on cp-1; restarted"
