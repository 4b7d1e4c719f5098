"""A run line by line, as it is printed where output is no terminal; `GOLDEN=write pytest …` writes the file anew."""

from __future__ import annotations

import os
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from checkout import ROOT
from pictures import BRIEFING, night

from chaosext.cli.output import Plain
from chaosext.model.timeline import NO_LONGER_WATCHED, Event, Kind

GOLDEN = ROOT / "tests" / "golden" / "cli" / "run-plain.txt"


def printed(*more: Event, verbose: bool = False) -> str:
    stream = StringIO()
    plain = Plain(stream, verbose=verbose)
    run = SimpleNamespace(id="20261123t230300ab12", directory=SimpleNamespace(path=Path("run/latest")))
    scene: Any = SimpleNamespace(run=run)
    plain.begin(scene)
    plain.briefing(BRIEFING)
    for event in (*night(200.0).events, *more):
        plain.event(event)
    plain.lines(["", "verdict: deviated, rollback verified (exit 10)"])
    return stream.getvalue()


def test_a_run_line_by_line() -> None:
    if os.environ.get("GOLDEN") == "write":
        GOLDEN.write_text(printed(), encoding="utf-8")
    assert printed() == GOLDEN.read_text(encoding="utf-8")


def test_no_line_is_broken_or_coloured_where_nobody_watches() -> None:
    assert "\x1b" not in printed()
    assert len(printed().splitlines()) == 4 + len(night(200.0).events) + 2


def event(kind: Kind, detail: str) -> Event:
    return Event(t_s=190.5, kind=kind, object="Node/worker", detail=detail, source="test")


@pytest.mark.parametrize(
    "bookkeeping",
    [
        event(Kind.OBSERVATION_LOST, f"{NO_LONGER_WATCHED}not in the plan"),
        event(Kind.CLOCK, "monotonic clock +0.0010 s from the runner's"),
        event(Kind.POD_CREATED, "by ReplicaSet/cart"),
    ],
    ids=lambda each: each.kind.value,
)
def test_bookkeeping_is_printed_only_when_verbose(bookkeeping: Event) -> None:
    assert bookkeeping.detail not in printed(bookkeeping)
    assert bookkeeping.detail in printed(bookkeeping, verbose=True)


@pytest.mark.parametrize("kind", sorted(set(Kind) - {Kind.CLOCK, Kind.POD_CREATED, Kind.POD_GONE}))
def test_every_other_event_is_printed(kind: Kind) -> None:
    """A gap in observation, too, unless it is by design."""
    assert "what happened" in printed(event(kind, "what happened"))
