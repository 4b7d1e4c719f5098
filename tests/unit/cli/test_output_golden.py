"""What people read in the terminal at the end of a run, byte for byte; `GOLDEN=write pytest …` writes them anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from checkout import ROOT
from stories import STORIES

from chaosext.cli.output import result_lines

GOLDEN = ROOT / "tests" / "golden" / "results"


def compare(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("GOLDEN") == "write":
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("story", STORIES)
def test_terminal(story: str) -> None:
    lines = result_lines(STORIES[story], Path("run/20261123t230300ab12/report.html"))
    compare(f"{story}.txt", "\n".join(lines) + "\n")


def test_no_golden_file_is_forgotten() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {f"{story}.txt" for story in STORIES}
