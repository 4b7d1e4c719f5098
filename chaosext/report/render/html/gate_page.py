"""The gate's decision as one page of HTML: self-contained, and printed on one sheet of A4."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.gate.decision import Decision
from chaosext.report.render import gate_text as words
from chaosext.report.render.html.page import render

if TYPE_CHECKING:
    from chaosext.gate.ticket import Sheet

TONES = {Decision.GO: "good", Decision.NO_GO: "bad", Decision.NOT_KNOWN: "bad"}

MOST_REMEDIES = 2
MOST_REASONS = 8
MOST_NOTES = 9
"""Maximum numbers of lines, so that it fits on one sheet; the page counts the others."""


def render_gate_page(sheet: Sheet) -> str:
    """Return the page as HTML, always the same for the same sheet."""
    told = {
        "sheet": sheet,
        "tone": TONES[sheet.decision],
        "headline": words.HEADLINES[sheet.decision],
        "facts": tuple(words.facts(sheet)),
        "reasons": shortened(tuple(words.reasons(sheet)), MOST_REASONS),
        "rehearsed": [
            (words.cuts(each.flap, each.cut_for_s), tuple(words.expected(each.prediction)))
            for each in sheet.judgement.rehearsed
        ],
        "remedies": [(words.effect(each), "\n".join(each.how)) for each in sheet.remedies[:MOST_REMEDIES]],
        "remedies_left_off": max(0, len(sheet.remedies) - MOST_REMEDIES),
        "checks": [(each, words.mark(each)) for each in sheet.judgement.weighed],
        "notes": shortened((*_known(sheet), *words.not_checked(sheet), *sheet.assumptions), MOST_NOTES),
        "digests": tuple(words.digests(sheet)),
    }
    return render("cutover.html.jinja", told, style="sheet.css")


def _known(sheet: Sheet) -> tuple[str, ...]:
    return tuple(f"known to be unhealthy: {line}" for line in words.known(sheet))


def shortened(lines: tuple[str, ...], most: int) -> tuple[str, ...]:
    """Return the first lines, and the number of the others."""
    if len(lines) <= most:
        return lines
    return (*lines[:most], f"and {len(lines) - most} more, in --json")
