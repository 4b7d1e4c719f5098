"""Derives the verdict from what a run left behind; nothing is assumed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from chaosext.model.findings import Status
from chaosext.model.verdict import Outcome, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to one question, and the reason, in a line."""

    status: Status
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that a verdict may depend on.

    `gate`: the hypothesis before the cut; None: the experiment has none.
    `cut`: whether the cut was verified; None: the experiment cuts nothing.
    `after`: the hypothesis after the heal; None: not checked.
    `rolled_back`: the steady state after the rollbacks; None: not checked.
    `missing`: whether all objects of the baseline exist at the end; None: not checked.
    `method_failures`, `rollback_failures`: activities that raised, as `name: error`.
    `refusals`: why an action refused before it touched anything.
    `moved`: how much of kube-dns was moved during the cut (`all`, `some`, `none`); None: not observed.
    `left_behind`: what is not confirmed gone, with how to remove it.
    `feared`: what an activity could not confirm gone, and was seen gone at the end.
    `signal_number`: the signal that ended the run. `overdue`: the activity that did, by not ending in time.
    `stopped`: the stop condition, or the abort, that ended its method; its rollbacks were run.
    `lost`: how a cut ended, or was changed, before the run healed it.
    `armed`: whether a cut was sent to any node.
    """

    gate: Answer | None = None
    cut: Answer | None = None
    after: Answer | None = None
    rolled_back: Answer | None = None
    missing: Answer | None = None
    method_failures: tuple[str, ...] = ()
    rollback_failures: tuple[str, ...] = ()
    refusals: tuple[str, ...] = ()
    moved: str | None = None
    left_behind: tuple[str, ...] = ()
    feared: tuple[str, ...] = ()
    signal_number: int | None = None
    overdue: str = ""
    stopped: str = ""
    lost: tuple[str, ...] = ()
    armed: bool = True


def derive(facts: Facts) -> Verdict:
    """The verdict that follows from `facts`. What is worse for the cluster's owner comes first."""
    verdict = _derive(facts)
    verdict = replace(verdict, reasons=(*verdict.reasons, *_unsaid(facts, verdict.reasons)))
    if facts.left_behind or not facts.feared:
        return verdict
    calmed = (f"confirmed gone at the end, but not by an activity: {each}" for each in facts.feared)
    return replace(verdict, reasons=(*verdict.reasons, *calmed))


def _unsaid(facts: Facts, reasons: tuple[str, ...]) -> tuple[str, ...]:
    """Missing objects are a reason in every verdict, also in one that something else decides."""
    missing = facts.missing
    if missing is None or missing.status is not Status.UNHEALTHY:
        return ()
    said = any(missing.reason in each for each in reasons)
    return () if said else (f"missing since the baseline: {missing.reason}",)


def _derive(facts: Facts) -> Verdict:
    if facts.left_behind:
        return Verdict(outcome=Outcome.UNSAFE, reasons=(*facts.left_behind, *_what_ended_it(facts)))
    if facts.lost:
        return _without_its_cut(facts)
    if facts.signal_number is not None:
        return _interrupted(facts)
    if facts.stopped:
        return _stopped(facts)
    if facts.overdue:
        return Verdict(outcome=Outcome.INCONCLUSIVE, reasons=(f"{facts.overdue}; {_what_became(facts)}",))
    if facts.gate is not None and facts.gate.status is not Status.HEALTHY:
        return Verdict(outcome=Outcome.REFUSED, reasons=(f"steady state not met: {facts.gate.reason}",))
    if facts.refusals:
        return Verdict(outcome=Outcome.REFUSED, reasons=facts.refusals)
    if facts.cut is not None and facts.cut.status is not Status.HEALTHY:
        return Verdict(outcome=Outcome.INCONCLUSIVE, reasons=(facts.cut.reason,))
    return _judge_aftermath(facts)


def _judge_aftermath(facts: Facts) -> Verdict:
    if facts.after is not None and facts.after.status is Status.UNHEALTHY:
        return _deviated(facts, facts.after.reason)
    if facts.missing is not None and facts.missing.status is Status.UNHEALTHY:
        return _deviated(facts, f"missing since the baseline: {facts.missing.reason}")
    unproven = _unproven(facts)
    if unproven:
        return Verdict(outcome=Outcome.INCONCLUSIVE, reasons=unproven)
    if facts.rollback_failures or (facts.rolled_back and facts.rolled_back.status is not Status.HEALTHY):
        return _deviated(facts, "the steady state held after the heal, but not after the rollback")
    return Verdict(outcome=Outcome.PASSED, reasons=("the steady state held after the heal", *_untried(facts)))


def _untried(facts: Facts) -> tuple[str, ...]:
    """A pass says less if the control plane did not move kube-dns."""
    if facts.moved != "none":
        return ()
    return ("kube-dns did not move during the cut, so the effect of a longer cut was not tested",)


def _unproven(facts: Facts) -> tuple[str, ...]:
    """Why nothing can be concluded: an activity raised, or the hypothesis was not fully checked."""
    reasons = list(facts.method_failures)
    if facts.after is None:
        reasons.append("the hypothesis was not checked after the method")
    elif facts.after.status is Status.UNKNOWN:
        reasons.append(facts.after.reason)
    if facts.missing is not None and facts.missing.status is Status.UNKNOWN:
        reasons.append(f"unknown whether everything from the baseline still exists: {facts.missing.reason}")
    return tuple(reasons)


def _deviated(facts: Facts, reason: str) -> Verdict:
    return _with_rollback(facts, Outcome.DEVIATED, _parts(reason))


def _with_rollback(facts: Facts, outcome: Outcome, reasons: tuple[str, ...]) -> Verdict:
    """The verdict, with whether the rollback restored the steady state, or why that is in doubt."""
    doubts = _rollback_doubts(facts)
    told = doubts or ("rollback verified: the steady state holds again",)
    return Verdict(outcome=outcome, reasons=(*reasons, *told), rollback_verified=not doubts)


def _parts(reason: str) -> tuple[str, ...]:
    """A line for each check: an answer of several checks joins theirs by semicolons, and none contains one."""
    return tuple(reason.split("; "))


def _rollback_doubts(facts: Facts) -> tuple[str, ...]:
    doubts = [f"rollback failed: {failure}" for failure in facts.rollback_failures]
    if facts.rolled_back is None:
        doubts.append("rollback not verified: the steady state was not checked after it")
    elif facts.rolled_back.status is not Status.HEALTHY:
        doubts.append(f"rollback not verified: {facts.rolled_back.reason}")
    if facts.missing is not None and facts.missing.status is not Status.HEALTHY:
        doubts.append(f"rollback not verified: {facts.missing.reason}")
    return tuple(dict.fromkeys(doubts))


def _without_its_cut(facts: Facts) -> Verdict:
    """Observations from then on count for nothing; the result of the rollbacks still matters."""
    lost = (f"the cut did not match its plan until it was healed: {each}" for each in facts.lost)
    doubts = _rollback_doubts(facts) if facts.rolled_back or facts.rollback_failures else ()
    return Verdict(outcome=Outcome.INCONCLUSIVE, reasons=(*lost, *_what_ended_it(facts), *doubts))


def _interrupted(facts: Facts) -> Verdict:
    (ended,) = _what_ended_it(facts)
    reason = f"{ended}; {_what_became(facts)}"
    return Verdict(outcome=Outcome.INTERRUPTED, reasons=(reason,), signal_number=facts.signal_number)


def _stopped(facts: Facts) -> Verdict:
    """Ended on request; after a cut it matters whether the rollbacks restored the steady state."""
    reason = f"{facts.stopped}; {_what_became(facts)}"
    if facts.cut is None:
        return Verdict(outcome=Outcome.INTERRUPTED, reasons=(reason,))
    return _with_rollback(facts, Outcome.INTERRUPTED, (reason,))


def _what_ended_it(facts: Facts) -> tuple[str, ...]:
    signalled = f"signal {facts.signal_number} ended the run" if facts.signal_number is not None else ""
    ended = signalled or facts.stopped or facts.overdue
    return (ended,) if ended else ()


def _what_became(facts: Facts) -> str:
    return "nothing had been cut" if facts.cut is None or not facts.armed else "the cut was healed"
