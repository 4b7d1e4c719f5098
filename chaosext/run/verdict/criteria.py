"""The criteria of a verdict, one by one, for its readers. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.model.findings import Status
from chaosext.model.result import Ruling, VerdictRule

if TYPE_CHECKING:
    from chaosext.run.verdict.derive import Answer, Facts


def rulings(facts: Facts) -> tuple[Ruling, ...]:
    """One ruling for each rule, in order."""
    return (
        _asked(VerdictRule.GATE, facts.gate, "the steady state was not checked before the cut"),
        _cut(facts),
        _asked(VerdictRule.AFTER, facts.after, "the steady state was not checked after the heal"),
        _rollback(facts),
        _asked(VerdictRule.COMPLETE, facts.missing, "the baseline's objects were not checked at the end"),
        _clean(facts),
    )


def _cut(facts: Facts) -> Ruling:
    """A cut that was verified when it was made, but did not last, proves nothing."""
    if facts.lost:
        return Ruling(rule=VerdictRule.CUT, status=Status.UNKNOWN, reason="; ".join(facts.lost))
    return _asked(VerdictRule.CUT, facts.cut, "nothing was cut")


def _asked(rule: VerdictRule, answer: Answer | None, otherwise: str) -> Ruling:
    if answer is None:
        return Ruling(rule=rule, status=None, reason=otherwise)
    return Ruling(rule=rule, status=answer.status, reason=answer.reason)


def _rollback(facts: Facts) -> Ruling:
    """A rollback that was needed, without a check after it, is not verified."""
    if facts.rollback_failures:
        reason = "; ".join(facts.rollback_failures)
        return Ruling(rule=VerdictRule.ROLLBACK, status=Status.UNHEALTHY, reason=reason)
    ruling = _asked(
        VerdictRule.ROLLBACK, facts.rolled_back, "the steady state was not checked after a rollback"
    )
    needed = facts.after is not None and facts.after.status is Status.UNHEALTHY
    if ruling.status is None and needed:
        return Ruling(rule=VerdictRule.ROLLBACK, status=Status.UNKNOWN, reason=ruling.reason)
    return ruling


def _clean(facts: Facts) -> Ruling:
    if facts.left_behind:
        return Ruling(rule=VerdictRule.CLEAN, status=Status.UNHEALTHY, reason="; ".join(facts.left_behind))
    seen = "nothing was changed" if facts.cut is None else "the cut is gone on every node"
    return Ruling(rule=VerdictRule.CLEAN, status=Status.HEALTHY, reason=seen)
