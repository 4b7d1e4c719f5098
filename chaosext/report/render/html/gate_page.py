"""The gate's decision as one page of HTML: self-contained, and printed on one sheet of A4."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING

from chaosext.gate.decision import Decision
from chaosext.report.data.wall_clock import WallClock
from chaosext.report.render import gate_text as words
from chaosext.report.render.gate_screen import decision_reasons
from chaosext.report.render.html.a4_sheet import BlockKind, SheetBlock, SheetOfA4, sheet_of_a4
from chaosext.report.render.html.page import plain, render
from chaosext.report.render.html.predicted_figure import LEGEND, draw_prediction
from chaosext.report.units import capital

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaosext.gate.rehearsed import Rehearsed
    from chaosext.gate.ticket import Sheet
    from chaosext.report.data.predicted_lanes import LaneFacts
    from chaosext.report.render.html.svg_parts import Drawing

TONES = {Decision.GO: "good", Decision.NO_GO: "bad", Decision.NOT_KNOWN: "bad"}

ICONS = {Decision.GO: "passed", Decision.NO_GO: "deviated", Decision.NOT_KNOWN: "unknown"}

ELSEWHERE = "in --json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RehearsedCut:
    """One duration of the plan: the cut in words, what is expected, and its lanes."""

    cut: str
    lines: tuple[str, ...]
    drawing: Drawing | None


def render_gate_page(sheet: Sheet, lanes: Sequence[LaneFacts] = ()) -> str:
    """Return the page as HTML, always the same for the same sheet. `lanes`: of each duration that was rehearsed."""
    clock = WallClock(sheet.cutover.start)
    rehearsed = [_rehearsed(*each, clock) for each in zip_longest(sheet.judgement.rehearsed, lanes)]
    told = {
        "sheet": sheet,
        "tone": TONES[sheet.decision],
        "icon_of": ICONS[sheet.decision],
        "headline": words.HEADLINES[sheet.decision],
        "gist": _gist(sheet),
        "facts": tuple(words.facts(sheet)),
        "reasons": tuple(words.reasons(sheet)),
        "rehearsed": rehearsed,
        "remedies": [(words.effect(each), "\n".join(each.how)) for each in sheet.remedies],
        "checks": [(each, words.mark(each)) for each in sheet.judgement.weighed],
        "known": tuple(words.known(sheet)),
        "not_checked": tuple(words.not_checked(sheet)),
        "digests": tuple(words.digests(sheet)),
        "legend": LEGEND,
        "clock": clock,
    }
    return render("gate.html.jinja", {**told, "sheet_of_a4": _printed(sheet, rehearsed)})


def _gist(sheet: Sheet) -> str:
    """The decision's first reason, as a sentence."""
    return f"{capital(next(decision_reasons(sheet)))}."


def _rehearsed(each: Rehearsed, facts: LaneFacts | None, clock: WallClock) -> RehearsedCut:
    return RehearsedCut(
        cut=words.cuts(each.flap, each.cut_for_s),
        lines=tuple(words.expected(each.prediction)),
        drawing=draw_prediction(each.prediction, facts, clock) if facts else None,
    )


def _printed(sheet: Sheet, rehearsed: Sequence[RehearsedCut]) -> SheetOfA4:
    """Return what is printed: the decision and its reasons first, and of everything else what fits."""
    facts = tuple(words.facts(sheet))
    checks = [words.mark(each) for each in sheet.judgement.weighed if not each.stands_against]
    others, good = ([each for each in checks if (each.answer == "ok") is is_ok] for is_ok in (False, True))
    last = rehearsed[-1] if rehearsed else None
    return sheet_of_a4(
        f"{words.HEADLINES[sheet.decision]} (exit {sheet.decision.exit_code})",
        sheet.cutover.title,
        _gist(sheet),
        (
            _facts_block(facts),
            SheetBlock(
                title="Reasons",
                lines=tuple(words.reasons(sheet)),
                kind=BlockKind.BOLD,
                least=6,
                rest=ELSEWHERE,
            ),
            *(
                SheetBlock(title=f"Prediction for {each.cut}", lines=each.lines, least=5, rest=ELSEWHERE)
                for each in rehearsed
            ),
            SheetBlock(
                title="Changes that would make it a go, smallest first",
                lines=tuple(words.effect(each) for each in sheet.remedies),
                least=4,
                rest=ELSEWHERE,
            ),
            SheetBlock(
                title="Commands of the smallest one",
                lines=tuple("\n".join(each.how) for each in sheet.remedies[:1]),
                kind=BlockKind.CODE,
                least=0,
            ),
            SheetBlock(
                title="Remarks",
                lines=tuple(f"{each.check}: {each.answer}: {each.said}" for each in others),
                rest=ELSEWHERE,
            ),
            SheetBlock(
                title="Checks that are ok",
                lines=(", ".join(each.check for each in good),) if good else (),
                kind=BlockKind.SOFT,
            ),
            SheetBlock(
                title="Not checked, known to be unhealthy, and assumed",
                lines=(
                    *(f"not checked: {line}" for line in words.not_checked(sheet)),
                    *(f"known: {line}" for line in words.known(sheet)),
                    *(f"assumed: {line}" for line in sheet.assumptions),
                ),
                kind=BlockKind.SOFT,
                rest=ELSEWHERE,
            ),
        ),
        drawing=last.drawing if last else None,
        lead=f"Predicted, in seconds from the cut: {last.cut}" if last else "",
        foot=tuple(map(plain, words.digests(sheet))),
        alone=True,
    )


def _facts_block(facts: Sequence[tuple[str, str]]) -> SheetBlock:
    return SheetBlock(
        title="",
        lines=tuple(said for _, said in facts),
        names=tuple(capital(name) for name, _ in facts),
        least=len(facts),
    )
