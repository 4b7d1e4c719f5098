"""A fleet in one self-contained HTML file: a row for each cluster, a column for each day, the last one first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from chaosext.report.render.html.page import render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaosext.report.data.fleet_history import FleetDay, FleetRow

SHOWN_DAYS = 30
"""Days on the page, the last ones; the files have more."""

SIGNS = {"good": "✓", "bad": "✗", "unknown": "?", "none": "·"}
"""Tone -> the sign that says the same without colour."""

GOOD, BAD = frozenset({"passed", "go"}), frozenset({"deviated", "no-go"})


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCell:
    """A cluster on one day. `mark`: ▲ if something became worse, ▼ if only better."""

    tone: str
    sign: str
    mark: str
    said: str


def render_fleet(name: str, rows: Sequence[FleetRow]) -> str:
    """Return the page, always the same for the same history."""
    dates = sorted({day.date for row in rows for day in row.days}, reverse=True)[:SHOWN_DAYS]
    told = [
        {
            "cluster": row.cluster,
            "last": row.days[-1] if row.days else None,
            "tone": tone(row.days[-1].verdict if row.days else ""),
            "cells": [_cell({day.date: day for day in row.days}.get(date), date) for date in dates],
        }
        for row in rows
    ]
    counts = {kind: sum(row["tone"] == kind for row in told) for kind in SIGNS}
    worse = [row["cluster"] for row in told if dates and _is_worse(row["last"], dates[0])]
    return render(
        "fleet.html.jinja",
        {"name": name, "rows": told, "dates": dates, "counts": counts, "worse": worse},
        style="fleet.css",
    )


def tone(verdict: str) -> str:
    """Return good, bad, unknown, or none for a cluster without an answer."""
    if verdict in GOOD:
        return "good"
    if verdict in BAD:
        return "bad"
    return "unknown" if verdict.endswith("unknown") else "none"


def _is_worse(day: object, date: str) -> bool:
    return bool(getattr(day, "date", "") == date and getattr(day, "worse", 0))


def _cell(day: FleetDay | None, date: str) -> DayCell:
    if day is None:
        return DayCell(tone="none", sign="", mark="", said=f"{date}: no answer")
    found = tone(day.verdict)
    mark = "▲" if day.worse else "▼" if day.better else ""
    said = f"{date}: {day.verdict}{f'. {day.said}' if day.said else ''}"
    return DayCell(tone=found, sign=SIGNS[found], mark=mark, said=said)
