"""The gate's decision on one screen: why, the predicted cut, what would make it a go, what was not checked. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.gate.decision import Decision, Weight
from chaosext.model.duration_text import short_duration
from chaosext.model.findings import Status
from chaosext.rehearsal.simulate.prediction import Forecast
from chaosext.report.data.predicted_lanes import predicted_lanes
from chaosext.report.render.gate_text import facts, longest, reason, waivers
from chaosext.report.render.prediction_screen import GAP, chart_block, fix_block, verdict_block
from chaosext.report.render.screen import COLUMNS, LABEL, ScreenBlock, Tone, screen
from chaosext.report.sentences.prediction_sentences import (
    PRICES,
    how_it_passes,
    impact_sentences,
    recovery_sentence,
    settles,
    what_fails,
)
from chaosext.report.units import few_names, listed, natural

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chaosext.gate.decision import Weighed
    from chaosext.gate.rehearsed import Rehearsed
    from chaosext.gate.remedies import Remedy
    from chaosext.gate.ticket import Sheet
    from chaosext.report.data.predicted_lanes import LaneFacts
    from chaosext.report.render.screen import ScreenRow

WORDS = {
    Decision.GO: ("GO", Tone.GOOD),
    Decision.NO_GO: ("NO-GO", Tone.BAD),
    Decision.NOT_KNOWN: ("NO-GO, as it is unknown", Tone.WARN),
}


def gate_screen(
    sheet: Sheet,
    lanes: Sequence[LaneFacts] = (),
    next_steps: Sequence[str] = (),
    columns: int = COLUMNS,
) -> tuple[ScreenRow, ...]:
    """Return the screen; `lanes` are what the lanes of each rehearsal need, `next_steps` are commands."""
    word, tone = WORDS[sheet.decision]
    said = dict(facts(sheet))
    first, *others = decision_reasons(sheet)
    return screen(
        (
            verdict_block(f"{word} (exit {sheet.decision.exit_code})", first, tone, columns),
            ScreenBlock(label="Settle", texts=_settles(sheet), deep=2, most=3),
            ScreenBlock(label="Plan", texts=[_plan(sheet)], most=1, least=0),
            ScreenBlock(label="Cluster", texts=[said["cluster"]], most=1, least=0),
            ScreenBlock(label="Cut", texts=[_cut(sheet, columns - LABEL)], most=1),
            ScreenBlock(label="How long", texts=[text for _, text in longest(sheet)], most=2),
            ScreenBlock(label="Why", texts=others, deep=2, most=3),
            *_prediction(sheet, lanes, columns),
            fix_block([_fix(each) for each in sheet.remedies]),
            ScreenBlock(
                label="Unchecked", texts=[", ".join(name for name, _ in sheet.not_checked())], most=1
            ),
            ScreenBlock(label="Next", texts=next_steps, tone=Tone.COMMAND, most=2, are_commands=True),
        ),
        columns,
    )


def _plan(sheet: Sheet) -> str:
    cutover = sheet.cutover
    start = f", begins {cutover.start.isoformat(sep=' ', timespec='minutes')}" if cutover.start else ""
    zone = f" {cutover.timezone}" if start and cutover.timezone else ""
    return f"{f'{cutover.change}: ' if cutover.change else ''}{cutover.title}{start}{zone}"


def _cut(sheet: Sheet, width: int) -> str:
    cutover, nodes = sheet.cutover, sheet.judgement.nodes
    planned, *longest = map(short_duration, cutover.durations_s)
    how_long = f"for {planned}{f', at most {longest[0]}' if longest else ''}"
    if cutover.flap:
        how_long = f"in {len(cutover.flap.periods)} cuts, {planned} in all"
    said = (
        f"{len(nodes)} of {sheet.node_count} nodes lose{'s' * (len(nodes) == 1)} the control plane {how_long}"
    )
    which = few_names(sorted(nodes, key=natural), width - len(said) - 2)
    return f"{said}: {which}" if which else said


def decision_reasons(sheet: Sheet) -> Iterator[str]:
    """Yield what decides, the worst first; at least one."""
    judgement = sheet.judgement
    if sheet.decision is Decision.GO:
        number = sum(each.weight is Weight.COUNTS for each in judgement.weighed)
        yield f"{how_it_passes(judgement.rehearsed[-1].prediction)}; all {number} required checks are ok"
    elif sheet.decision is Decision.NO_GO:
        yield from _failure(sheet)
    elif unsettled := _unsettled(sheet):
        yield unsettled[0].prediction.why_unknown
    about_the_cut = {finding.check for each in judgement.rehearsed for finding in each.findings}

    def rank(each: Weighed) -> tuple[bool, bool]:
        return each.finding.status is Status.UNKNOWN, each.finding.check in about_the_cut

    yield from (reason(sheet, each) for each in sorted(judgement.against, key=rank))
    yield from waivers(sheet)


def _failure(sheet: Sheet) -> Iterator[str]:
    """Yield what fails in the predicted cut, in one sentence; of several durations, in the longest."""
    for each in reversed(sheet.judgement.rehearsed):
        against = [weighed.finding for weighed in sheet.judgement.against if weighed.finding in each.findings]
        failing = [finding for finding in against if finding.status is Status.UNHEALTHY]
        if failing:
            yield f"{what_fails(each.prediction, failing, sheet.judgement.nodes)}{_about(sheet, each)}"
            return


def _unsettled(sheet: Sheet) -> Sequence[Rehearsed]:
    return [each for each in sheet.judgement.rehearsed if each.prediction.verdict is Forecast.UNKNOWN]


def _settles(sheet: Sheet) -> Sequence[str]:
    """Return what would settle an unknown outcome."""
    is_unknown = sheet.decision is Decision.NOT_KNOWN
    said = (line for each in _unsettled(sheet) if is_unknown for line in settles(each.prediction))
    return tuple(dict.fromkeys(said))


def _about(sheet: Sheet, each: Rehearsed) -> str:
    return f" (cut for {short_duration(each.cut_for_s)})" if len(sheet.judgement.rehearsed) > 1 else ""


def _prediction(sheet: Sheet, lanes: Sequence[LaneFacts], columns: int) -> Iterator[ScreenBlock]:
    """Yield impact, recovery and lanes of the longest cut."""
    if not sheet.judgement.rehearsed:
        return
    longest = sheet.judgement.rehearsed[-1]
    found = longest.prediction
    drawn = predicted_lanes(found, lanes[-1]) if lanes else ()
    yield ScreenBlock(label="Impact", texts=impact_sentences(found, columns - LABEL), most=3)
    if drawn:
        rollback_s = sheet.cutover.plan(sheet.judgement.nodes, longest.cut_for_s).rollback_s
        yield ScreenBlock(label="Recovery", texts=[recovery_sentence(found, drawn, rollback_s)], most=1)
        yield GAP
        yield chart_block(drawn, found, lanes[-1].horizon_s, columns)
        yield GAP


def _fix(remedy: Remedy) -> tuple[str, str]:
    names = " with ".join(remedy.mitigations)
    prices = "; ".join(filter(None, map(PRICES.get, remedy.mitigations)))
    goes = "go" if remedy.decision is Decision.GO else f"acceptable, but for {listed(remedy.remains)}"
    return names, f"{goes}; {prices}" if prices else goes
