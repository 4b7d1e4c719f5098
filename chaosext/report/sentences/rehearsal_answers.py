"""The answers of a rehearsal in order, the same on its page of HTML and of Markdown. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.rehearsal.simulate.prediction import CERTAIN, NO_EFFECT, said_share
from chaosext.report.sentences.prediction_sentences import (
    causes,
    cut_sentence,
    fixes,
    impact_sentences,
    recovery_sentence,
    verdict_sentence,
)
from chaosext.report.units import capital

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.report.data.rehearsal_record import RehearsalRecord
    from chaosext.report.sentences.prediction_sentences import VerdictSentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedied:
    """A mitigation: what it makes of the cut, its price, and the commands that put it in place."""

    name: str
    effect: str
    price: str
    how: str

    @property
    def title(self) -> str:
        return f"{self.name}: {self.effect}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsalAnswers:
    """What a reader wants to know: the verdict, named answers, what helps, and what helps a little."""

    verdict: VerdictSentence
    answers: tuple[tuple[str, tuple[str, ...]], ...]
    fixes: tuple[Remedied, ...]
    others: tuple[Remedied, ...]


def rehearsal_answers(record: RehearsalRecord) -> RehearsalAnswers:
    """Answer for a page: verdict, cut, why, impact, recovery, fixes."""
    found = record.found
    verdict = verdict_sentence(found, record.plan.cut_nodes)
    effects = {each.name: each for each in fixes(found)}
    known = {each.mitigation: each for each in found.advice}
    told = {
        "To settle it": verdict.settles,
        "Cut": (cut_sentence(record.plan, record.node_count),),
        "Mitigations in place": (", ".join(record.mitigations),) if record.mitigations else (),
        "Why": causes(found, record.lanes),
        "Impact": impact_sentences(found),
        "Recovery": (recovery_sentence(found, record.lanes, record.plan.rollback_s),),
    }
    return RehearsalAnswers(
        verdict=verdict,
        answers=tuple((name, tuple(map(capital, lines))) for name, lines in told.items() if lines),
        fixes=tuple(
            Remedied(
                name=name,
                effect="passes"
                + (f" in {said_share(each.share)} of simulations" if each.share < CERTAIN else ""),
                price=each.price,
                how=known[name].how,
            )
            for name, each in effects.items()
        ),
        others=tuple(_others(record, frozenset(effects))),
    )


def _others(record: RehearsalRecord, helpful: frozenset[str]) -> Iterator[Remedied]:
    for each in record.found.advice:
        if each.mitigation not in helpful and each.effect != NO_EFFECT:
            yield Remedied(name=each.mitigation, effect=each.effect, price="", how=each.how)
