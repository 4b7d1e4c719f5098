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

from chaosext.cli.output import Plain, SimulationProgress, say_screen
from chaosext.model.timeline import NO_LONGER_WATCHED, Event, Kind
from chaosext.report.render.screen import ScreenRow, Tone

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


# -- a screen, and how far the simulations are -------------------------------------------------------------------


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


ROWS = (
    ScreenRow.of(("NOT OK", Tone.BAD), (": DNS stays down", Tone.TITLE)),
    ScreenRow.of(("Cut", Tone.PLAIN)),
)


def test_a_screen_is_plain_where_nobody_watches() -> None:
    stream = StringIO()
    say_screen(ROWS, stream)
    assert stream.getvalue() == "NOT OK: DNS stays down\nCut\n"


@pytest.mark.parametrize(("name", "value"), [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_a_screen_is_coloured_on_a_terminal_that_wants_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    coloured, plain = Terminal(), Terminal()
    say_screen(ROWS, coloured)
    monkeypatch.setenv(name, value)
    say_screen(ROWS, plain)
    assert "\x1b[31mNOT OK\x1b[0m" in coloured.getvalue()
    assert "\x1b[31m" not in plain.getvalue()


def test_progress_shows_from_half_a_second_on_and_leaves_nothing() -> None:
    stream, now = Terminal(), [0.0]
    with SimulationProgress(stream, lambda: now[0]) as progress:
        tell = progress.of("simulations")
        tell(1, 40)
        assert stream.getvalue() == ""
        now[0] = 0.5
        tell(7, 40)
        assert stream.getvalue() == "\rsimulations: 7 of 40\x1b[K"
    assert stream.getvalue().endswith("\r\x1b[K")


def test_progress_is_silent_where_nobody_watches_and_notes_are_lines() -> None:
    stream, now = StringIO(), [0.0]
    with SimulationProgress(stream, lambda: now[0]) as progress:
        now[0] = 9.0
        progress.of("simulations")(7, 40)
        progress.note("rehearsing with spread …")
    assert stream.getvalue() == "rehearsing with spread …\n"
