"""A run line by line, as it is printed where output is no terminal; `GOLDEN=write pytest …` writes the file anew."""

from __future__ import annotations

import os
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pictures import BRIEFING, night

from chaosext.cli.output import Plain

GOLDEN = Path(__file__).parents[2] / "golden" / "cli" / "run-plain.txt"


def printed() -> str:
    stream = StringIO()
    plain = Plain(stream)
    run = SimpleNamespace(id="20261123t230300ab12", directory=SimpleNamespace(path=Path("run/latest")))
    scene: Any = SimpleNamespace(run=run)
    plain.begin(scene)
    plain.briefing(BRIEFING)
    for event in night(200.0).events:
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
