"""A rehearsal as a page of GitHub Flavored Markdown. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaosext.report.render.markdown import fenced, plain, points, section, table
from chaosext.report.sentences.lane_notes import lane_note
from chaosext.report.sentences.rehearsal_answers import rehearsal_answers
from chaosext.report.units import capital

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chaosext.report.data.rehearsal_record import RehearsalRecord
    from chaosext.report.sentences.rehearsal_answers import RehearsalAnswers


def rehearsal_markdown(record: RehearsalRecord) -> str:
    """Return the page, always the same for the same record."""
    told, found = rehearsal_answers(record), record.found
    version = record.version or "of an unknown version"
    rows = (
        ("**Snapshot**", plain(f"{record.source}, Kubernetes {version}, {record.node_count} nodes")),
        *((f"**{name}**", "<br>".join(map(plain, lines))) for name, lines in told.answers),
    )
    lanes = ((lane.title, plain(lane_note(lane, found))) for lane in record.lanes)
    evidence = ((each.part, each.evidence.value, plain(each.rests_on)) for each in found.evidence)
    parts = (
        f"# {told.verdict.light.value}: {plain(capital(told.verdict.text))}\n",
        "\n".join((*table(("", ""), rows), "")),
        section("Prediction", table(("lane", "what happens"), lanes) if record.lanes else ()),
        section("Changes that help, the most helpful first", _fixes(told)),
        section("Evidence", table(("part", "evidence", "rests on"), evidence)),
        section("Assumptions that turn the outcome", points(map(str, found.otherwise))),
        section("Not proven or not modelled", points(map(str, (*found.routes.doubts, *found.doubts)))),
        section("Assumptions", points(found.assumptions)),
    )
    return "\n".join(part for part in parts if part)


def _fixes(told: RehearsalAnswers) -> Iterator[str]:
    for number, each in enumerate(told.fixes, start=1):
        price = f" ({each.price})" if each.price else ""
        yield from (f"{number}. {plain(each.title + price)}", "", *fenced(each.how.splitlines(), "sh"), "")
