"""The first screen of every report: six questions, answered from observations. Pure.

A report says that something did not happen only if it would have been seen; otherwise it is unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.model.findings import Status
from chaosext.model.result import VerdictRule, length_s
from chaosext.model.timeline import Kind
from chaosext.model.verdict import Outcome
from chaosext.report.data.account import Account
from chaosext.report.data.coverage_gaps import doubt
from chaosext.report.data.customers_lane import told
from chaosext.report.data.outage_summary import FELT, SHORT, losses
from chaosext.report.sentences.root_cause import causes
from chaosext.report.sentences.what_to_do import what_to_do
from chaosext.report.units import capital, count, duration

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from chaosext.model.result import RunResult
    from chaosext.report.data.outage_summary import LaneOutages
    from chaosext.report.data.run_data import RunData
    from chaosext.report.sentences.root_cause import Step

UNTOUCHED = {
    Outcome.REFUSED: "Nothing was touched",
    Outcome.INCONCLUSIVE: "The run proved nothing",
    Outcome.NOT_KNOWN: "The outcome is unknown",
    Outcome.UNSAFE: "A cut may still be active",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionAnswer:
    """One question and its answer: at least one line, each a sentence."""

    question: str
    lines: tuple[str, ...]


def answers(data: RunData) -> tuple[QuestionAnswer, ...]:
    """What broke, why, for how long, who was affected, is it over, next steps: in this order."""
    result = data.result
    asked = {
        "What broke?": _broke(data),
        "Why?": _why(result),
        "For how long?": _how_long(data),
        "Who was affected?": _affected(data),
        "Is it over?": (_over(result),),
        "Next steps": what_to_do(result),
    }
    return tuple(QuestionAnswer(question=question, lines=tuple(lines)) for question, lines in asked.items())


def headline(data: RunData) -> str:
    """One sentence: what users felt, where, and for how long."""
    outcome = data.result.verdict.outcome
    if outcome in UNTOUCHED:
        return f"{UNTOUCHED[outcome]}."
    felt = _felt(data.result)
    if not felt:
        return _calm(data)
    first, *_ = felt
    over = f"; {first.ending}" if first.ending else ""
    return _sentence(f"{first.text} for {first.how_long}{over}")


def _calm(data: RunData) -> str:
    unsure = doubt(data)
    match data.result.verdict.outcome:
        case Outcome.INTERRUPTED:
            return "The run was stopped early; no outage was seen until then."
        case Outcome.PASSED if not unsure:
            return "Nothing broke."
        case Outcome.PASSED:
            return f"No outage was seen, but {unsure}."
        case _:
            return "The steady state did not hold; no outage was seen."


def _broke(data: RunData) -> Iterator[str]:
    """Yield a line for each outage that users feel, and one line for all others."""
    found = losses(Account(data.result))
    yield from (_sentence(each.text) for each in found if each.lane in FELT)
    looping = {event.object for event in data.result.events if event.kind is Kind.CRASH_LOOP}
    if looping:
        yield _sentence(f"containers crash-looped in {count(looping)}")
    beside = [each.text for each in found if each.lane not in FELT]
    if beside:
        yield _sentence("; ".join(beside))
    if not (found or looping):
        yield _nothing(data)


def _nothing(data: RunData) -> str:
    """The answer if no outage was seen."""
    unsure = doubt(data)
    match data.result.verdict.outcome:
        case Outcome.REFUSED:
            return "Nothing: the run was refused before it touched anything."
        case Outcome.UNSAFE:
            return "The cleanup: the removal of the cut is not confirmed."
        case Outcome.DEVIATED:
            return "The steady state did not hold; no outage was seen."
        case _:
            return f"Unknown: no outage was seen, but {unsure}." if unsure else "Nothing: no outage was seen."


def _why(result: RunResult) -> tuple[str, ...]:
    """The steps that led to what users felt, if the run deviated; else the reasons of its verdict."""
    steps = causes(result)
    felt = next(filter(None, (_about(kind, steps) for kind in FELT_FIRST)), [])
    if result.verdict.outcome is not Outcome.DEVIATED or not felt:
        return tuple(map(_sentence, result.verdict.reasons)) or ("The run gave no reason.",)
    heal_s = Account(result).heal_s
    shown = [step for step in felt if (step.t_s < heal_s) == (felt[-1].t_s < heal_s)]
    moved = _about(Kind.POD_BOUND, (step for step in steps if step.t_s < shown[0].t_s))[-1:]
    return tuple(map(str, (*moved, *shown)))


FELT_FIRST = (Kind.DNS_DEAD, Kind.XDS_LOST, Kind.PROBE_FAILING)
"""Events that users feel, causes first."""


def _about(kind: Kind, steps: Iterable[Step]) -> list[Step]:
    """The steps that an event of `kind` is evidence of."""
    return [step for step in steps if any(event.kind is kind for event in step.evidence)]


def _how_long(data: RunData) -> Iterator[str]:
    felt = _felt(data.result)
    yield from (f"{SHORT[each.lane]}: {each.worst}." for each in felt)
    yield from told(data)
    if not felt:
        yield _not_felt(data, "There was no outage to measure.")
        return
    account = Account(data.result)
    blind = account.gaps()
    if blind:
        lost_s = sum(length_s(each, account.end_s) for found in blind.values() for each in found)
        nodes = count([f"Node/{node}" for node in blind])
        yield f"{nodes} went unobserved for {duration(lost_s)} in total, so outages may have been longer."


def _affected(data: RunData) -> Iterator[str]:
    felt = _felt(data.result)
    yield from (f"{SHORT[each.lane]}: {each.whom}." for each in felt)
    unsure = doubt(data)
    if not felt:
        yield _not_felt(data, "Nothing that was watched.")
    elif unsure:
        yield f"Possibly others: {unsure}."


def _not_felt(data: RunData, calm: str) -> str:
    """`calm` only if an outage would have been seen."""
    if data.result.verdict.outcome is Outcome.REFUSED:
        return "Nothing was touched."
    unsure = doubt(data)
    return f"Unknown: {unsure}." if unsure else calm


def _over(result: RunResult) -> str:
    """Whether everything has recovered, as far as it was observed."""
    verified = result.verdict.rollback_verified
    steady = [event.t_s for event in result.events if event.kind is Kind.STEADY and event.t_s > 0]
    since = f", since {duration(steady[-1])}" if steady else ""
    match result.verdict.outcome:
        case Outcome.PASSED:
            return f"Yes{since}: the steady state held after the heal, without help."
        case Outcome.DEVIATED if verified:
            return f"Yes{since}: the rollback restored the steady state, and it held."
        case Outcome.DEVIATED if lost := _lost(result):
            return f"No: since the baseline {lost}."
        case Outcome.DEVIATED:
            return "No, or unknown: the steady state was not seen again."
        case Outcome.REFUSED:
            return "Yes: it never started."
        case Outcome.UNSAFE:
            return "No: rules of chaosext may still be active until they are removed or their TTL expires."
        case Outcome.INCONCLUSIVE | Outcome.INTERRUPTED | Outcome.NOT_KNOWN:
            return _healed(result)


def _lost(result: RunResult) -> str:
    """Objects of the baseline that were missing at the end; "" for none."""
    found = (each for each in result.rulings if each.rule is VerdictRule.COMPLETE)
    return next((each.reason for each in found if each.status is Status.UNHEALTHY), "")


def _healed(result: RunResult) -> str:
    """Whether the cut was healed; a killed run may have cut without recording it."""
    account = Account(result)
    if not account.of(Kind.CUT):
        killed = result.verdict.outcome is Outcome.NOT_KNOWN
        return "Unknown: the run recorded no cut." if killed else "Yes: nothing was cut."
    if account.heal_s <= account.end_s:
        return f"The cut is: it was healed at {duration(account.heal_s)}. The steady state was not checked after it."
    return "Unknown: no heal was seen."


def _felt(result: RunResult) -> list[LaneOutages]:
    return [each for each in losses(Account(result)) if each.lane in FELT]


def _sentence(text: str) -> str:
    return f"{capital(text).rstrip('.')}."
