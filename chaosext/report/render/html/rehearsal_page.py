"""A rehearsal as one self-contained page of HTML: the answer, its lanes, what would help, and what it rests on."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Any

from chaosext.report.render.html.a4_sheet import BlockKind, SheetBlock, SheetOfA4, sheet_of_a4
from chaosext.report.render.html.page import render
from chaosext.report.render.html.predicted_figure import LEGEND, draw_prediction
from chaosext.report.sentences.prediction_sentences import Light
from chaosext.report.sentences.rehearsal_answers import RehearsalAnswers, rehearsal_answers
from chaosext.report.units import capital, names, natural

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chaosext.rehearsal.simulate.prediction import Prediction
    from chaosext.report.data.rehearsal_record import RehearsalRecord
    from chaosext.report.render.html.svg_parts import Drawing

TONES = {Light.OK: "good", Light.NOT_OK: "bad", Light.UNKNOWN: "fixed"}
ICONS = {Light.OK: "passed", Light.NOT_OK: "deviated", Light.UNKNOWN: "unknown"}

MOST_EVENTS = 250
"""Maximum rows of the table of events; the page counts the others."""


def render_rehearsal(record: RehearsalRecord) -> str:
    """Return the page as HTML, always the same for the same record."""
    found, told = record.found, rehearsal_answers(record)
    drawing = draw_prediction(found, record.facts)
    light = told.verdict.light
    return render(
        "rehearsal.html.jinja",
        {
            "record": record,
            "found": found,
            "tone": TONES[light],
            "icon_of": ICONS[light],
            "light": light.value,
            "headline": capital(told.verdict.text),
            "told": told,
            "drawing": drawing,
            "legend": LEGEND,
            "basis": _basis(found),
            "events": found.timeline[:MOST_EVENTS],
            "events_left": max(0, len(found.timeline) - MOST_EVENTS),
            "lookups": tuple(_lookups(found)),
            "timings": _timings(found),
            "sheet_of_a4": _printed(record, told, drawing),
        },
    )


def _lookups(found: Prediction) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield nodes whose lookups do the same, and what these do: during the cut, after the heal, after a rollback."""
    views = {
        node: tuple(state.value if state else "–" for state in view.states)
        for node, view in found.dns_per_node.items()
    }
    ordered = sorted(views, key=lambda node: (views[node], natural(node)))
    for states, nodes in groupby(ordered, key=lambda node: views[node]):
        yield names(list(nodes), at_most=12), states


def _basis(found: Prediction) -> str:
    return f"{found.method}; evidence: {found.weakest.value}"


def _timings(found: Prediction) -> Mapping[str, Any]:
    return {name: value for name, value in found.timings.items() if value not in ("", None)}


def _printed(record: RehearsalRecord, told: RehearsalAnswers, drawing: Drawing | None) -> SheetOfA4:
    """Return the first sheet: the answer, which can stand alone."""
    found = record.found
    facts = {
        "Snapshot": f"{record.source}, Kubernetes {record.version or 'of an unknown version'}",
        **{name: " ".join(lines) for name, lines in told.answers if name == "Cut"},
    }
    return sheet_of_a4(
        told.verdict.light.value,
        capital(told.verdict.text),
        "",
        (
            SheetBlock(title="", lines=tuple(facts.values()), names=tuple(facts), least=len(facts)),
            *(
                SheetBlock(title=name, lines=lines, least=4, rest="on the next pages")
                for name, lines in told.answers
                if name != "Cut"
            ),
            SheetBlock(
                title="Changes that help, the most helpful first",
                lines=tuple(f"{each.title} ({each.price})" for each in told.fixes),
                least=4,
                rest="on the next pages",
            ),
            SheetBlock(
                title=f"Commands of {told.fixes[0].name}" if told.fixes else "",
                lines=tuple(each.how for each in told.fixes[:1]),
                kind=BlockKind.CODE,
                least=0,
            ),
            SheetBlock(title="Rests on", lines=(_basis(found),)),
            SheetBlock(
                title="Assumptions", lines=found.assumptions, kind=BlockKind.SOFT, rest="on the next pages"
            ),
        ),
        drawing=drawing,
        lead="Predicted, in seconds from the cut",
        foot=(f"A prediction of chaosext from {record.source}; it touched nothing.",),
    )
